//! The `caulk` command: parses the command line, runs it, and turns the result into an exit code.

use std::io::Write;
use std::process::ExitCode;

use caulk::cli;
use caulk::interrupt;
use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = interrupt::install().and_then(|()| cli::run(&cli));
    match result {
        Ok(status) => status.into(),
        Err(failure) => {
            // A reader that has gone away must not turn the failure into a panic.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.status.into()
        }
    }
}
