//! Trivy's JSON (`trivy config -f json`, `SchemaVersion` 2).
//!
//! Severity: its own names; `UNKNOWN` is none. What lies inside a module is named by the module call alone: such
//! findings have no address here, and their lines lead to the block.

use super::{Entries, Entry};
use crate::finding::Tool;
use crate::scanner::trivy::{Misconfiguration, TrivyReport};
use crate::source::RelPath;

pub(super) fn entries(report: TrivyReport) -> Entries {
    let mut entries = Vec::new();
    for result in report.results.unwrap_or_default() {
        for failed in result.misconfigurations.unwrap_or_default().iter().filter(|m| Misconfiguration::fails(m)) {
            let finding = failed.finding(RelPath::default(), |_| None);
            entries.push(Entry {
                rule: finding.rule,
                message: finding.message,
                severity: finding.severity,
                paths: vec![result.target.clone()],
                lines: (finding.location.start_line, finding.location.end_line),
                address: finding.address,
                hints: finding.hints,
            });
        }
    }
    Entries { tool: Tool::Trivy, entries }
}
