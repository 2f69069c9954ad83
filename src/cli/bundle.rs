//! `caulk bundle`: looks at bundles.

use std::path::PathBuf;

use crate::exit::{ExitStatus, Failure};
use crate::output::bundle::{self, Bundle};
use crate::output::style::Style;
use crate::output::{OutputError, diff, json, stdout, table};

use super::counted;

/// Look at a bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with a bundle.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the findings of a bundle and what became of them
    Show(ShowArgs),
    /// Check that a bundle is as caulk wrote it: file hashes, the chain of the audit log, patches
    Verify(VerifyArgs),
}

/// `caulk bundle show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The bundle's folder
    #[arg(default_value = "caulk-out")]
    pub bundle: PathBuf,
    /// A table, or the manifest as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print the patch of all fixes, too
    #[arg(long)]
    pub diff: bool,
}

/// `caulk bundle verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The bundle's folder
    #[arg(default_value = "caulk-out")]
    pub bundle: PathBuf,
}

/// How a bundle is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table
    Text,
    /// The manifest
    Json,
}

/// Runs the command.
///
/// # Errors
/// When there is no bundle, or it is not as it was written.
pub fn run(args: &Args) -> Result<ExitStatus, Failure> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Verify(args) => verify(args),
    }
}

fn show(args: &ShowArgs) -> Result<ExitStatus, Failure> {
    let bundle = Bundle::open(&args.bundle)?;
    let style = Style::stdout();
    let text = match args.format {
        Format::Json => json::pretty(&bundle.manifest)?,
        Format::Text => {
            let mut text = table::of_run(&bundle.manifest.run, style);
            if let Some(name) = bundle.manifest.all_patch.as_ref().filter(|_| args.diff) {
                let patch = bundle.file(name)?;
                text = format!("{}\n{text}", diff::coloured(&String::from_utf8_lossy(&patch), style));
            }
            text
        }
    };
    Ok(stdout::print(&text)?.or(ExitStatus::Clean))
}

fn verify(args: &VerifyArgs) -> Result<ExitStatus, Failure> {
    let bundle = Bundle::open(&args.bundle)?;
    let problems = bundle::problems(&bundle)?;
    if !problems.is_empty() {
        return Err(OutputError::Damaged { path: bundle.dir, problems }.into());
    }
    let files = counted(bundle.manifest.files.len(), "file", "files");
    let fixes = counted(bundle.manifest.run.fixes.len(), "fix", "fixes");
    let text = format!("{} is as caulk wrote it: {files}, {fixes}, audit log whole\n", args.bundle.display());
    Ok(stdout::print(&text)?.or(ExitStatus::Clean))
}
