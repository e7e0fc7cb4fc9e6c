//! How a supervisor is asked to become the program that asks.
//!
//! Two versions of devstack that understand nothing else of each other must understand this, so it is never changed: after the
//! hello of either side, whatever its `protocol`, the client sends the line [`ASK`]; the supervisor answers any number of
//! [`Answer`]s. After [`Answer::Now`] the connection ends because the supervisor has become the new program, under the same
//! pid; only if the kernel refused that, `Refused` follows. No path is ever sent: the kernel knows which program asks.

use serde::{Deserialize, Serialize};

pub const ASK: &str = r#"{"request":"upgrade"}"#;

/// Whether a line asks for an upgrade; what later versions add to it changes nothing.
pub fn is_asked(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Asked {
        request: String,
    }
    serde_json::from_slice(line).is_ok_and(|Asked { request }| request == "upgrade")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "upgrade", rename_all = "snake_case")]
pub enum Answer {
    /// These services are starting or stopping; it is done once none is.
    Waiting {
        services: Vec<String>,
    },
    /// It is done next. So many services keep running.
    Now {
        keeps: u64,
    },
    Refused {
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change that breaks this test leaves people with supervisors that no version can replace.
    #[test]
    fn the_words_of_an_upgrade_never_change() {
        assert!(is_asked(ASK.as_bytes()) && is_asked(br#"{"request":"upgrade","later":1}"#));
        assert!(!is_asked(br#"{"request":"status","services":[],"tree":false}"#) && !is_asked(b"upgrade"));
        for (answer, line) in [
            (Answer::Waiting { services: vec!["web".to_owned()] }, r#"{"upgrade":"waiting","services":["web"]}"#),
            (Answer::Now { keeps: 3 }, r#"{"upgrade":"now","keeps":3}"#),
            (Answer::Refused { why: "no".to_owned() }, r#"{"upgrade":"refused","why":"no"}"#),
        ] {
            assert_eq!(serde_json::to_string(&answer).expect("json"), line);
            assert_eq!(serde_json::from_str::<Answer>(line).expect("reads back"), answer);
        }
        let hello = super::super::protocol::Hello { protocol: 7, version: "1.2.3".to_owned(), pid: 5 };
        let line = r#"{"protocol":7,"version":"1.2.3","pid":5}"#;
        assert_eq!(serde_json::to_string(&hello).expect("json"), line);
        assert_eq!(serde_json::from_str::<super::super::protocol::Hello>(line).expect("reads back"), hello);
    }
}
