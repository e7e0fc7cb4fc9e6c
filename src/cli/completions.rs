use super::{Error, output};
use clap_complete::Shell;

/// Print the completion script of a shell
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    pub shell: Shell,
}

/// # Errors
/// When standard output takes no more.
pub fn run(args: &Args, command: clap::Command) -> Result<(), Error> {
    output::print(&script(args.shell, command))
}

fn script(shell: Shell, mut command: clap::Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "devstack", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_in_completions_are_what_the_command_generates() {
        for (shell, file) in [(Shell::Bash, "devstack.bash"), (Shell::Zsh, "_devstack"), (Shell::Fish, "devstack.fish")] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file);
            let generated = script(shell, crate::cli::command());
            if std::env::var_os("UPDATE_GENERATED").is_some() {
                std::fs::write(&path, &generated).expect("completions are written");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == generated, "{file} is out of date; run the tests with UPDATE_GENERATED=1");
        }
    }
}
