//! SARIF 2.1.0 (OASIS standard): findings as results, proven fixes as `fixes` with replacements, for code hosts,
//! editors and other tools.
//!
//! Paths are relative to `%SRCROOT%`, the scanned root. Columns count Unicode code points; bytes are there, too.

mod region;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serde_sarif::sarif::{
    Artifact, ArtifactChange, ArtifactContent, ArtifactLocation, Fix, Invocation, Location, LogicalLocation, Message,
    MultiformatMessageString, Notification, PhysicalLocation, PropertyBag, Region, Replacement, ReportingDescriptor,
    Result as SarifResult, ResultKind, ResultLevel, Run, SCHEMA_URL, Sarif, Tool, ToolComponent,
};

use crate::edit::Changeset;
use crate::finding::{Finding, Severity};
use crate::outcome::{Outcome, RunReport, ToolVersion};

use super::manifest::{self, v1};
use super::{OutputError, json};
use crate::digest::sha256_hex;
use crate::time::utc;

/// The base that artifact paths are relative to, by the name that code hosts know.
const ROOT: &str = "%SRCROOT%";

/// A run with its fixes.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn run(report: &RunReport) -> Result<String, OutputError> {
    let said = manifest::run(report);
    let rules = Rules::of(report.outcomes.iter().map(|outcome| &outcome.finding));
    let results = report.outcomes.iter().zip(&said.findings).map(|(outcome, said_finding)| {
        let mut result = result(&outcome.finding, &rules);
        result.properties = Some(properties(&said, said_finding));
        result.fixes = fixes(report, outcome, &said);
        result
    });
    let results = results.collect();
    let mut run = sarif_run(rules, results, &report.tools);
    run.artifacts = Some(report.base.iter().map(|(path, text)| artifact(path.as_str(), text)).collect());
    run.invocations = Some(vec![invocation(report, &said)]);
    document(run)
}

fn document(run: Run) -> Result<String, OutputError> {
    json::pretty(&Sarif::builder().schema(SCHEMA_URL).version(json!("2.1.0")).runs(vec![run]).build())
}

fn sarif_run(rules: Rules, results: Vec<SarifResult>, tools: &[ToolVersion]) -> Run {
    let tools: BTreeMap<&str, _> = tools.iter().map(|tool| (tool.name.as_str(), tool.version.as_deref())).collect();
    let driver = ToolComponent::builder()
        .name("caulk")
        .version(env!("CARGO_PKG_VERSION"))
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(rules.descriptors)
        .properties(bag(json!({ "tools": tools })))
        .build();
    let root = ArtifactLocation { description: Some(message("the scanned folder")), ..ArtifactLocation::default() };
    Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .column_kind(json!("unicodeCodePoints"))
        .default_encoding("utf-8")
        .original_uri_base_ids(BTreeMap::from([(ROOT.to_owned(), root)]))
        .build()
}

/// Each rule once, in the order in which findings name them.
#[derive(Default)]
struct Rules {
    descriptors: Vec<ReportingDescriptor>,
    index: BTreeMap<String, i64>,
}

impl Rules {
    fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut rules = Self::default();
        for finding in findings {
            if rules.index.contains_key(&finding.rule) {
                continue;
            }
            let index = i64::try_from(rules.descriptors.len()).unwrap_or(i64::MAX);
            rules.index.insert(finding.rule.clone(), index);
            rules.descriptors.push(descriptor(finding));
        }
        rules
    }
}

fn descriptor(finding: &Finding) -> ReportingDescriptor {
    let title = MultiformatMessageString::builder().text(finding.message.clone()).build();
    let mut descriptor = ReportingDescriptor::builder()
        .id(finding.rule.clone())
        .short_description(title)
        .properties(bag(json!({ "scanner": finding.tool.to_string() })))
        .build();
    // `helpUri` must be an absolute URI; some scanners give a path.
    descriptor.help_uri = finding.hints.guideline.clone().filter(|guideline| guideline.contains("://"));
    descriptor.help =
        finding.hints.resolution.clone().map(|text| MultiformatMessageString::builder().text(text).build());
    descriptor
}

fn result(finding: &Finding, rules: &Rules) -> SarifResult {
    let region = (finding.location.start_line > 0).then(|| Region {
        start_line: int(finding.location.start_line),
        end_line: int(finding.location.end_line.max(finding.location.start_line)),
        ..Region::default()
    });
    let physical = PhysicalLocation {
        artifact_location: Some(location(finding.location.file.as_str())),
        region,
        ..PhysicalLocation::default()
    };
    let logical = finding.address.as_ref().map(|address| {
        let name = LogicalLocation { fully_qualified_name: Some(address.to_string()), ..LogicalLocation::default() };
        vec![LogicalLocation { kind: Some("resource".to_owned()), ..name }]
    });
    let mut result = SarifResult::builder()
        .rule_id(finding.rule.clone())
        .kind(ResultKind::Fail)
        .level(match finding.severity {
            Some(Severity::Critical | Severity::High) => ResultLevel::Error,
            Some(Severity::Medium) | None => ResultLevel::Warning,
            Some(Severity::Low | Severity::Info) => ResultLevel::Note,
        })
        .message(message(&finding.message))
        .locations(vec![Location {
            physical_location: Some(physical),
            logical_locations: logical,
            ..Location::default()
        }])
        .partial_fingerprints(BTreeMap::from([("caulk/v1".to_owned(), finding.id.clone())]))
        .build();
    result.rule_index = rules.index.get(&finding.rule).copied();
    result
}

fn properties(run: &v1::Run, finding: &v1::Finding) -> PropertyBag {
    let fix = finding.fix.and_then(|number| run.fixes.get(number.checked_sub(1)?));
    bag(json!({
        "outcome": finding.outcome,
        "reason": finding.reason,
        "severity": finding.severity,
        "fix": finding.fix,
        "patch": fix.map(|fix| &fix.patch),
        "applicability": fix.map(|fix| fix.applicability),
        "reviewReasons": fix.map(|fix| &fix.review_reasons),
        "includes": fix.map(|fix| &fix.includes),
        "verdicts": fix.map(|fix| &fix.verdicts),
    }))
}

fn fixes(report: &RunReport, outcome: &Outcome, said: &v1::Run) -> Option<Vec<Fix>> {
    let crate::outcome::Resolution::Fixed { fix } = outcome.resolution else { return None };
    let index = fix.checked_sub(1)?;
    let changes = artifact_changes(report, report.fixes.get(index)?.changeset());
    let applicability = match said.fixes.get(index)?.applicability {
        v1::Applicability::Safe => "safe",
        v1::Applicability::Review => "to be reviewed",
    };
    let description = format!("caulk's fix {fix} for {}, {applicability}", outcome.finding.rule);
    (!changes.is_empty())
        .then(|| vec![Fix::builder().artifact_changes(changes).description(message(&description)).build()])
}

fn artifact_changes(report: &RunReport, changeset: &Changeset) -> Vec<ArtifactChange> {
    let changes = changeset.files.iter().filter(|(_, change)| !change.edits.is_empty()).map(|(path, change)| {
        let base = report.base.get(path).map_or("", String::as_str);
        let replacements = change.edits.iter().map(|edit| {
            let content = ArtifactContent { text: Some(edit.insert.clone()), ..ArtifactContent::default() };
            Replacement::builder().deleted_region(region::of(base, &edit.range)).inserted_content(content).build()
        });
        ArtifactChange::builder()
            .artifact_location(location(path.as_str()))
            .replacements(replacements.collect::<Vec<_>>())
            .build()
    });
    changes.collect()
}

fn artifact(path: &str, text: &str) -> Artifact {
    Artifact {
        location: Some(location(path)),
        length: int(text.len()),
        encoding: Some("utf-8".to_owned()),
        hashes: Some(BTreeMap::from([("sha-256".to_owned(), sha256_hex(text.as_bytes()))])),
        ..Artifact::default()
    }
}

fn invocation(report: &RunReport, said: &v1::Run) -> Invocation {
    let unreadable = said.unreadable.iter().map(|file| {
        let mut note = notification("error", &format!("{}:{}: {}", file.file, file.line, file.message));
        let physical =
            PhysicalLocation { artifact_location: Some(location(&file.file)), ..PhysicalLocation::default() };
        note.locations = Some(vec![Location { physical_location: Some(physical), ..Location::default() }]);
        note
    });
    let refused = said.refused.iter().map(|refused| {
        notification("warning", &format!("{} in {} is refused: {}", refused.rule, refused.path, refused.reason))
    });
    let ended = report.started.saturating_add(report.seconds.max(0.0) as u64);
    Invocation::builder()
        .execution_successful(true)
        .exit_code(report.exit_status() as i64)
        .start_time_utc(said.started.clone())
        .end_time_utc(utc(ended))
        .tool_execution_notifications(unreadable.chain(refused).collect::<Vec<_>>())
        .properties(bag(json!({
            "model": said.model, "seed": said.seed, "promptsSha256": said.prompts_sha256, "counts": said.counts,
        })))
        .build()
}

fn notification(level: &str, text: &str) -> Notification {
    Notification::builder().level(json!(level)).message(message(text)).build()
}

fn location(path: &str) -> ArtifactLocation {
    ArtifactLocation { uri: Some(uri(path)), uri_base_id: Some(ROOT.to_owned()), ..ArtifactLocation::default() }
}

/// A relative path as URI reference (RFC 3986): what is not unreserved is percent-encoded.
fn uri(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

fn message(text: &str) -> Message {
    Message { text: Some(text.to_owned()), ..Message::default() }
}

fn int(n: usize) -> Option<i64> {
    i64::try_from(n).ok()
}

/// A property bag of the object's members that are not null.
fn bag(object: Value) -> PropertyBag {
    let members = match object {
        Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => BTreeMap::new(),
    };
    PropertyBag { tags: None, additional_properties: members }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn sample_run() -> Value {
        let text = run(&sample::report()).unwrap();
        let read: Sarif = serde_json::from_str(&text).unwrap();
        assert_eq!(read.runs.len(), 1);
        serde_json::from_str::<Value>(&text).unwrap()["runs"][0].take()
    }

    #[test]
    fn results_name_rule_place_and_outcome() {
        let run = sample_run();
        let first = &run["results"][0];
        assert_eq!(first["ruleId"], "CKV_AWS_20");
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "CKV_AWS_20");
        assert_eq!(first["level"], "error");
        let location = &first["locations"][0];
        assert_eq!(location["physicalLocation"]["region"], json!({ "startLine": 1, "endLine": 4 }));
        assert_eq!(location["logicalLocations"][0]["fullyQualifiedName"], "aws_s3_bucket.data");
        assert_eq!(first["properties"]["applicability"], "safe");
        assert_eq!(run["results"][3]["properties"]["outcome"], "unfixed");
        assert_eq!(run["results"][3]["fixes"], Value::Null);
        let other = &run["results"][3]["locations"][0]["physicalLocation"]["artifactLocation"];
        assert_eq!(*other, json!({ "uri": "net%20work/sg.tf", "uriBaseId": "%SRCROOT%" }));
    }

    #[test]
    fn replacements_give_the_fixed_text() {
        let run = sample_run();
        let change = &run["results"][1]["fixes"][0]["artifactChanges"][0];
        assert_eq!(change["artifactLocation"]["uri"], "main.tf");
        let mut text = sample::MAIN.to_owned();
        for replacement in change["replacements"].as_array().unwrap().iter().rev() {
            let region = &replacement["deletedRegion"];
            let at = |key: &str| usize::try_from(region[key].as_u64().unwrap()).unwrap();
            let range = at("byteOffset")..at("byteOffset") + at("byteLength");
            text.replace_range(range, replacement["insertedContent"]["text"].as_str().unwrap());
        }
        assert!(text.contains("acl    = \"private\"\n}"), "{text}");
        assert!(text.ends_with("aws_s3_bucket.data.id\n}\n"), "{text}");
        let region = &change["replacements"][0]["deletedRegion"];
        assert_eq!(
            (&region["startLine"], &region["startColumn"], &region["endColumn"]),
            (&json!(3), &json!(12), &json!(25))
        );
    }

    #[test]
    fn trouble_and_hashes_are_told() {
        let run = sample_run();
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["endTimeUtc"], "2025-01-31T08:00:48Z");
        assert_eq!(invocation["exitCode"], 1);
        let notes = invocation["toolExecutionNotifications"].as_array().unwrap();
        assert_eq!(notes[0]["message"]["text"], "broken.tf:3: expected `}`");
        assert_eq!(notes[1]["message"]["text"], "CKV_AWS_9 in ../other/x.tf is refused: outside the root");
        assert_eq!(run["artifacts"][0]["hashes"]["sha-256"], sha256_hex(sample::MAIN.as_bytes()));
    }
}
