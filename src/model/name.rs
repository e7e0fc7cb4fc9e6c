use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A service's name: `[a-z0-9][a-z0-9_-]{0,62}`, and never `all`, which names every service.
///
/// The alphabet holds no separator and no dot, so a name can become part of a path without leaving its folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

/// Why a text is not a service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a name is 1 to 63 characters of a-z, 0-9, `_` and `-`, and starts with a letter or a digit")]
    Shape,
    #[error("`all` stands for every service and cannot be a name")]
    Reserved,
}

impl ServiceName {
    /// # Errors
    /// When `text` is not of the form above.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = (1..=63).contains(&bytes.len()) && word(bytes[0]) && bytes.iter().all(|&b| word(b) || b == b'_' || b == b'-');
        match text {
            _ if !well_formed => Err(InvalidName::Shape),
            "all" => Err(InvalidName::Reserved),
            _ => Ok(Self(text.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_or_shadow_all_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "-rf", "_a", "A", "é", "a b", "a\0", "a.b", "a\n", &"x".repeat(64)] {
            assert_eq!(ServiceName::new(bad), Err(InvalidName::Shape), "{bad:?}");
        }
        assert_eq!(ServiceName::new("all"), Err(InvalidName::Reserved));
        for good in ["a", "0", "mtproto", "run_bot-2", &"x".repeat(63)] {
            assert_eq!(ServiceName::new(good).map(String::from).as_deref(), Ok(good));
        }
    }
}
