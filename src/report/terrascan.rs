//! Terrascan's JSON (`terrascan scan -o json`): `results.violations`, a list that may be null.
//!
//! Severity: `HIGH`, `MEDIUM`, `LOW`. Files are named relative to the scanned folder. A module's name stands apart, so
//! the address is that of the block in its own file.

use serde::Deserialize;

use super::{Entries, Entry};
use crate::finding::{Hints, Tool};
use crate::scanner::trivy::severity;
use crate::source::{BlockAddr, ResourceAddr};

#[derive(Deserialize)]
pub(super) struct TerrascanReport {
    results: Results,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    violations: Option<Vec<Violation>>,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(default)]
    rule_name: String,
    #[serde(default)]
    description: String,
    rule_id: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    resource_name: String,
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    module_name: String,
    file: String,
    #[serde(default)]
    line: usize,
}

pub(super) fn entries(report: TerrascanReport) -> Entries {
    let entries = report.results.violations.unwrap_or_default().into_iter().map(entry).collect();
    Entries { tool: Tool::Terrascan, entries }
}

fn entry(violation: Violation) -> Entry {
    let root = matches!(violation.module_name.as_str(), "" | "root");
    let named = root && !violation.resource_type.is_empty() && !violation.resource_name.is_empty();
    let address =
        named.then(|| ResourceAddr::of(BlockAddr::resource(violation.resource_type, violation.resource_name)));
    Entry {
        message: if violation.description.is_empty() { violation.rule_name } else { violation.description },
        rule: violation.rule_id,
        severity: severity(&violation.severity.to_uppercase()),
        paths: vec![violation.file],
        lines: (violation.line, violation.line),
        address,
        hints: Hints::default(),
    }
}
