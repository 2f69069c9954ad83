//! Trivy as the second scanner: one process per scan, only what fails.
//!
//! Trivy says nothing of the rules that pass and names no files that it could not parse. It is kept from the network
//! by its flags and by a proxy that is not there (it has no flag against the download of modules), and from settings
//! of the user's (`TRIVY_*`, `trivy.yaml`, `.trivyignore`). Comments that ignore a rule are honoured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{CheckKey, Scan, ScannerError};
use crate::finding::{Finding, Hints, Location, Severity, Tool};
use crate::process::{Cmd, Output, ProcessError, run};
use crate::seal;
use crate::source::{RelPath, ResourceAddr, SourceFile};

/// How long one scan may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Only the Terraform scanner (the others would read the same files for other things), nothing fetched.
const FLAGS: [&str; 12] = [
    "config",
    "--skip-check-update",
    "--skip-version-check",
    "--disable-telemetry",
    "--misconfig-scanners",
    "terraform",
    "--ignorefile",
    "",
    "--quiet",
    "--format",
    "json",
    "--",
];

/// An installed Trivy.
#[derive(Clone, Debug)]
pub struct Trivy {
    binary: PathBuf,
}

impl Trivy {
    /// The Trivy at that path. Nothing is started yet.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into() }
    }

    /// Its version.
    ///
    /// # Errors
    /// When it is not there or does not say one.
    pub fn version(&self) -> Result<String, ScannerError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Versions {
            version: String,
        }
        let output = self.run(self.cmd().args(["version", "--format", "json"]))?;
        let versions: Versions = serde_json::from_slice(&output.stdout).map_err(|e| answer_error(&e))?;
        Ok(versions.version)
    }

    /// Scans a folder.
    ///
    /// # Errors
    /// When Trivy is not there, fails, or hangs.
    pub fn scan(&self, root: &Path) -> Result<Scan, ScannerError> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let output = self.run(self.cmd().args(FLAGS).arg(&root))?;
        let report: TrivyReport = serde_json::from_slice(&output.stdout).map_err(|e| answer_error(&e))?;
        Ok(into_scan(report, &root))
    }

    fn cmd(&self) -> Cmd {
        const NOWHERE: &str = "http://127.0.0.1:9";
        let mut cmd = Cmd::new(&self.binary, LIMIT).cwd("/");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            cmd = cmd.env(name, NOWHERE);
        }
        if let Some(scratch) = seal::scratch() {
            cmd = cmd.env("TRIVY_CACHE_DIR", scratch.join("trivy"));
        }
        cmd.env("GIT_ALLOW_PROTOCOL", "none").env("GIT_TERMINAL_PROMPT", "0")
    }

    fn run(&self, cmd: Cmd) -> Result<Output, ScannerError> {
        let output = run(&cmd).map_err(|error| match error {
            ProcessError::Start { .. } => ScannerError::Missing { tool: Tool::Trivy, why: error.to_string() },
            other => other.into(),
        })?;
        if output.success() {
            return Ok(output);
        }
        let message = match (output.stderr_text(), output.signal) {
            (_, Some(signal)) => format!("ended by signal {signal}"),
            (text, None) => text,
        };
        Err(ScannerError::Failed { tool: Tool::Trivy, message })
    }
}

fn answer_error(error: &serde_json::Error) -> ScannerError {
    ScannerError::Answer { tool: Tool::Trivy, message: error.to_string() }
}

/// Trivy's JSON report (`SchemaVersion` 2), as far as findings need it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TrivyReport {
    /// Missing when nothing was found to scan.
    #[serde(default)]
    pub results: Option<Vec<TrivyResult>>,
}

/// What Trivy says of one file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TrivyResult {
    /// The file, relative to the scanned folder.
    pub target: String,
    /// Missing when nothing fails.
    #[serde(default)]
    pub misconfigurations: Option<Vec<Misconfiguration>>,
}

/// One failing (or, by request, passing) rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Misconfiguration {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    resolution: Option<String>,
    #[serde(default)]
    severity: String,
    #[serde(default, rename = "PrimaryURL")]
    primary_url: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    cause_metadata: Cause,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cause {
    resource: String,
    start_line: usize,
    end_line: usize,
}

impl Misconfiguration {
    /// Whether it is a finding at all.
    pub fn fails(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "FAIL")
    }

    /// The finding. `block_at` names the block that covers a line of the file: Trivy names only the module call for
    /// what lies inside a module.
    pub fn finding(&self, file: RelPath, block_at: impl FnOnce(usize) -> Option<ResourceAddr>) -> Finding {
        let cause = &self.cause_metadata;
        let named: Option<ResourceAddr> = cause.resource.parse().ok();
        let address = match named {
            Some(call) if call.block.keyword == "module" => block_at(cause.start_line).map(|inner| within(call, inner)),
            named => named,
        };
        let location = Location { file, start_line: cause.start_line, end_line: cause.end_line };
        let message = if self.message.is_empty() { &self.title } else { &self.message };
        let mut finding = Finding::new(Tool::Trivy, &self.id, message.clone(), location, address);
        finding.severity = severity(&self.severity);
        finding.hints = Hints {
            resolution: self.resolution.clone().filter(|text| !text.is_empty()),
            guideline: self.primary_url.clone(),
            ..Hints::default()
        };
        finding
    }

    /// The resource as Trivy names it; may be empty.
    pub fn resource(&self) -> &str {
        &self.cause_metadata.resource
    }

    /// The rule.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The address of a block of the module that `call` calls.
fn within(call: ResourceAddr, inner: ResourceAddr) -> ResourceAddr {
    let mut modules = call.modules;
    let key = call.key.map(|key| format!("[{key}]")).unwrap_or_default();
    modules.extend(call.block.labels.first().map(|name| format!("{name}{key}")));
    ResourceAddr { modules, ..inner }
}

/// Trivy's severities; `UNKNOWN` is none.
pub(crate) fn severity(name: &str) -> Option<Severity> {
    match name {
        "CRITICAL" => Some(Severity::Critical),
        "HIGH" => Some(Severity::High),
        "MEDIUM" => Some(Severity::Medium),
        "LOW" => Some(Severity::Low),
        _ => None,
    }
}

fn into_scan(report: TrivyReport, root: &Path) -> Scan {
    let mut scan = Scan::default();
    for result in report.results.unwrap_or_default() {
        let failing: Vec<_> = result.misconfigurations.unwrap_or_default();
        let failing: Vec<_> = failing.into_iter().filter(Misconfiguration::fails).collect();
        let file = RelPath::new(&result.target).filter(|file| file.under(root).exists());
        let Some(file) = file else {
            scan.outside += failing.len();
            continue;
        };
        // Parsed only when a finding needs it.
        let source = std::cell::OnceCell::new();
        for failed in failing {
            let finding = failed.finding(file.clone(), |line| {
                let source =
                    source.get_or_init(|| SourceFile::parse(file.clone(), std::fs::read(file.under(root)).ok()?).ok());
                Some(ResourceAddr::of(source.as_ref()?.block_at_line(line)?.addr()))
            });
            let resource = finding.address.as_ref().map_or_else(|| failed.resource().to_owned(), ToString::to_string);
            scan.failed_keys.insert(CheckKey { rule: failed.id().to_owned(), file: file.clone(), resource });
            scan.failed.push(finding);
        }
    }
    scan.sorted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::BlockAddr;

    fn misconfiguration(resource: &str) -> Misconfiguration {
        serde_json::from_value(serde_json::json!({
            "ID": "AWS-0001", "Title": "title", "Message": "message", "Resolution": "do it", "Severity": "HIGH",
            "PrimaryURL": "docs", "Status": "FAIL",
            "CauseMetadata": { "Resource": resource, "StartLine": 3, "EndLine": 5 },
        }))
        .unwrap()
    }

    #[test]
    fn a_finding_has_address_severity_and_hints() {
        let finding = misconfiguration("aws_s3_bucket.b[\"a.b\"]").finding(RelPath::new("main.tf").unwrap(), |_| None);
        assert_eq!(finding.address.unwrap().key.as_deref(), Some("\"a.b\""));
        assert_eq!(finding.severity, Some(Severity::High));
        assert_eq!(finding.hints.resolution.as_deref(), Some("do it"));
    }

    #[test]
    fn a_finding_inside_a_module_gets_its_block_from_the_line() {
        let block = ResourceAddr::of(BlockAddr::resource("aws_s3_bucket", "b"));
        let finding = misconfiguration("module.a.module.m[\"x\"]")
            .finding(RelPath::new("m/main.tf").unwrap(), |line| (line == 3).then_some(block));
        assert_eq!(finding.address.unwrap().to_string(), "module.a.module.m[\"x\"].aws_s3_bucket.b");
    }

    #[test]
    fn a_finding_without_a_resource_has_no_address_but_a_key() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), "").unwrap();
        let report = TrivyReport {
            results: Some(vec![
                TrivyResult { target: "main.tf".into(), misconfigurations: Some(vec![misconfiguration("")]) },
                TrivyResult { target: "../other.tf".into(), misconfigurations: Some(vec![misconfiguration("a.b")]) },
                TrivyResult { target: ".".into(), misconfigurations: None },
            ]),
        };
        let scan = into_scan(report, dir.path());
        assert_eq!((scan.failed.len(), scan.outside), (1, 1));
        assert_eq!(scan.failed_keys.first().unwrap().resource, "");
        assert_eq!(scan.failed[0].place(), "main.tf:3");
    }

    #[test]
    fn what_trivy_says_when_it_fails_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("trivy");
        std::fs::write(&binary, "#!/bin/sh\necho broken >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = Trivy::new(&binary).scan(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), "trivy failed: broken");
        assert!(matches!(Trivy::new("/no/such/trivy").version(), Err(ScannerError::Missing { .. })));
    }
}
