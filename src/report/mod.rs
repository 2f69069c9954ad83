//! Reads what scanners wrote elsewhere: SARIF 2.1.0 and the native JSON of Checkov, Trivy, tfsec, Terrascan and KICS.
//!
//! In: report files and the root of the tree that they speak of. Out: [`Report`]: findings with paths relative to that
//! root, and what was refused. The format is told from the content. One file per format; [`filter`] is what of it is asked
//! for.

mod checkov;
pub mod filter;
mod kics;
mod paths;
mod sarif;
mod terrascan;
mod tfsec;
mod trivy;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::{ExitStatus, Failure};
use crate::finding::{Finding, Severity, Tool};
use crate::outcome::Refused;
use crate::source::{RelPath, ResourceAddr};

/// What report files say of a tree.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scanner that wrote it; of several files, the first one's.
    pub tool: Tool,
    /// The findings that lie in the tree, in the report's order, each once.
    pub findings: Vec<Finding>,
    /// The findings that do not.
    pub refused: Vec<Refused>,
}

/// A report that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error("cannot read the report {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JSON, or a truncated one.
    #[error("{path}:{line}:{column}: {}", syntax(.message, *.truncated))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Whether the file ends in the middle.
        truncated: bool,
        /// The parser's message.
        message: String,
    },
    /// It is JSON of no known kind.
    #[error("{path} is no report that caulk knows: {found}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What stands at its top.
        found: String,
    },
    /// It is a report of a known kind whose fields are not as its format says.
    #[error("{path}:{line}:{column}: not a {format} report as its format says: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it was taken for.
        format: &'static str,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was expected.
        message: String,
    },
    /// Most of its findings name files that are not below the root.
    #[error(
        "{path} is a report of another tree: {refused} of its {total} findings name files that are not below {root} (such as {example})"
    )]
    OtherTree {
        /// The report.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// Findings refused.
        refused: usize,
        /// Findings in all.
        total: usize,
        /// One such file as the report names it.
        example: String,
    },
}

fn syntax(message: &str, truncated: bool) -> String {
    match truncated {
        true => format!("the report ends in the middle ({message})"),
        false => format!("the report is not JSON: {message}"),
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let hint = match &error {
            ReportError::Unreadable { .. } => "name a report file that can be read",
            ReportError::Syntax { truncated: true, .. } => {
                "let the scanner write the report again; the file was cut off"
            }
            ReportError::OtherTree { .. } => "run caulk on the folder that the scanner ran on",
            _ => "expected SARIF 2.1.0, or the JSON report of Checkov, Trivy, tfsec, Terrascan or KICS",
        };
        Failure::new(ExitStatus::Input, error.to_string()).hint(hint)
    }
}

/// Reads one report file of the tree below `root`.
///
/// # Errors
/// When it cannot be read, is no report of a known kind, or speaks of another tree.
pub fn read(path: &Path, root: &Path) -> Result<Report, ReportError> {
    let bytes = std::fs::read(path).map_err(|source| ReportError::Unreadable { path: path.to_owned(), source })?;
    let mut report = parse(path, &bytes, root)?;
    let mut seen = std::collections::HashSet::new();
    report.findings.retain(|finding| seen.insert(finding.id.clone()));

    let missing: Vec<_> = report.refused.iter().filter(|refused| refused.reason != paths::NOT_TERRAFORM).collect();
    let total = report.findings.len() + missing.len();
    match missing.first() {
        Some(first) if missing.len() * 2 > total => Err(ReportError::OtherTree {
            path: path.to_owned(),
            root: root.to_owned(),
            refused: missing.len(),
            total,
            example: first.path.clone(),
        }),
        _ => Ok(report),
    }
}

/// Reads several report files of one tree. A finding that several of them hold is taken once.
///
/// # Errors
/// As [`read`], for the first file that cannot be used.
pub fn read_all<P: AsRef<Path>>(files: &[P], root: &Path) -> Result<Report, ReportError> {
    let mut all: Option<Report> = None;
    for file in files {
        let report = read(file.as_ref(), root)?;
        let Some(all) = all.as_mut() else {
            all = Some(report);
            continue;
        };
        for finding in report.findings {
            if !all.findings.iter().any(|known| known.id == finding.id) {
                all.findings.push(finding);
            }
        }
        all.refused.extend(report.refused);
    }
    Ok(all.unwrap_or(Report { tool: Tool::Other, findings: Vec::new(), refused: Vec::new() }))
}

/// What a format's reader hands on: a finding whose file is still as the report names it.
struct Entry {
    rule: String,
    message: String,
    severity: Option<Severity>,
    /// The file as the report names it, and other names that it gives for the same file.
    paths: Vec<String>,
    lines: (usize, usize),
    address: Option<ResourceAddr>,
    hints: crate::finding::Hints,
}

/// A report as its format's reader understood it.
struct Entries {
    tool: Tool,
    entries: Vec<Entry>,
}

fn parse(path: &Path, bytes: &[u8], root: &Path) -> Result<Report, ReportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| ReportError::Syntax {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        truncated: error.is_eof(),
        message: error.to_string(),
    })?;
    let file = ReportFile { path, bytes };
    let read = match kind(&value) {
        Some(Kind::Sarif) => sarif::runs(file.typed("SARIF 2.1.0")?),
        Some(Kind::Checkov) if value.is_array() => vec![checkov::entries(file.typed("Checkov")?)],
        Some(Kind::Checkov) => vec![checkov::entries(vec![file.typed("Checkov")?])],
        Some(Kind::Trivy) => vec![trivy::entries(file.typed("Trivy")?)],
        Some(Kind::Tfsec) => vec![tfsec::entries(file.typed("tfsec")?)],
        Some(Kind::Terrascan) => vec![terrascan::entries(file.typed("Terrascan")?)],
        Some(Kind::Kics) => vec![kics::entries(file.typed("KICS")?)],
        None => return Err(ReportError::Unknown { path: path.to_owned(), found: top(&value) }),
    };
    let matcher = paths::Matcher::new(root);
    let tool = read.first().map_or(Tool::Other, |first| first.tool);
    let mut report = Report { tool, findings: Vec::new(), refused: Vec::new() };
    for (tool, entry) in read.into_iter().flat_map(|of| of.entries.into_iter().map(move |entry| (of.tool, entry))) {
        match matcher.find(&entry.paths) {
            Ok(file) => report.findings.push(entry.into_finding(tool, file)),
            Err(reason) => {
                let path = entry.paths.into_iter().next().unwrap_or_default();
                report.refused.push(Refused { rule: entry.rule, path, reason });
            }
        }
    }
    Ok(report)
}

struct ReportFile<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl ReportFile<'_> {
    fn typed<T: DeserializeOwned>(&self, format: &'static str) -> Result<T, ReportError> {
        serde_json::from_slice(self.bytes).map_err(|error| ReportError::Format {
            path: self.path.to_owned(),
            format,
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        })
    }
}

impl Entry {
    fn into_finding(self, tool: Tool, file: RelPath) -> Finding {
        let location =
            crate::finding::Location { file, start_line: self.lines.0, end_line: self.lines.1.max(self.lines.0) };
        let mut finding = Finding::new(tool, self.rule, self.message, location, self.address);
        finding.severity = self.severity;
        finding.hints = self.hints;
        finding
    }
}

enum Kind {
    Sarif,
    Checkov,
    Trivy,
    Tfsec,
    Terrascan,
    Kics,
}

/// The format, by fields that only it has.
fn kind(value: &Value) -> Option<Kind> {
    let has = |key: &str| value.get(key).is_some();
    if has("runs") && has("version") {
        return Some(Kind::Sarif);
    }
    // Several frameworks make a list; none at all makes a bare summary.
    let checkov = |v: &Value| v.get("check_type").is_some() || v.get("checkov_version").is_some();
    if checkov(value) || value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(checkov)) {
        return Some(Kind::Checkov);
    }
    if has("SchemaVersion") && (has("ArtifactName") || has("Results")) {
        return Some(Kind::Trivy);
    }
    if has("queries") && (has("kics_version") || has("files_scanned")) {
        return Some(Kind::Kics);
    }
    match value.get("results")? {
        Value::Object(results) if results.contains_key("violations") || results.contains_key("scan_summary") => {
            Some(Kind::Terrascan)
        }
        Value::Array(results) if results.iter().all(|r| r.get("rule_id").is_some() && r.get("location").is_some()) => {
            Some(Kind::Tfsec)
        }
        Value::Null => Some(Kind::Tfsec),
        _ => None,
    }
}

/// What stands at the top of a JSON text, for a message.
fn top(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "it is an empty object".to_owned(),
        Value::Object(map) => {
            let keys: Vec<&str> = map.keys().take(6).map(String::as_str).collect();
            format!("it is an object with {}", keys.join(", "))
        }
        Value::Array(list) if list.is_empty() => "it is an empty list".to_owned(),
        Value::Array(_) => "it is a list of something else than Checkov's results".to_owned(),
        _ => "it is a bare value".to_owned(),
    }
}

#[cfg(test)]
mod tests;
