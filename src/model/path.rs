//! Paths in JSON: text where they are text, a list of bytes where they are not. Serde alone refuses the latter, and a project may
//! lie in any folder.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Written> for PathBuf {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => text.into(),
            Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => to.serialize_str(text),
        None => path.as_os_str().as_bytes().serialize(to),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Written::deserialize(from).map(PathBuf::from)
}

pub mod optional {
    use super::{Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer, Written};

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Inner<'a>(#[serde(with = "super")] &'a Path);
        path.as_deref().map(Inner).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(PathBuf::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "super")]
        one: PathBuf,
        #[serde(with = "super::optional")]
        other: Option<PathBuf>,
    }

    #[test]
    fn any_path_reads_back_and_ordinary_ones_are_text() {
        for path in [&b"/a/b"[..], b"", b"/\xff\xfe/x", b"a\n\"'\\ \x1b", "/\u{e9}".as_bytes()] {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            for other in [None, Some(path.clone())] {
                let both = Both { one: path.clone(), other };
                let json = serde_json::to_string(&both).expect("JSON");
                assert_eq!(serde_json::from_str::<Both>(&json).expect("our own"), both, "{json}");
            }
        }
        let json = serde_json::to_string(&Both { one: "/a".into(), other: Some("b".into()) }).expect("JSON");
        assert_eq!(json, r#"{"one":"/a","other":"b"}"#);
    }
}
