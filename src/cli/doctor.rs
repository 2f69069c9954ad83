//! `caulk doctor`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::cache::Cache;
use crate::doctor;
use crate::exit::{ExitStatus, Failure};
use crate::output::stdout;
use crate::process::{self, Cmd};
use crate::seal::{self, probe::Tried};

/// How long the seal is tried, at most.
const LIMIT: Duration = Duration::from_secs(60);

/// Show what is there, what is missing and what that costs, and the command that mends it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Seal this process, try to break the seal, and print what came of it: what `caulk doctor` itself runs
    #[arg(long, hide = true, value_name = "DIR")]
    pub try_seal: Option<PathBuf>,
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
pub fn run(args: &Args, cache: impl FnOnce() -> Result<Cache, Failure>) -> Result<ExitStatus, Failure> {
    if let Some(outside) = &args.try_seal {
        let tried = tried(outside).map_err(|why| Failure::new(ExitStatus::Internal, why))?;
        return Ok(stdout::line(&tried)?.or(ExitStatus::Clean));
    }
    let mut diagnosis = doctor::examine(&cache()?)?;
    diagnosis.checks.push(doctor::seal(try_seal()));
    let printed = stdout::line(&match args.format {
        Format::Text => diagnosis.text(),
        Format::Json => diagnosis.json(),
    })?;
    Ok(printed.or(diagnosis.exit_status()))
}

/// Seals this process and tries to break that, as JSON.
fn tried(outside: &Path) -> Result<String, String> {
    let closed = seal::close(&[]).map_err(|error| error.to_string())?;
    let tried = Tried { seal: closed.seal.clone(), attempts: seal::probe::attempts(outside) };
    serde_json::to_string(&tried).map_err(|error| error.to_string())
}

/// Has a process of its own sealed, as a seal stays closed, and asks it what held.
fn try_seal() -> Result<Tried, String> {
    let outside = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(outside.path().join("kept"), "x").map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let cmd = Cmd::new(program, LIMIT).args(["doctor", "--try-seal"]).arg(outside.path());
    let output = process::run(&cmd).map_err(|error| error.to_string())?;
    if !output.success() {
        return Err(output.stderr_text());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}
