//! `caulk doctor`

use clap::ValueEnum;

use crate::cache::Cache;
use crate::doctor;
use crate::exit::{ExitStatus, Failure};
use crate::output::stdout;

/// Show what is there, what is missing and what that costs, and the command that mends it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// Runs `caulk doctor`: the status says whether the main job can run.
///
/// # Errors
/// When the user interrupts, or the models' manifests cannot be read.
pub fn run(args: &Args, cache: &Cache) -> Result<ExitStatus, Failure> {
    let diagnosis = doctor::examine(cache)?;
    let printed = stdout::line(&match args.format {
        Format::Text => diagnosis.text(),
        Format::Json => diagnosis.json(),
    })?;
    Ok(printed.or(diagnosis.exit_status()))
}
