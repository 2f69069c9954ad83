//! The command line: one file per subcommand, each with its arguments and what it runs.

mod apply;
mod bench;
mod bundle;
mod demo;
mod doctor;
mod engine;
mod eval;
mod fix;
mod model;
mod scan;
mod schema;
mod seal;
mod setup;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::progress::Progress;
use crate::source::{RelPath, SourceTree};

/// Closes the security gaps that scanners find in Infrastructure as Code, on this machine: a local model writes each
/// fix under a grammar, and only what is proven is emitted.
#[derive(Debug, Parser)]
#[command(name = "caulk", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Folder for tools and models [default: CAULK_CACHE, else the user's cache folder]
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 nothing left in scope; 1 sound run, findings remain; 2 usage or configuration; 3 no readable input or \
report; 4 a needed tool is missing or broken; 5 model missing or hash wrong; 70 internal; 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch the pinned scanners and the model into the cache
    Setup(setup::Args),
    /// Say what is there, what is missing, and what mends it
    Doctor(doctor::Args),
    /// Set up, then fix a small bundled module
    Demo(demo::Args),
    /// List findings
    Scan(scan::ScanArgs),
    /// Fix findings: write a bundle of proven patches
    Fix(fix::Args),
    /// Write a bundle's fixes to the working tree
    Apply(apply::Args),
    /// Look into a bundle
    Bundle(bundle::Args),
    /// Run cases, findings that are known, and count what was fixed
    Eval(eval::Args),
    /// Measure how fast a model is on this machine
    Bench(bench::Args),
    /// List, fetch, check and import models
    Model(model::Args),
    /// List, show and add providers' schemas
    Schema(schema::Args),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command.
///
/// # Errors
/// What ends it early, with the exit status and a hint.
pub fn run(cli: &Cli) -> Result<ExitStatus, Failure> {
    let progress = Progress::detect(cli.quiet);
    let cache = || Cache::open(cli.cache.as_deref()).map_err(Failure::from);
    match &cli.command {
        Command::Setup(args) => setup::run(args, &cache()?, &progress),
        Command::Doctor(args) => doctor::run(args, cache),
        Command::Demo(args) => demo::run(args, &cache()?, &progress),
        Command::Scan(args) => scan::run(args, &cache()?, &progress),
        Command::Fix(args) => fix::run(args, &cache()?, &progress),
        Command::Apply(args) => apply::run(args),
        Command::Bundle(args) => bundle::run(args),
        Command::Eval(args) => eval::run(args, &cache()?, &progress),
        Command::Bench(args) => bench::run(args, &cache()?, &progress),
        Command::Model(args) => model::run(args, &cache()?, &progress),
        Command::Schema(args) => schema::run(args, &cache()?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "caulk", &mut script);
            let printed = crate::output::stdout::print(&String::from_utf8_lossy(&script))?;
            Ok(printed.or(ExitStatus::Clean))
        }
    }
}

/// The Terraform files below a folder, as far as they are in scope. That there are none is an error.
fn load(root: &Path, scope: &[RelPath]) -> Result<SourceTree, Failure> {
    let tree = SourceTree::load(root, scope)
        .map_err(|e| Failure::new(ExitStatus::Input, format!("cannot read {}: {e}", root.display())))?;
    if tree.files().next().is_none() {
        return Err(Failure::new(ExitStatus::Input, format!("there is no .tf file in {}", root.display()))
            .hint("name a folder with Terraform files; a scanner's report goes behind `caulk fix --report`"));
    }
    Ok(tree)
}

/// A number with its noun.
fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
