//! Checkov in a warm worker process: imported once, then asked over its pipes.
//!
//! The worker (`worker.py`, `explore.py`) is part of the binary and is handed to Python on the command line: nothing is written to
//! disk, so any number of workers can stand side by side. It runs Checkov's own Terraform runner with no
//! configuration file, baseline or environment of the user's, and without network: the same tree gives the same scan
//! everywhere. Comments that skip a rule are honoured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{CheckKey, Scan, ScannerError};
use crate::finding::{Finding, Hints, Location, Severity, Tool};
use crate::process::{Cmd, ProcessError, Service};
use crate::rules::Wish;
use crate::source::RelPath;

/// The worker's program.
pub const WORKER: &str = concat!(include_str!("worker.py"), "\n\n", include_str!("explore.py"), "\n\nmain()\n");

/// How long the worker may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start to its hello: the import, slow from a cold disk.
    pub start: Duration,
    /// For one answer.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start: Duration::from_secs(180), answer: Duration::from_secs(600) }
    }
}

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The folder. Modules are resolved within it, so it should hold those that are called.
    pub root: PathBuf,
    /// Rules to run; all if empty.
    pub rules: Vec<String>,
    /// What of the root to report on (files or folders); all if empty. The whole root is parsed in any case.
    pub scope: Vec<RelPath>,
}

impl ScanRequest {
    /// A scan of everything in a folder.
    pub fn all(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), rules: Vec::new(), scope: Vec::new() }
    }
}

/// A running Checkov. Ended when dropped.
#[derive(Debug)]
pub struct CheckovWorker {
    cmd: Cmd,
    limits: Limits,
    service: Option<Service>,
    version: Option<String>,
}

impl CheckovWorker {
    /// Starts the worker and returns at once: the import (about 2 s) goes on in the background.
    ///
    /// # Errors
    /// When `python` cannot be started. That it has no Checkov is told by the first request.
    pub fn start(python: &Path) -> Result<Self, ScannerError> {
        Self::with_limits(python, Limits::default())
    }

    /// [`CheckovWorker::start`] with other time limits.
    ///
    /// # Errors
    /// See [`CheckovWorker::start`].
    pub fn with_limits(python: &Path, limits: Limits) -> Result<Self, ScannerError> {
        // A fixed hash seed: Checkov walks over sets.
        let cmd = Cmd::new(python, limits.answer)
            .args(["-s", "-c", WORKER])
            .cwd("/")
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONUTF8", "1");
        Self::of(cmd, limits)
    }

    fn of(cmd: Cmd, limits: Limits) -> Result<Self, ScannerError> {
        let mut worker = Self { cmd, limits, service: None, version: None };
        worker.spawn()?;
        Ok(worker)
    }

    /// Checkov's version. Waits for the import.
    ///
    /// # Errors
    /// When the worker cannot be started or has no Checkov.
    pub fn version(&mut self) -> Result<&str, ScannerError> {
        if self.version.is_none() {
            self.ready()?;
        }
        Ok(self.version.as_deref().unwrap_or_default())
    }

    /// Scans a folder.
    ///
    /// # Errors
    /// When Checkov fails on it, or the worker died or hung twice.
    pub fn scan(&mut self, request: &ScanRequest) -> Result<Scan, ScannerError> {
        let root = std::path::absolute(&request.root).unwrap_or_else(|_| request.root.clone());
        let answer: ScanAnswer = self.ask(&json!({ "op": "scan", "root": root, "rules": request.rules }))?;
        Ok(answer.into_scan().within(&request.scope))
    }

    /// What rules want, by the installed Checkov's word; all rules if none is named. Rules that it does not have are
    /// left out.
    ///
    /// # Errors
    /// See [`CheckovWorker::scan`].
    pub fn wishes(&mut self, rules: &[&str]) -> Result<Vec<Wish>, ScannerError> {
        self.ask(&json!({ "op": "wish", "rules": rules }))
    }

    /// Every resource type that some rule of the installed Checkov knows.
    ///
    /// # Errors
    /// As [`CheckovWorker::scan`].
    pub fn resource_types(&mut self) -> Result<BTreeSet<String>, ScannerError> {
        self.ask(&json!({ "op": "types" }))
    }

    fn spawn(&mut self) -> Result<(), ScannerError> {
        self.version = None;
        self.service = Some(Service::start(&self.cmd).map_err(|error| match error {
            ProcessError::Start { .. } => ScannerError::Missing { tool: Tool::Checkov, why: error.to_string() },
            other => other.into(),
        })?);
        Ok(())
    }

    /// The worker after its hello; started anew when it is gone.
    fn ready(&mut self) -> Result<&mut Service, ScannerError> {
        if self.service.is_none() {
            self.spawn()?;
        }
        let Some(service) = self.service.as_mut() else {
            return Err(answer_error("it could not be started"));
        };
        if self.version.is_none() {
            let line = service.next_line(self.limits.start)?;
            match serde_json::from_str(&line) {
                Ok(Hello::Hello(version)) => self.version = Some(version),
                Ok(Hello::Missing(why)) => return Err(ScannerError::Missing { tool: Tool::Checkov, why }),
                Err(error) => return Err(unreadable(&line, &error)),
            }
        }
        Ok(service)
    }

    /// One request. A worker that dies, hangs or talks nonsense is started anew and asked again, once.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, request: &serde_json::Value) -> Result<T, ScannerError> {
        match self.ask_once(request) {
            Err(error) if worth_another_try(&error) => {
                self.service = None;
                self.ask_once(request)
            }
            answer => answer,
        }
        .inspect_err(|error| {
            if !matches!(error, ScannerError::Failed { .. }) {
                self.service = None;
            }
        })
    }

    fn ask_once<T: DeserializeOwned>(&mut self, request: &serde_json::Value) -> Result<T, ScannerError> {
        let limit = self.limits.answer;
        let line = self.ready()?.ask(&request.to_string(), limit)?;
        match serde_json::from_str(&line) {
            Ok(Answer::Ok(answer)) => Ok(answer),
            Ok(Answer::Error(message)) => Err(ScannerError::Failed { tool: Tool::Checkov, message }),
            Err(error) => Err(unreadable(&line, &error)),
        }
    }
}

fn worth_another_try(error: &ScannerError) -> bool {
    match error {
        ScannerError::Process(ProcessError::Ended { .. } | ProcessError::TimedOut { .. }) => true,
        ScannerError::Answer { .. } => true,
        ScannerError::Process(_) | ScannerError::Missing { .. } | ScannerError::Failed { .. } => false,
    }
}

fn unreadable(line: &str, error: &serde_json::Error) -> ScannerError {
    let start: String = line.chars().take(80).collect();
    answer_error(&format!("{error} in {start:?}"))
}

fn answer_error(message: &str) -> ScannerError {
    ScannerError::Answer { tool: Tool::Checkov, message: message.to_owned() }
}

// The worker's lines.

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hello {
    Hello(String),
    Missing(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

#[derive(Deserialize)]
struct ScanAnswer {
    failed: Vec<Failed>,
    passed: Vec<Key>,
    skipped: Vec<Key>,
    parse_errors: Vec<String>,
}

#[derive(Deserialize)]
struct Key {
    rule: String,
    resource: String,
    file: String,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(flatten)]
    key: Key,
    name: String,
    lines: (usize, usize),
    evaluated_keys: Vec<String>,
    severity: Option<String>,
    guideline: Option<String>,
}

impl Key {
    /// `None` when the file is outside the root.
    fn into_key(self) -> Option<CheckKey> {
        Some(CheckKey { rule: self.rule, file: RelPath::new(&self.file)?, resource: self.resource })
    }
}

impl ScanAnswer {
    fn into_scan(self) -> Scan {
        let mut scan = Scan {
            passed_keys: self.passed.into_iter().filter_map(Key::into_key).collect(),
            skipped_keys: self.skipped.into_iter().filter_map(Key::into_key).collect(),
            parse_errors: self.parse_errors.iter().filter_map(RelPath::new).collect(),
            ..Scan::default()
        };
        for failed in self.failed {
            let Some(key) = failed.key.into_key() else {
                scan.outside += 1;
                continue;
            };
            let (start_line, end_line) = failed.lines;
            let location = Location { file: key.file.clone(), start_line, end_line };
            let mut finding = Finding::new(Tool::Checkov, &key.rule, failed.name, location, key.resource.parse().ok());
            finding.severity = failed.severity.as_deref().and_then(severity);
            finding.hints =
                Hints { guideline: failed.guideline, evaluated_keys: failed.evaluated_keys, ..Hints::default() };
            scan.failed.push(finding);
            scan.failed_keys.insert(key);
        }
        scan.sorted()
    }
}

/// Checkov's severities; only its platform gives any.
pub(crate) fn severity(name: &str) -> Option<Severity> {
    match name.to_ascii_uppercase().as_str() {
        "CRITICAL" => Some(Severity::Critical),
        "HIGH" => Some(Severity::High),
        "MEDIUM" | "MODERATE" => Some(Severity::Medium),
        "LOW" => Some(Severity::Low),
        "INFO" => Some(Severity::Info),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{ExitStatus, Failure};

    const NOTHING: &str = r#"{"ok": {"failed": [], "passed": [], "skipped": [], "parse_errors": []}}"#;

    /// A worker whose program is a shell script; `$DIR` is a folder of its own.
    fn worker(script: &str, limits: Limits) -> (tempfile::TempDir, CheckovWorker) {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("DIR={}; NOTHING='{NOTHING}'; {script}", dir.path().display());
        let cmd = Cmd::new("sh", limits.answer).args(["-c", &script]);
        (dir, CheckovWorker::of(cmd, limits).unwrap())
    }

    fn scan(worker: &mut CheckovWorker) -> Result<Scan, ScannerError> {
        worker.scan(&ScanRequest::all("/"))
    }

    #[test]
    fn an_answer_becomes_findings_with_addresses_and_keys() {
        let failed =
            r#"{"rule": "CKV_X_1", "resource": "module.m.aws_s3_bucket.b[0]", "file": "m/main.tf", "name": "A rule",
            "lines": [3, 5], "evaluated_keys": ["a/[0]/b"], "severity": "HIGH", "guideline": null}"#
                .replace('\n', " ");
        let script = format!(
            r#"echo '{{"hello": "3.0"}}'; read line; echo '{{"ok": {{"failed": [{failed}], "passed": [{{"rule": "CKV_X_2",
            "resource": "aws_s3_bucket.b", "file": "main.tf"}}], "skipped": [], "parse_errors": ["bad.tf"]}}}}'"#
        )
        .replace('\n', " ");
        let (_dir, mut worker) = worker(&script, Limits::default());
        assert_eq!(worker.version().unwrap(), "3.0");
        let scan = scan(&mut worker).unwrap();
        let finding = &scan.failed[0];
        assert_eq!(finding.address.as_ref().unwrap().modules, ["m"]);
        assert_eq!((finding.location.file.as_str(), finding.location.start_line), ("m/main.tf", 3));
        assert_eq!((finding.severity, finding.hints.evaluated_keys[0].as_str()), (Some(Severity::High), "a/[0]/b"));
        assert_eq!(scan.failed_keys.first().unwrap().resource, "module.m.aws_s3_bucket.b[0]");
        assert_eq!(scan.passed_keys.first().unwrap().rule, "CKV_X_2");
        assert_eq!(scan.parse_errors[0].as_str(), "bad.tf");
    }

    #[test]
    fn findings_outside_the_root_are_only_counted() {
        let key = |file: &str| Key { rule: "R".into(), resource: "a.b".into(), file: file.into() };
        let failed = |file: &str| Failed {
            key: key(file),
            name: String::new(),
            lines: (1, 1),
            evaluated_keys: Vec::new(),
            severity: None,
            guideline: None,
        };
        let answer = ScanAnswer {
            failed: vec![failed("../shared/main.tf"), failed("main.tf")],
            passed: vec![key("../shared/main.tf")],
            skipped: Vec::new(),
            parse_errors: Vec::new(),
        };
        let scan = answer.into_scan();
        assert_eq!((scan.outside, scan.failed.len(), scan.passed_keys.len()), (1, 1, 0));
    }

    #[test]
    fn a_worker_that_dies_once_is_asked_again() {
        let script =
            r#"echo '{"hello": "1"}'; read line; [ -e $DIR/died ] || { touch $DIR/died; exit 1; }; echo "$NOTHING""#;
        let (_dir, mut worker) = worker(script, Limits::default());
        assert!(scan(&mut worker).is_ok());
    }

    #[test]
    fn a_worker_that_dies_always_is_an_error_with_its_last_words() {
        let (_dir, mut worker) =
            worker(r#"echo '{"hello": "1"}'; read line; echo boom >&2; exit 1"#, Limits::default());
        let error = scan(&mut worker).unwrap_err();
        assert!(matches!(&error, ScannerError::Process(ProcessError::Ended { .. })), "{error}");
        assert_eq!(Failure::from(error).status, ExitStatus::Tool);
    }

    #[test]
    fn a_worker_that_hangs_is_stopped_and_asked_again() {
        let script =
            r#"echo '{"hello": "1"}'; read line; [ -e $DIR/hung ] || { touch $DIR/hung; sleep 600; }; echo "$NOTHING""#;
        let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
        let (_dir, mut worker) = worker(script, limits);
        assert!(scan(&mut worker).is_ok());
    }

    #[test]
    fn garbage_is_named() {
        let (_dir, mut worker) = worker(r#"echo '{"hello": "1"}'; read line; echo 'Traceback!'"#, Limits::default());
        let error = scan(&mut worker).unwrap_err();
        assert!(matches!(error, ScannerError::Answer { .. }));
        assert!(error.to_string().contains("Traceback!"));
    }

    #[test]
    fn a_failure_of_checkov_itself_is_told_and_the_worker_lives_on() {
        let script = r#"echo '{"hello": "1"}'; read line; echo '{"error": "KeyError: x"}'; read line; echo "$NOTHING""#;
        let (_dir, mut worker) = worker(script, Limits::default());
        assert!(matches!(scan(&mut worker), Err(ScannerError::Failed { .. })));
        assert!(scan(&mut worker).is_ok());
    }

    #[test]
    fn a_python_without_checkov_and_a_missing_python_are_told_apart_from_crashes() {
        let (_dir, mut worker) = worker(r#"echo '{"missing": "No module named checkov"}'"#, Limits::default());
        assert!(matches!(scan(&mut worker), Err(ScannerError::Missing { .. })));
        let missing = CheckovWorker::start(Path::new("/no/such/python"));
        assert!(matches!(missing, Err(ScannerError::Missing { .. })));
    }
}
