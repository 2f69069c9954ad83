//! `caulk scan`: what Checkov finds, as a table, JSON or SARIF.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

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
    let out = args.out.as_deref().map(Target::of).transpose()?;
    let folder = out.as_ref().and_then(Target::folder);
    let _closed = args.seal.close(&folder.into_iter().chain([cache.root()]).collect::<Vec<_>>())?;
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
    match out {
        Some(target) => target.write(text.as_bytes())?,
        None => printed = print(&text)?,
    }
    let clean = found.is_empty() && unreadable.is_empty();
    Ok(printed.or(if clean { ExitStatus::Clean } else { ExitStatus::FindingsRemain }))
}

/// Where the findings are written to.
enum Target {
    /// A file, which is replaced whole.
    File(PathBuf),
    /// A device or a pipe, which stays what it is.
    Other(PathBuf, File),
}

impl Target {
    /// A link stands for what it leads to. What is no file is opened at once, and the folder of a file is made: in a sealed run
    /// they can be no longer.
    fn of(path: &Path) -> Result<Self, OutputError> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() && !found.is_dir() => {
                let file = File::options().write(true).open(&path).map_err(OutputError::io("write", &path))?;
                Ok(Self::Other(path, file))
            }
            _ => {
                let path = std::path::absolute(&path).map_err(OutputError::io("write", &path))?;
                let folder = path.parent().unwrap_or(Path::new("/"));
                std::fs::create_dir_all(folder).map_err(OutputError::io("create", folder))?;
                Ok(Self::File(path))
            }
        }
    }

    /// The folder that is written to.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Other(..) => None,
        }
    }

    fn write(self, bytes: &[u8]) -> Result<(), OutputError> {
        match self {
            Self::File(path) => crate::cache::write_whole(&path, bytes).map_err(OutputError::io("write", &path)),
            Self::Other(path, mut file) => file.write_all(bytes).map_err(OutputError::io("write", &path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link] = ["found.json", "link"].map(|name| dir.path().join(name));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Target::of(&link).unwrap().write(b"new").unwrap();
        assert!(link.is_symlink());
        let new = dir.path().join("new/found.json");
        Target::of(&new).unwrap().write(b"new").unwrap();
        assert!(new.is_file());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        let null = Target::of(Path::new("/dev/null")).unwrap();
        assert_eq!(null.folder(), None);
        null.write(b"gone").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
