use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(devstack::cli::run(std::env::args_os()))
}
