//! Checkov's JSON (`-o json`): one object for one framework, a list for several, a bare summary when nothing was
//! found.
//!
//! Severity: its own names (`CRITICAL`, `HIGH`, `MEDIUM`, `LOW`, `INFO`), which only its platform fills in.

use serde::Deserialize;

use super::{Entries, Entry};
use crate::finding::{Hints, Tool};
use crate::scanner::checkov::severity;
use crate::source::{BlockAddr, ResourceAddr};

#[derive(Deserialize)]
pub(super) struct Framework {
    #[serde(default)]
    check_type: String,
    #[serde(default)]
    results: Results,
}

#[derive(Default, Deserialize)]
struct Results {
    #[serde(default)]
    failed_checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    check_id: String,
    #[serde(default)]
    check_name: Option<String>,
    #[serde(default)]
    check_class: Option<String>,
    #[serde(default)]
    check_result: CheckResult,
    file_path: String,
    #[serde(default)]
    file_abs_path: Option<String>,
    #[serde(default)]
    repo_file_path: Option<String>,
    #[serde(default)]
    file_line_range: Vec<usize>,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    severity: Option<String>,
    #[serde(default)]
    guideline: Option<String>,
}

#[derive(Default, Deserialize)]
struct CheckResult {
    #[serde(default)]
    evaluated_keys: Option<Vec<String>>,
}

pub(super) fn entries(frameworks: Vec<Framework>) -> Entries {
    // A plan's findings name the plan file: they are refused as any other file that is not Terraform source.
    let checks = frameworks.into_iter().flat_map(|framework| {
        let terraform = framework.check_type.starts_with("terraform");
        framework.results.failed_checks.into_iter().map(move |check| entry(check, terraform))
    });
    Entries { tool: Tool::Checkov, entries: checks.collect() }
}

fn entry(check: Check, terraform: bool) -> Entry {
    let lines =
        (check.file_line_range.first().copied().unwrap_or(0), check.file_line_range.last().copied().unwrap_or(0));
    let class = check.check_class.unwrap_or_default();
    let address = if terraform { address(&check.resource, &class) } else { None };
    // The absolute path is the surest; the others help on another machine.
    let paths = check.file_abs_path.into_iter().chain([check.file_path]).chain(check.repo_file_path).collect();
    Entry {
        message: check.check_name.unwrap_or_else(|| check.check_id.clone()),
        rule: check.check_id,
        severity: check.severity.as_deref().and_then(severity),
        paths,
        lines,
        address,
        hints: Hints {
            guideline: check.guideline,
            evaluated_keys: check.check_result.evaluated_keys.unwrap_or_default(),
            ..Hints::default()
        },
    }
}

/// Checkov names the block's type only in the rule's class path (`checkov.terraform.checks.data.…`); a data source, a
/// provider and a module call stand there by name alone.
fn address(resource: &str, class: &str) -> Option<ResourceAddr> {
    let parsed: Option<ResourceAddr> = resource.parse().ok();
    match class.strip_prefix("checkov.terraform.checks.").and_then(|rest| rest.split('.').next()) {
        Some("data") => parsed.map(|mut addr| {
            if addr.block.keyword == "resource" {
                addr.block.keyword = "data".to_owned();
            }
            addr
        }),
        // `aws.default` is the provider block without an alias; blocks with one are told apart by their lines alone.
        Some("provider") => resource.strip_suffix(".default").map(|name| named("provider", name)),
        Some("module") if parsed.is_none() => Some(named("module", resource)),
        _ => parsed,
    }
}

fn named(keyword: &str, name: &str) -> ResourceAddr {
    ResourceAddr::of(BlockAddr { keyword: keyword.to_owned(), labels: vec![name.to_owned()] })
}
