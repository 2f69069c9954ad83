//! `caulk scan`: what Checkov finds, as a table, JSON or SARIF.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::exit::{ExitStatus, Failure};
use crate::finding::Tool;
use crate::output::{
    OutputError, findings,
    json::pretty,
    stdout::{Printed, print},
    style::Style,
    table,
};
use crate::progress::{Progress, Unit};
use crate::report::filter::Filter;
use crate::scanner::checkov::{CheckovWorker, ScanRequest};
use crate::scanner::{ScannerError, scope};

/// Show what the scanner finds.
#[derive(Clone, Debug, clap::Args)]
pub struct ScanArgs {
    /// Folders or files to scan [default: the working directory]
    ///
    /// Several paths are scanned from the deepest folder that holds them all.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Which findings are meant
    #[command(flatten)]
    pub filter: Filter,

    /// How to print the findings
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub seal: super::seal::Options,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// A versioned JSON document.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}

/// Scans with the Checkov of the cache and prints what is found.
///
/// # Errors
/// When a path is not there, Checkov cannot be run, or the output cannot be written.
pub fn run(args: &ScanArgs, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    let python =
        cache.checkov_python().ok_or_else(|| ScannerError::Missing { tool: Tool::Checkov, why: String::new() })?;
    let _closed =
        args.seal.close(&args.out.iter().filter_map(|file| file.parent()).chain([cache.root()]).collect::<Vec<_>>())?;
    let mut worker = CheckovWorker::start(&python)?;
    let (root, scope) = scope(&args.paths)?;
    let scan = {
        let _task = progress.task(&format!("Scanning {}", root.display()), 0, Unit::Items);
        worker.scan(&ScanRequest { scope: scope.clone(), ..ScanRequest::all(&root) })?
    };
    super::load(&root, &scope)?;
    let unread = scan.parse_errors.iter().filter(|file| !args.filter.excludes(file));
    let unreadable: Vec<String> = unread.map(ToString::to_string).collect();
    for file in &unreadable {
        progress.line(&format!("{file}: Checkov cannot parse this file; nothing in it was scanned"));
    }
    if scan.outside > 0 {
        progress.line(&format!("{} findings in files outside {} are left out", scan.outside, root.display()));
    }
    for line in args.filter.idle(&scan.failed) {
        progress.warning(&line);
    }
    let found = args.filter.apply(scan.failed);
    let version = worker.version()?;
    let text = match args.format {
        Format::Table => table::findings(&found, Style::stdout()),
        Format::Json => pretty(&findings::json(Tool::Checkov, version, &found, &unreadable))?,
        Format::Sarif => pretty(&findings::sarif(Tool::Checkov, version, &found, &unreadable))?,
    };
    let mut printed = Printed::Whole;
    match &args.out {
        Some(file) => crate::cache::write_whole(file, text.as_bytes()).map_err(OutputError::io("write", file))?,
        None => printed = print(&text)?,
    }
    let clean = found.is_empty() && unreadable.is_empty();
    Ok(printed.or(if clean { ExitStatus::Clean } else { ExitStatus::FindingsRemain }))
}
