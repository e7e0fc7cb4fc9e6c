//! The environment that a worker starts with.
//!
//! Later wins: the caller's, the env files in order, `env`, the virtual environment. No error here ever repeats a value.

use super::error::{Problem, Problems};
use super::source::{self, Sources, shown};
use super::trust::Trust;
use crate::model::{EnvFile, Service};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What a shell assumes where PATH is not set at all.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that are Python whatever they are called: their output must not wait in a buffer, and a crash in C should leave a traceback.
const PYTHON_PROGRAMS: [&str; 14] = [
    "celery",
    "daphne",
    "dramatiq",
    "fastapi",
    "flask",
    "gunicorn",
    "hypercorn",
    "ipython",
    "jupyter",
    "poetry",
    "pypy",
    "pypy3",
    "uv",
    "uvicorn",
];

/// Reads the env files now: a changed one takes effect at the next start.
///
/// # Errors
/// When an env file that must be there is missing, cannot be read or is not to be trusted, or holds what is no variable. All of them are told.
pub fn environment(
    service: &Service,
    trust: Trust,
    base: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(OsString, OsString)>, Problems> {
    let mut variables: BTreeMap<OsString, OsString> = base.collect();
    let mut problems = Vec::new();
    for file in &service.env_files {
        match read_env_file(file, trust) {
            Ok(read) => variables.extend(read.into_iter().map(|(key, value)| (key.into(), value.into()))),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Problems::new(Sources::default(), problems));
    }
    variables.extend(service.env.iter().map(|(key, value)| (key.into(), value.into())));
    if let Some(venv) = &service.venv {
        enter_venv(venv, &mut variables);
    }
    if is_python(service) {
        for name in ["PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"] {
            variables.entry(name.into()).or_insert_with(|| "1".into());
        }
    }
    Ok(variables.into_iter().collect())
}

/// What `activate` does.
fn enter_venv(venv: &Path, variables: &mut BTreeMap<OsString, OsString>) {
    let mut path = venv.join("bin").into_os_string();
    path.push(":");
    path.push(variables.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str));
    variables.insert("PATH".into(), path);
    variables.insert("VIRTUAL_ENV".into(), venv.into());
    variables.remove(OsStr::new("PYTHONHOME"));
}

/// Harmless to a program that is not, so a virtual environment is reason enough.
pub fn is_python(service: &Service) -> bool {
    let program = service.command.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    service.venv.is_some() || program.starts_with("python") || PYTHON_PROGRAMS.contains(&program) || program.ends_with(".py")
}

fn read_env_file(file: &EnvFile, trust: Trust) -> Result<Vec<(String, String)>, Problem> {
    if file.optional && matches!(file.path.try_exists(), Ok(false)) {
        return Ok(Vec::new());
    }
    let missing = "the service cannot start without it; a name that ends in \"?\" in env_file may be missing";
    let text = source::read(&file.path, trust).map_err(|problem| problem.or_hint(missing))?;
    variables(&text, &file.path)
}

/// What the text of an env file sets, in its order.
///
/// # Errors
/// When a line is none. No words of the file are repeated: they may be a secret.
pub(crate) fn variables(text: &str, path: &Path) -> Result<Vec<(String, String)>, Problem> {
    let mut variables = Vec::new();
    for line in dotenvy::from_read_iter(text.as_bytes()) {
        let (key, value) = line.map_err(|error| bad_line(path, text, &error))?;
        if value.contains('\0') || key.is_empty() || key.contains(['=', '\0']) {
            // Not even the name is repeated: in a damaged file it may be a piece of a secret.
            let words = "a line holds a NUL, or a name that no environment variable can have";
            return Err(Problem::new(words).place(shown(path)).hint("names are letters, digits and `_`"));
        }
        variables.push((key, value));
    }
    Ok(variables)
}

/// The parser's own words repeat the line, and with it the secret.
fn bad_line(path: &Path, text: &str, error: &dotenvy::Error) -> Problem {
    let line = match error {
        dotenvy::Error::LineParse(line, _) => text.find(line.as_str()).map(|at| text[..at].matches('\n').count() + 1),
        _ => None,
    };
    let place = line.map_or_else(|| shown(path), |line| format!("{}:{line}", shown(path)));
    Problem::new("this line is not KEY=value").place(place).hint("quote a value with spaces: KEY=\"two words\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::service;
    use super::*;

    fn of(service: &Service, base: &[(&str, &str)]) -> BTreeMap<String, String> {
        let base = base.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        let pairs = environment(service, Trust::Everybody, base).expect("an environment");
        pairs.into_iter().map(|(key, value)| (key.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect()
    }

    #[test]
    fn later_sources_win_and_the_virtual_environment_leads() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join("one"), "\u{feff}A=one\r\nB='two words'\n# no\nexport C=\"x\"\n").expect("file");
        std::fs::write(dir.path().join("two"), "A=two\nPYTHONUNBUFFERED=0\n").expect("file");
        let mut worker = service(dir.path(), "command = ['python', 'x.py']\nenv = { D = 'own', B = 'env' }");
        let file = |name: &str, optional| EnvFile { path: dir.path().join(name), optional };
        worker.env_files = vec![file("one", false), file("two", false), file("three", true)];
        worker.venv = Some("/v".into());
        let found = of(&worker, &[("PATH", "/bin"), ("PYTHONHOME", "/x"), ("HOME", "/h")]);
        let expected = [
            ("A", "two"),
            ("B", "env"),
            ("C", "x"),
            ("D", "own"),
            ("HOME", "/h"),
            ("PATH", "/v/bin:/bin"),
            ("PYTHONFAULTHANDLER", "1"),
            ("PYTHONUNBUFFERED", "0"),
            ("VIRTUAL_ENV", "/v"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_program_that_is_not_python_gets_nothing_it_did_not_ask_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert_eq!(of(&service(dir.path(), "command = ['redis-server']"), &[("A", "b")]), [("A".into(), "b".into())].into());
    }

    #[test]
    fn a_bad_env_file_is_named_with_its_line_and_its_values_are_not_shown() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join("bad"), "A=1\nB=CANARY two\n").expect("file");
        let mut worker = service(dir.path(), "command = ['x']");
        let file = |name: &str| EnvFile { path: dir.path().join(name), optional: false };
        worker.env_files = vec![file("bad"), file("missing")];
        let text = environment(&worker, Trust::Everybody, std::iter::empty()).expect_err("an error").to_string();
        assert!(text.contains("bad:2") && text.contains("missing") && !text.contains("CANARY"), "{text}");
    }
}
