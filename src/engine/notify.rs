//! What a worker says of itself, in the words of sd_notify(3).

use std::time::Duration;

/// Of a status text, no more than this is kept, in characters.
const LONGEST_STATUS: usize = 200;

/// One assignment that means something here. `RELOADING`, `FDSTORE`, `ERRNO` and whatever else there is are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// `READY=1`
    Ready,
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Beat,
    /// `WATCHDOG=trigger`
    Failing,
    /// `STATUS=`
    Status(String),
    /// `EXTEND_TIMEOUT_USEC=`
    Extend(Duration),
    /// `MAINPID=`, as it stands there: any number, or none at all.
    Main(Option<i32>),
}

/// The assignments of one message, a line each. Whatever the bytes are, they are no error.
pub fn parse(message: &[u8]) -> Vec<Said> {
    message.split(|&byte| byte == b'\n').filter_map(assignment).collect()
}

fn assignment(line: &[u8]) -> Option<Said> {
    let at = line.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&line[..at], &line[at + 1..]);
    let number = || std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (key, value) {
        (b"READY", b"1") => Some(Said::Ready),
        (b"STOPPING", b"1") => Some(Said::Stopping),
        (b"WATCHDOG", b"1") => Some(Said::Beat),
        (b"WATCHDOG", b"trigger") => Some(Said::Failing),
        (b"STATUS", text) => Some(Said::Status(String::from_utf8_lossy(text).chars().take(LONGEST_STATUS).collect())),
        (b"EXTEND_TIMEOUT_USEC", _) => number()?.parse().ok().map(Duration::from_micros).map(Said::Extend),
        (b"MAINPID", _) => Some(Said::Main(number().and_then(|text| text.parse().ok()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_assignments_come_in_one_message_and_unknown_ones_are_passed_over() {
        let message = b"READY=1\nFOO=bar\n\n=\nREADY\nSTATUS=Fetched 3/7 channels\nWATCHDOG=1\nMAINPID=4711\nRELOADING=1\nBARRIER=1\n";
        let expected = [Said::Ready, Said::Status("Fetched 3/7 channels".to_owned()), Said::Beat, Said::Main(Some(4711))];
        assert_eq!(parse(message), expected);
        assert_eq!(parse(b"STOPPING=1"), [Said::Stopping]);
        assert_eq!(parse(b"WATCHDOG=trigger"), [Said::Failing]);
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=1500000"), [Said::Extend(Duration::from_millis(1500))]);
    }

    #[test]
    fn what_is_no_assignment_of_the_protocol_says_nothing() {
        for message in ["", "\n", "READY=0", "READY=1 ", " READY=1", "ready=1", "WATCHDOG=2", "EXTEND_TIMEOUT_USEC=-1"] {
            assert_eq!(parse(message.as_bytes()), [], "{message:?}");
        }
        for message in ["EXTEND_TIMEOUT_USEC=", "EXTEND_TIMEOUT_USEC=+5", "EXTEND_TIMEOUT_USEC=99999999999999999999999"] {
            assert_eq!(parse(message.as_bytes()), [], "{message:?}");
        }
        for pid in ["", "-1", "+1", "1x", "99999999999", "\u{0}"] {
            assert_eq!(parse(format!("MAINPID={pid}").as_bytes()), [Said::Main(None)], "{pid:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_and_no_status_too_long(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut message = b"STATUS=".to_vec();
            message.extend_from_slice(&bytes);
            let told = parse(&message);
            let Some(Said::Status(text)) = told.first() else { panic!("{told:?}") };
            prop_assert!(text.chars().count() <= LONGEST_STATUS && !text.contains('\n'));
            let _ = parse(&bytes);
        }
    }
}
