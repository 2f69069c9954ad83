//! SARIF 2.1.0 of any scanner.
//!
//! Severity: the rule's or the result's `security-severity` property as the code scanners of forges read it (from 9.0
//! critical, from 7.0 high, from 4.0 medium, above 0 low, 0 info), else the level (error high, warning medium, note
//! low, none info). Results that pass, are suppressed, or are gone since a baseline are no findings. The address is a
//! logical location's fully qualified name, where that is one.

use std::collections::BTreeMap;

use serde_sarif::sarif;

use super::{Entries, Entry};
use crate::finding::{Hints, Severity, Tool};
use crate::source::ResourceAddr;

/// The findings of each run: a log may hold those of several scanners.
pub(super) fn runs(log: sarif::Sarif) -> Vec<Entries> {
    let entries = |run: sarif::Run| Entries { tool: tool(&run.tool.driver.name), entries: run_entries(run) };
    log.runs.into_iter().map(entries).collect()
}

fn tool(driver: &str) -> Tool {
    let driver = driver.to_lowercase();
    // tfsec calls itself defsec in some versions.
    let known = [
        ("checkov", Tool::Checkov),
        ("trivy", Tool::Trivy),
        ("tfsec", Tool::Tfsec),
        ("defsec", Tool::Tfsec),
        ("terrascan", Tool::Terrascan),
        ("kics", Tool::Kics),
    ];
    known.into_iter().find(|(name, _)| driver.contains(name)).map_or(Tool::Other, |(_, tool)| tool)
}

fn run_entries(run: sarif::Run) -> Vec<Entry> {
    let rules = run.tool.driver.rules.unwrap_or_default();
    let bases = run.original_uri_base_ids.unwrap_or_default();
    let results = run.results.unwrap_or_default();
    results.iter().filter(|result| is_finding(result)).map(|result| entry(result, &rules, &bases)).collect()
}

fn is_finding(result: &sarif::Result) -> bool {
    let fails = matches!(
        &result.kind,
        None | Some(sarif::ResultKind::Fail | sarif::ResultKind::Open | sarif::ResultKind::Review)
    );
    let gone = result.baseline_state.as_ref().is_some_and(|state| state == "absent");
    // A suppression that is under review or was rejected does not hold (SARIF 2.1.0, 3.35.3).
    let suppressed = result
        .suppressions
        .iter()
        .flatten()
        .any(|suppression| suppression.status.as_ref().is_none_or(|status| status == "accepted"));
    fails && !gone && !suppressed
}

fn entry(
    result: &sarif::Result,
    rules: &[sarif::ReportingDescriptor],
    bases: &BTreeMap<String, sarif::ArtifactLocation>,
) -> Entry {
    let reference = result.rule.as_ref();
    let index =
        result.rule_index.or(reference.and_then(|rule| rule.index)).and_then(|index| usize::try_from(index).ok());
    let id = result.rule_id.as_ref().or(reference.and_then(|rule| rule.id.as_ref()));
    let by_id = || rules.iter().find(|rule| Some(&rule.id) == id);
    let rule = index.and_then(|index| rules.get(index)).or_else(by_id);
    let id = id.or(rule.map(|rule| &rule.id)).cloned().unwrap_or_default();
    let title = rule.and_then(|rule| rule.short_description.as_ref()).map(|text| text.text.clone());
    let description = rule.and_then(|rule| rule.full_description.as_ref()).map(|text| text.text.trim().to_owned());
    // A message of several lines is a page of its own (Trivy): the title says it shorter.
    let text = result.message.text.clone().filter(|text| title.is_none() || !text.trim().contains('\n'));
    let message = text.or(title).unwrap_or_else(|| id.clone());

    let location = result.locations.iter().flatten().next();
    let physical = location.and_then(|location| location.physical_location.as_ref());
    let region = physical.and_then(|physical| physical.region.as_ref());
    let line = |line: Option<i64>| line.and_then(|line| usize::try_from(line).ok()).unwrap_or(0);
    let start = line(region.and_then(|region| region.start_line));
    let end = line(region.and_then(|region| region.end_line)).max(start);
    let logical = location.and_then(|location| location.logical_locations.as_ref());
    let names = logical.into_iter().flatten().filter_map(|l| l.fully_qualified_name.as_ref().or(l.name.as_ref()));

    Entry {
        rule: id,
        severity: severity(result, rule),
        paths: physical.and_then(|p| p.artifact_location.as_ref()).map(|file| paths(file, bases)).unwrap_or_default(),
        lines: (start, end),
        address: names
            .filter_map(|name| name.parse::<ResourceAddr>().ok())
            .find(|a| a.block.resource_type().is_some_and(|t| t.contains('_'))),
        hints: Hints {
            resolution: description.filter(|text| !text.is_empty() && *text != message),
            guideline: rule.and_then(|rule| rule.help_uri.clone()),
            ..Hints::default()
        },
        message,
    }
}

/// The file's address, resolved against its base and as it stands: the base may be a folder of another machine.
fn paths(file: &sarif::ArtifactLocation, bases: &BTreeMap<String, sarif::ArtifactLocation>) -> Vec<String> {
    let Some(uri) = file.uri.clone() else { return Vec::new() };
    let base = file.uri_base_id.as_ref().and_then(|id| bases.get(id)).and_then(|base| base.uri.as_ref());
    let resolved = base.map(|base| format!("{}/{}", base.trim_end_matches('/'), uri.trim_start_matches('/')));
    resolved.into_iter().chain([uri]).collect()
}

fn severity(result: &sarif::Result, rule: Option<&sarif::ReportingDescriptor>) -> Option<Severity> {
    let score = |properties: Option<&sarif::PropertyBag>| -> Option<f64> {
        let value = properties?.additional_properties.get("security-severity")?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    let of_rule = || score(rule.and_then(|rule| rule.properties.as_ref()));
    if let Some(score) = score(result.properties.as_ref()).or_else(of_rule) {
        return Some(match score {
            9.0.. => Severity::Critical,
            7.0.. => Severity::High,
            4.0.. => Severity::Medium,
            s if s > 0.0 => Severity::Low,
            _ => Severity::Info,
        });
    }
    let default = rule.and_then(|rule| rule.default_configuration.as_ref()?.level.as_ref()?.as_str());
    match (result.level, default) {
        (Some(sarif::ResultLevel::Error), _) | (None, Some("error")) => Some(Severity::High),
        (Some(sarif::ResultLevel::Warning), _) | (None, Some("warning")) => Some(Severity::Medium),
        (Some(sarif::ResultLevel::Note), _) | (None, Some("note")) => Some(Severity::Low),
        (Some(sarif::ResultLevel::None), _) | (None, Some("none")) => Some(Severity::Info),
        (None, _) => None,
    }
}
