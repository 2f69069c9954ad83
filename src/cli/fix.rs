//! `caulk fix`: the main job. Findings in, a bundle of proven patches out.

use std::path::{Path, PathBuf};

use clap::{Args as _, FromArgMatches};

use crate::cache::Cache;
use crate::engine::Job;
use crate::exit::{ExitStatus, Failure};
use crate::finding::{Finding, Tool};
use crate::outcome::{Refused, RunReport};
use crate::output::{self, stdout::print, style::Style};
use crate::progress::{Progress, Unit};
use crate::report;
use crate::report::filter::Filter;
use crate::scanner::checkov::{CheckovWorker, ScanRequest};
use crate::scanner::{self, ScannerError};
use crate::source::RelPath;

use super::engine::{Engine, Options};

/// Arguments of `caulk fix`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders to fix; patches are relative to the folder, or to the deepest one that holds them all
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Take the findings from a report (SARIF, or JSON of Checkov, Trivy, tfsec, Terrascan, KICS) instead of a scan; may
    /// be repeated
    #[arg(long, value_name = "FILE")]
    pub report: Vec<PathBuf>,
    #[command(flatten)]
    pub filter: Filter,
    #[command(flatten)]
    pub engine: Options,
    #[command(flatten)]
    pub seal: super::seal::Options,
    /// Folder for the bundle; one that is there must be a bundle, and is replaced
    #[arg(long, value_name = "DIR", default_value = "caulk-out")]
    pub out: PathBuf,
    /// Also write the fixes to the files
    #[arg(long)]
    pub apply: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also print the patches, below the table
    #[arg(long)]
    pub diff: bool,
}

impl Args {
    /// The defaults of the command line, for one path.
    pub fn of(path: PathBuf) -> Self {
        let command = Self::augment_args(clap::Command::new("fix").no_binary_name(true));
        let matches = command.get_matches_from([path]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    Text,
    /// The run as JSON, as in the bundle's manifest.
    Json,
    /// SARIF 2.1.0 with fixes.
    Sarif,
}

/// Runs it.
///
/// # Errors
/// What ends it early; nothing is written then.
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    let (root, scope) = scanner::scope(&args.paths)?;
    output::bundle::check_target(&args.out)?;
    let beside = output::bundle::beside(&args.out)?;
    let mut writable = vec![cache.root(), &beside];
    writable.extend(args.apply.then_some(&*root));
    let _closed = args.seal.of_run(args.engine.plan)?.close(&writable)?;
    let mut engine = Engine::start(&args.engine, Some(&root), cache)?;
    // All of the root: what is in scope may refer to, or be called from, what is not.
    let tree = super::load(&root, &[RelPath::default()])?;
    let found = findings(args, &root, &scope, engine.checkov.as_mut(), progress)?;
    let job = Job {
        tree,
        scope,
        excluded: &|path| args.filter.excludes(path),
        findings: found.findings,
        unscanned: found.unscanned,
        refused: found.refused,
    };
    let (report, _) = engine.run(job, cache, progress)?;
    write_out(args, &report, progress)
}

/// What is to be done.
struct Found {
    findings: Vec<Finding>,
    /// Files that the scanner could not parse.
    unscanned: Vec<RelPath>,
    refused: Vec<Refused>,
}

/// The findings in scope, from the reports or from a scan.
fn findings(
    args: &Args,
    root: &Path,
    scope: &[RelPath],
    checkov: Option<&mut CheckovWorker>,
    progress: &Progress,
) -> Result<Found, Failure> {
    let (findings, unscanned, refused) = if args.report.is_empty() {
        let worker = checkov.ok_or_else(|| ScannerError::Missing { tool: Tool::Checkov, why: String::new() })?;
        let task = progress.task("scanning", 0, Unit::Items);
        task.message(&root.display().to_string());
        let scan = worker.scan(&ScanRequest::all(root))?.within(scope);
        let unscanned = scan.parse_errors.into_iter().filter(|file| !args.filter.excludes(file)).collect();
        (scan.failed, unscanned, Vec::new())
    } else {
        let report = report::read_all(&args.report, root)?;
        (report.findings, Vec::new(), report.refused)
    };
    let covered = findings.into_iter().filter(|finding| scanner::covers(scope, &finding.location.file));
    let findings: Vec<Finding> = covered.collect();
    for line in args.filter.idle(&findings) {
        progress.warning(&line);
    }
    Ok(Found { findings: args.filter.apply(findings), unscanned, refused })
}

/// Writes the bundle, prints the run, and applies it if asked to.
fn write_out(args: &Args, report: &RunReport, progress: &Progress) -> Result<ExitStatus, Failure> {
    output::bundle::write(report, &args.out)?;
    let style = Style::stdout();
    let text = match args.format {
        Format::Text => output::table::run(report, style),
        Format::Json => output::json::run(report)?,
        Format::Sarif => output::sarif::run(report)?,
    };
    let mut printed = print(&text)?;
    if args.diff && args.format == Format::Text {
        printed = print(&output::diff::run(report, style)?)?;
    }
    if args.apply {
        for file in output::apply::write(&report.root, &report.all)? {
            progress.line(&format!("written: {file}"));
        }
    }
    let out = args.out.display();
    let root = match output::bundle::finds_root(&report.root, &args.out) {
        true => String::new(),
        false => format!(" --root {}", report.root.display()),
    };
    progress.line(&format!(
        "bundle: {out} (`caulk bundle show {out} --diff` shows it, `caulk apply {out}{root}` writes the fixes)"
    ));
    Ok(printed.or(report.exit_status()))
}
