use super::context::{self, Global};
use super::{Error, check, exit_code, output, style};
use crate::config::{self, Trust};
use crate::export::{self, Export, Options, Target};
use similar::TextDiff;
use std::fs;
use std::path::{Path, PathBuf};

/// Write the same definition for another system: units, programs, scrape configuration and alerts, a dashboard, a deployment
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    target: Name,
    /// Write the files there, instead of to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write nothing; fail with the difference where a file in --out is not what would be written
    #[arg(long, requires = "out")]
    check: bool,
    /// systemd: units for the service manager of a user
    #[arg(long)]
    user: bool,
    /// Another file of KEY=value lines that every service reads there; named, never copied [repeatable]
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    Systemd,
    Supervisor,
    Prometheus,
    Grafana,
    Kubernetes,
}

impl From<Name> for Target {
    fn from(name: Name) -> Self {
        match name {
            Name::Systemd => Self::Systemd,
            Name::Supervisor => Self::Supervisor,
            Name::Prometheus => Self::Prometheus,
            Name::Grafana => Self::Grafana,
            Name::Kubernetes => Self::Kubernetes,
        }
    }
}

/// # Errors
/// When the configuration is not valid, a file cannot be written, or, with `--check`, one is not as it would be written.
pub fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let location = context::locate(global)?;
    let project = config::load(&location, Trust::Everybody).map_err(|problems| check::refuse(&problems))?;
    let env_files = args.env_files.iter().map(|file| std::path::absolute(file).map_err(Error::failed)).collect::<Result<_, _>>()?;
    let options = Options { user: args.user, env_files, devstack: PathBuf::from("devstack") };
    let export = export::export(args.target.into(), &project, &options);
    match &args.out {
        None => output::print(&listing(&export))?,
        Some(folder) if args.check => compare(&export, folder)?,
        Some(folder) => write(&export, folder, global.quiet)?,
    }
    if !args.check && !global.quiet {
        for loss in &export.losses {
            style::say(&style::visible(&format!("not expressed there: {loss}\n")));
        }
    }
    Ok(())
}

/// One file as it is; several with a line before each that every format takes for a comment or a head.
fn listing(export: &Export) -> String {
    match export.files.as_slice() {
        [only] => only.content.clone(),
        files => files.iter().map(|file| format!("# ==> {} <==\n{}\n", file.path, file.content)).collect(),
    }
}

fn write(export: &Export, folder: &Path, quiet: bool) -> Result<(), Error> {
    for file in &export.files {
        let path = folder.join(&file.path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &file.content));
        written.map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))?;
        if !quiet {
            style::say(&style::visible(&format!("wrote {}\n", path.display())));
        }
    }
    Ok(())
}

fn compare(export: &Export, folder: &Path) -> Result<(), Error> {
    let mut differ = false;
    for file in &export.files {
        let path = folder.join(&file.path);
        let there = fs::read_to_string(&path).unwrap_or_default();
        if there != file.content {
            differ = true;
            let shown = path.display().to_string();
            let diff = TextDiff::from_lines(&there, &file.content);
            output::print(&style::visible(&diff.unified_diff().header(&shown, &format!("{shown} (devstack.toml)")).to_string()))?;
        }
    }
    if !differ {
        return Ok(());
    }
    style::say(&style::visible(&format!("hint: `devstack export … --out {}` writes them anew\n", folder.display())));
    Err(Error::told(exit_code::FAILED))
}
