//! Whatever the bytes of a configuration are, there is a project or a list of mistakes inside its files: no panic, no endless wait.

use super::{Location, load, show};
use proptest::prelude::*;

/// Every key of the contract, so that a mutation can reach each reader.
const VALID: &str = include_str!("../../tests/suite/good-config/every-key.toml");

/// Where the syntax is right, no mistake may show the value of a variable.
fn survives(bytes: &[u8], local: Option<&[u8]>, is_toml: bool) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("temp dir");
    let root = folder.path().canonicalize().expect("canonical");
    std::fs::write(root.join("devstack.toml"), bytes).expect("file");
    std::fs::write(root.join(".env.development"), "A=1\n").expect("file");
    if let Some(local) = local {
        std::fs::write(root.join("devstack.local.toml"), local).expect("file");
    }
    match load(&Location { config_file: root.join("devstack.toml"), root }, super::Trust::Everybody) {
        Ok(project) => prop_assert!(!show(&project).contains("CANARY")),
        Err(problems) => {
            prop_assert!(problems.all_inside_the_files());
            let (plain, styled) = (problems.render(false), problems.render(true));
            prop_assert!(plain.starts_with("error: ") && plain.contains("--> "), "{plain}");
            prop_assert!(!plain.contains(|c: char| c.is_control() && c != '\n'), "{plain:?}");
            prop_assert!(styled.len() >= plain.len());
            prop_assert!(!(is_toml && plain.contains("CANARY")), "{plain}");
        }
    }
    Ok(())
}

/// Pieces that mean something to TOML, to a reader, or to a terminal.
const PIECES: [&str; 40] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r\n",
    "\t",
    "\\u0000",
    "\u{1b}[2J",
    "\u{202e}",
    "é",
    "日",
    "-1",
    "0",
    "1e400",
    "nan",
    "-inf",
    "0x",
    "99999999999999999999",
    "\"99999999999h\"",
    "true",
    "1979-05-27",
    "[services.x]",
    "[services.mtproto]",
    "[defaults]",
    "command = []",
    "\"../x\"",
    "\"/etc\"",
    "depends_on = [\"mtproto\"]",
    "\"\"",
    "all",
    "\u{feff}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..12)) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (place, byte, how) in changes {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        survives(&bytes, None, false)?;
    }

    #[test]
    fn changed_pieces(changes in prop::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len(), 0_usize..40), 1..8), local in any::<bool>()) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (place, piece, removed) in changes {
            let at = place.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        let text: String = text.into_iter().collect();
        if local { survives(VALID.as_bytes(), Some(text.as_bytes()), false)?; } else { survives(text.as_bytes(), None, false)?; }
    }

    /// Every value replaced by another kind of value: syntax stays right, meaning does not.
    #[test]
    fn changed_values(changes in prop::collection::vec((any::<prop::sample::Index>(), 0..VALUES.len()), 1..20)) {
        let mut lines: Vec<String> = VALID.lines().map(str::to_owned).collect();
        for (place, value) in changes {
            let line = place.get_mut(&mut lines);
            if let Some(equals) = line.find('=').filter(|_| !line.starts_with('[')) {
                line.replace_range(equals.., &format!("= {}", VALUES[value]));
            }
        }
        survives(lines.join("\n").as_bytes(), None, true)?;
    }

    #[test]
    fn any_env_file(pieces in prop::collection::vec(0..ENV_PIECES.len(), 0..30)) {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("env");
        std::fs::write(&path, pieces.into_iter().map(|piece| ENV_PIECES[piece]).collect::<String>()).expect("file");
        let mut service = super::tests::service(folder.path(), "command = ['x']");
        service.env_files = vec![crate::model::EnvFile { path, optional: false }];
        match super::environment(&service, super::Trust::Everybody, std::iter::empty()) {
            Ok(found) => prop_assert!(found.iter().all(|(key, _)| !key.is_empty())),
            Err(problems) => prop_assert!(!problems.to_string().contains("CANARY")),
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes, None, false)?;
    }
}

const ENV_PIECES: [&str; 20] =
    ["A", "B=", "=CANARY", "CANARY", " ", "\n", "\r\n", "#", "\"", "'", "\\", "$", "${", "}", "$A", "export ", "é", "\0", "\t", "="];

const VALUES: [&str; 24] = [
    "1",
    "-1",
    "0",
    "1.5",
    "nan",
    "inf",
    "-0.0",
    "true",
    "false",
    "\"\"",
    "\"x\"",
    "\"80%\"",
    "\"5s\"",
    "\"2GB\"",
    "[]",
    "[1]",
    "[\"a\"]",
    "[[]]",
    "{}",
    "{ a = 1 }",
    "{ url = \"http://[::1]:80/\" }",
    "{ tcp = \"a:1\", delay = 0 }",
    "1979-05-27T07:32:00Z",
    "\"\\u0000\\u009b\"",
];
