//! tfsec's JSON (`tfsec -f json`): `results`, a list that may be null.
//!
//! Severity: its own names. `status` 0 is a failure, 1 a pass, 2 an ignored rule.

use serde::Deserialize;

use super::{Entries, Entry};
use crate::finding::{Hints, Tool};
use crate::scanner::trivy::severity;

#[derive(Deserialize)]
pub(super) struct TfsecReport {
    results: Option<Vec<TfsecResult>>,
}

#[derive(Deserialize)]
struct TfsecResult {
    rule_id: String,
    #[serde(default)]
    rule_description: String,
    #[serde(default)]
    resolution: String,
    #[serde(default)]
    links: Option<Vec<String>>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    status: u8,
    #[serde(default)]
    resource: String,
    location: Range,
}

#[derive(Deserialize)]
struct Range {
    filename: String,
    #[serde(default)]
    start_line: usize,
    #[serde(default)]
    end_line: usize,
}

pub(super) fn entries(report: TfsecReport) -> Entries {
    let failing = report.results.unwrap_or_default().into_iter().filter(|result| result.status == 0);
    Entries { tool: Tool::Tfsec, entries: failing.map(entry).collect() }
}

fn entry(result: TfsecResult) -> Entry {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Entry {
        message: text(result.description).or(text(result.rule_description)).unwrap_or_else(|| result.rule_id.clone()),
        rule: result.rule_id,
        severity: severity(&result.severity),
        paths: vec![result.location.filename],
        lines: (result.location.start_line, result.location.end_line),
        // A bare module call stands for something inside it: the lines know better.
        address: result.resource.parse().ok().filter(|a: &crate::source::ResourceAddr| a.block.keyword != "module"),
        hints: Hints {
            resolution: text(result.resolution),
            guideline: result.links.and_then(|links| links.into_iter().next()),
            ..Hints::default()
        },
    }
}
