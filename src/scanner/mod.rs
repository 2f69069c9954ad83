//! Runs scanners. Checkov through a warm worker, Trivy as a process.
//!
//! In: a folder. Out: [`Scan`]. [`scope`] turns the paths of a command line into the folder to scan.

pub mod checkov;
pub mod explore;
mod scope;
pub mod trivy;

use std::collections::BTreeSet;

use crate::exit::{ExitStatus, Failure};
use crate::finding::{Finding, Tool};
use crate::interrupt::Interrupted;
use crate::process::ProcessError;
use crate::source::RelPath;

pub use scope::{ScopeError, covers, scope};

/// A rule and the resource it was asked of: what two scans are compared by. Lines shift, these do not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// The rule.
    pub rule: String,
    /// The file.
    pub file: RelPath,
    /// The resource as the scanner writes it.
    pub resource: String,
}

/// What one scan of a folder said.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The rules that fail, by file and line.
    pub failed: Vec<Finding>,
    /// The rules that fail, for comparison.
    pub failed_keys: BTreeSet<CheckKey>,
    /// The rules that pass; empty for a scanner that does not say.
    pub passed_keys: BTreeSet<CheckKey>,
    /// The rules that were skipped by a comment.
    pub skipped_keys: BTreeSet<CheckKey>,
    /// Files that the scanner could not parse.
    pub parse_errors: Vec<RelPath>,
    /// How many rules fail in files outside the scanned folder (modules called through `../`). Nothing else of them
    /// is kept: they are not ours to change.
    pub outside: usize,
}

impl Scan {
    /// Keeps what is said of files in `scope` (files or folders relative to the root; an empty path is everything).
    #[must_use]
    pub fn within(mut self, scope: &[RelPath]) -> Self {
        self.failed.retain(|finding| covers(scope, &finding.location.file));
        for keys in [&mut self.failed_keys, &mut self.passed_keys, &mut self.skipped_keys] {
            keys.retain(|key| covers(scope, &key.file));
        }
        self.parse_errors.retain(|file| covers(scope, file));
        self
    }

    /// Puts the findings into the order of file, line, rule and place.
    fn sorted(mut self) -> Self {
        self.failed.sort_by_cached_key(|f| (f.location.clone(), f.rule.clone(), f.place()));
        self.failed.dedup_by(|a, b| a.id == b.id);
        self.parse_errors.sort();
        self.parse_errors.dedup();
        self
    }
}

/// A scan that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScannerError {
    /// The scanner is not there.
    #[error("{tool} is not installed{}", detail(.why))]
    Missing {
        /// Which.
        tool: Tool,
        /// What was looked for or said; may be empty.
        why: String,
    },
    /// Its process failed, hung or was interrupted.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ran and said that it failed.
    #[error("{tool} failed: {message}")]
    Failed {
        /// Which.
        tool: Tool,
        /// What it said.
        message: String,
    },
    /// It said something that caulk does not understand.
    #[error("{tool} answered in a way that caulk does not understand: {message}")]
    Answer {
        /// Which.
        tool: Tool,
        /// What.
        message: String,
    },
}

fn detail(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl From<ScannerError> for Failure {
    fn from(error: ScannerError) -> Self {
        let hint = match &error {
            ScannerError::Process(ProcessError::Interrupted) => return Interrupted.into(),
            ScannerError::Missing { .. } | ScannerError::Process(ProcessError::Start { .. }) => {
                "run `caulk setup` to install it, `caulk doctor` to see what is there"
            }
            ScannerError::Process(ProcessError::TimedOut { .. }) => "scan a smaller folder, or raise the time limit",
            _ => "run `caulk doctor`; `caulk setup` installs the pinned version anew",
        };
        Failure::new(ExitStatus::Tool, error.to_string()).hint(hint)
    }
}
