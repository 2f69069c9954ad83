//! KICS' JSON (`kics scan --report-formats json`): `queries`, each with the `files` that it fails in.
//!
//! Severity: its own names; `TRACE` counts as info. The search key begins with the resource as `TYPE[NAME]`; the
//! field `resource_name` may be the cloud's name of it.

use serde::Deserialize;

use super::{Entries, Entry};
use crate::finding::{Hints, Severity, Tool};
use crate::source::{BlockAddr, ResourceAddr};

#[derive(Deserialize)]
pub(super) struct KicsReport {
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Query {
    query_name: String,
    query_id: String,
    #[serde(default)]
    query_url: Option<String>,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    description: Option<String>,
    files: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    file_name: String,
    #[serde(default)]
    line: usize,
    #[serde(default)]
    search_key: String,
    #[serde(default)]
    expected_value: Option<String>,
    #[serde(default)]
    actual_value: Option<String>,
}

pub(super) fn entries(report: KicsReport) -> Entries {
    let mut entries = Vec::new();
    for query in report.queries {
        for place in &query.files {
            entries.push(entry(&query, place));
        }
    }
    Entries { tool: Tool::Kics, entries }
}

fn entry(query: &Query, place: &Place) -> Entry {
    Entry {
        rule: query.query_id.clone(),
        message: query.query_name.clone(),
        severity: severity(&query.severity),
        paths: vec![place.file_name.clone()],
        lines: (place.line, place.line),
        address: address(&place.search_key),
        hints: Hints {
            resolution: query.description.clone(),
            guideline: query.query_url.clone().filter(|url| !url.is_empty()),
            expected: place.expected_value.clone(),
            actual: place.actual_value.clone(),
            ..Hints::default()
        },
    }
}

/// `aws_s3_bucket[name].acl`, `aws_s3_bucket[{{name}}].acl`, `resource.aws_s3_bucket[name]`, `data.TYPE[name]`.
fn address(key: &str) -> Option<ResourceAddr> {
    let (keyword, rest) = match key.split_once('.') {
        Some(("data", rest)) => ("data", rest),
        Some(("resource", rest)) => ("resource", rest),
        _ => ("resource", key),
    };
    let (resource_type, rest) = rest.split_once('[')?;
    let name = rest.split_once(']')?.0.trim_matches(['{', '}']);
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let typed = resource_type.contains('_') && word(resource_type) && word(name);
    let block = BlockAddr { keyword: keyword.to_owned(), ..BlockAddr::resource(resource_type, name) };
    typed.then(|| ResourceAddr::of(block))
}

fn severity(name: &str) -> Option<Severity> {
    match name {
        "CRITICAL" => Some(Severity::Critical),
        "HIGH" => Some(Severity::High),
        "MEDIUM" => Some(Severity::Medium),
        "LOW" => Some(Severity::Low),
        "INFO" | "TRACE" => Some(Severity::Info),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_keys_lead_to_addresses() {
        for (key, expected) in [
            ("aws_s3_bucket[data].acl", Some("aws_s3_bucket.data")),
            ("aws_s3_bucket[{{data}}].acl=public", Some("aws_s3_bucket.data")),
            ("resource.aws_s3_bucket[data]", Some("aws_s3_bucket.data")),
            ("data.aws_iam_policy_document[doc].statement", Some("data.aws_iam_policy_document.doc")),
            ("module[x].y", None),
            ("aws_s3_bucket", None),
            ("", None),
        ] {
            assert_eq!(address(key).map(|a| a.to_string()).as_deref(), expected, "{key}");
        }
    }
}
