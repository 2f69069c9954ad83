//! What `caulk scan` prints for programs: findings as JSON and as SARIF 2.1.0. The table is in `table`.

use serde::Serialize;
use serde_sarif::sarif;

use crate::finding::{Finding, Severity, Tool};

/// Version of [`FindingsV1`]; raised when a field changes its meaning or goes.
const JSON_VERSION: u32 = 1;

/// `caulk scan --format json`. Apart from the inner types, so that these can change.
#[derive(Debug, Serialize)]
pub struct FindingsV1<'a> {
    version: u32,
    tool: String,
    tool_version: &'a str,
    findings: Vec<FindingV1<'a>>,
    unreadable: &'a [String],
}

#[derive(Debug, Serialize)]
struct FindingV1<'a> {
    id: &'a str,
    tool: String,
    rule: &'a str,
    message: &'a str,
    severity: Option<&'static str>,
    file: &'a str,
    start_line: usize,
    end_line: usize,
    address: Option<String>,
    guideline: Option<&'a str>,
}

/// Findings as a JSON document. `unreadable` are the files that the scanner could not parse.
pub fn json<'a>(
    tool: Tool,
    tool_version: &'a str,
    findings: &'a [Finding],
    unreadable: &'a [String],
) -> FindingsV1<'a> {
    let findings = findings.iter().map(|finding| FindingV1 {
        id: &finding.id,
        tool: finding.tool.to_string(),
        rule: &finding.rule,
        message: &finding.message,
        severity: finding.severity.map(severity_name),
        file: finding.location.file.as_str(),
        start_line: finding.location.start_line,
        end_line: finding.location.end_line,
        address: finding.address.as_ref().map(ToString::to_string),
        guideline: finding.hints.guideline.as_deref(),
    });
    FindingsV1 { version: JSON_VERSION, tool: tool.to_string(), tool_version, findings: findings.collect(), unreadable }
}

/// Findings as a SARIF log with one run, and a notification for each file that the scanner could not read. Files are named
/// relative to `%SRCROOT%`, percent-encoded.
pub fn sarif(tool: Tool, tool_version: &str, findings: &[Finding], unreadable: &[String]) -> sarif::Sarif {
    let mut rules: Vec<sarif::ReportingDescriptor> = Vec::new();
    let mut results = Vec::new();
    for finding in findings {
        let known = rules.iter().position(|rule| rule.id == finding.rule);
        let index = known.unwrap_or_else(|| {
            rules.push(sarif_rule(finding));
            rules.len() - 1
        });
        results.push(sarif_result(finding, index));
    }
    let driver =
        sarif::ToolComponent::builder().name(tool.to_string()).version(tool_version.to_owned()).rules(rules).build();
    let notifications: Vec<_> = unreadable.iter().map(|file| unread(tool, file)).collect();
    let invocation = sarif::Invocation::builder()
        .execution_successful(notifications.is_empty())
        .tool_execution_notifications(notifications)
        .build();
    let run = sarif::Run::builder().tool(driver).results(results).invocations(vec![invocation]).build();
    let mut log = sarif::Sarif::builder().version(serde_json::json!("2.1.0")).runs(vec![run]).build();
    log.schema = Some(sarif::SCHEMA_URL.to_owned());
    log
}

fn unread(tool: Tool, file: &str) -> sarif::Notification {
    let location = sarif::ArtifactLocation::builder().uri(encode(file)).uri_base_id("%SRCROOT%").build();
    let physical = sarif::PhysicalLocation::builder().artifact_location(location).build();
    let mut notification = sarif::Notification::builder()
        .message(&format!("{tool} cannot parse {file}; nothing in it was scanned"))
        .locations(vec![sarif::Location::builder().physical_location(physical).build()])
        .build();
    notification.level = Some("error".into());
    notification
}

/// A finding's rule as SARIF describes rules.
pub fn sarif_rule(finding: &Finding) -> sarif::ReportingDescriptor {
    let mut rule =
        sarif::ReportingDescriptor::builder().id(finding.rule.clone()).short_description(&finding.message).build();
    rule.help_uri.clone_from(&finding.hints.guideline);
    rule
}

/// A finding as a SARIF result; `rule_index` counts into the run's rules.
pub fn sarif_result(finding: &Finding, rule_index: usize) -> sarif::Result {
    let line = |line: usize| i64::try_from(line.max(1)).unwrap_or(i64::MAX);
    let file =
        sarif::ArtifactLocation::builder().uri(encode(finding.location.file.as_str())).uri_base_id("%SRCROOT%").build();
    let region = sarif::Region::builder()
        .start_line(line(finding.location.start_line))
        .end_line(line(finding.location.end_line.max(finding.location.start_line)))
        .build();
    let physical = sarif::PhysicalLocation::builder().artifact_location(file).region(region).build();
    let mut location = sarif::Location::builder().physical_location(physical).build();
    location.logical_locations = finding.address.as_ref().map(|address| {
        vec![sarif::LogicalLocation::builder().fully_qualified_name(address.to_string()).kind("resource").build()]
    });
    let mut result = sarif::Result::builder()
        .message(&finding.message)
        .rule_id(finding.rule.clone())
        .rule_index(i64::try_from(rule_index).unwrap_or(-1))
        .locations(vec![location])
        .partial_fingerprints([("caulk/v1".to_owned(), finding.id.clone())])
        .build();
    result.level = Some(level(finding.severity));
    result
}

/// A finding without a severity is a warning, which is SARIF's default.
fn level(severity: Option<Severity>) -> sarif::ResultLevel {
    match severity {
        Some(Severity::Critical | Severity::High) => sarif::ResultLevel::Error,
        Some(Severity::Medium) | None => sarif::ResultLevel::Warning,
        Some(Severity::Low | Severity::Info) => sarif::ResultLevel::Note,
    }
}

/// Percent-encodes what may not stand in a path of an address (RFC 3986, 3.3).
fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The severity as caulk writes it.
pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Location;
    use crate::source::RelPath;

    fn findings() -> Vec<Finding> {
        let at =
            |file: &str, line| Location { file: RelPath::new(file).unwrap(), start_line: line, end_line: line + 2 };
        let mut first =
            Finding::new(Tool::Checkov, "R_1", "First", at("a b/main.tf", 3), "aws_s3_bucket.x".parse().ok());
        first.severity = Some(Severity::High);
        let second = Finding::new(Tool::Checkov, "R_1", "First", at("main.tf", 0), None);
        vec![first, second]
    }

    #[test]
    fn json_has_a_version_and_plain_fields() {
        let findings = findings();
        let value = serde_json::to_value(json(Tool::Checkov, "3.0", &findings, &["bad.tf".to_owned()])).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["findings"][0]["address"], "aws_s3_bucket.x");
        assert_eq!(value["findings"][0]["severity"], "high");
        assert_eq!(value["findings"][1]["severity"], serde_json::Value::Null);
        assert_eq!(value["unreadable"][0], "bad.tf");
    }

    #[test]
    fn sarif_is_read_back_as_the_same_findings() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a b")).unwrap();
        for file in ["a b/main.tf", "main.tf"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let report = dir.path().join("report.sarif");
        let log = sarif(Tool::Checkov, "3.0", &findings(), &["b c.tf".to_owned()]);
        assert_eq!(log.runs[0].tool.driver.rules.as_ref().unwrap().len(), 1);
        let invocation = &serde_json::to_value(&log).unwrap()["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let file = &invocation["toolExecutionNotifications"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
        assert_eq!((&file["uri"], &file["uriBaseId"]), (&"b%20c.tf".into(), &"%SRCROOT%".into()));
        let whole = serde_json::to_value(sarif(Tool::Checkov, "3.0", &[], &[])).unwrap();
        assert_eq!(whole["runs"][0]["invocations"][0]["executionSuccessful"], true);
        std::fs::write(&report, serde_json::to_vec(&log).unwrap()).unwrap();
        let read = crate::report::read(&report, dir.path()).unwrap();
        assert_eq!(read.findings[0].id, findings()[0].id);
        assert_eq!(read.findings[0].severity, Some(Severity::High));
        assert_eq!(read.findings[1].location.file.as_str(), "main.tf");
    }
}
