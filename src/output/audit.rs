//! The audit log: one JSON object a line, each with the hash of the line before it, so that a changed, missing or added
//! line shows. The manifest holds the hash of the whole file.
//!
//! `run` is the first line, then for each finding its `attempt`s with prompt, grammars and answer, and its `outcome`. Grammars
//! are named by their SHA-256; the text stands in a line of its own, `grammar`, before the first attempt under it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::outcome::RunReport;

use super::OutputError;
use super::manifest;
use crate::digest::sha256_hex;

/// What the first line has in place of a hash.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line's envelope.
#[derive(Serialize)]
struct Line<T> {
    seq: usize,
    prev_sha256: String,
    kind: &'static str,
    #[serde(flatten)]
    content: T,
}

struct Log {
    text: String,
    seq: usize,
    prev: String,
}

impl Log {
    fn push(&mut self, kind: &'static str, content: impl Serialize) -> Result<(), OutputError> {
        let line = serde_json::to_string(&Line { seq: self.seq, prev_sha256: self.prev.clone(), kind, content })?;
        self.prev = sha256_hex(line.as_bytes());
        self.seq += 1;
        self.text.push_str(&line);
        self.text.push('\n');
        Ok(())
    }
}

/// The log of a run.
///
/// # Errors
/// When a line cannot be written as JSON.
pub fn log(report: &RunReport) -> Result<String, OutputError> {
    let mut log = Log { text: String::new(), seq: 0, prev: START.to_owned() };
    let run = manifest::run(report);
    let base: serde_json::Map<String, Value> =
        report.base.iter().map(|(path, text)| (path.to_string(), sha256_hex(text.as_bytes()).into())).collect();
    log.push(
        "run",
        json!({
            "caulk": run.caulk, "root": run.root, "started": run.started, "seed": run.seed, "tools": run.tools,
            "model": run.model, "seal": run.seal, "prompts_sha256": run.prompts_sha256, "base_sha256": base,
            "counts": run.counts,
        }),
    )?;
    let mut told = BTreeSet::new();
    for (outcome, said) in report.outcomes.iter().zip(run.findings) {
        for attempt in &outcome.attempts {
            let mut hashes = Vec::new();
            for lark in &attempt.grammars {
                let sha256 = sha256_hex(lark);
                if told.insert(sha256.clone()) {
                    log.push("grammar", json!({ "sha256": sha256, "lark": lark }))?;
                }
                hashes.push(sha256);
            }
            let mut attempt = serde_json::to_value(attempt)?;
            attempt["grammars"] = hashes.into();
            log.push("attempt", json!({ "finding": said.id, "attempt": attempt }))?;
        }
        log.push("outcome", json!({ "finding": said }))?;
    }
    Ok(log.text)
}

/// Where a log's chain breaks, one sentence each. A line without a hash, as in a log of other making, breaks none.
pub fn chain_problems(text: &str) -> Vec<String> {
    let mut prev = START.to_owned();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let value = serde_json::from_str::<Value>(line).unwrap_or_default();
        let chained = value.get("prev_sha256").or(value.get("seq")).is_some();
        if chained && (value["prev_sha256"] != prev.as_str() || value["seq"] != index) {
            problems.push(format!(
                "line {}: the chain breaks: the line before it was changed, added or taken out",
                index + 1
            ));
        }
        prev = sha256_hex(line.as_bytes());
    }
    problems
}

/// What is wrong with a log, one sentence each; empty when its chain holds.
pub fn problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut prev = START.to_owned();
    let (mut outcomes, mut expected) = (0, None);
    if !text.ends_with('\n') {
        problems.push("audit.jsonl: the last line is cut off".to_owned());
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        match serde_json::from_str::<Value>(line) {
            Err(error) => problems.push(format!("audit.jsonl:{number}: no JSON ({error})")),
            Ok(value) => {
                if value["prev_sha256"] != prev.as_str() || value["seq"] != index {
                    problems.push(format!(
                        "audit.jsonl:{number}: the chain breaks: the line before it was changed, added or taken out"
                    ));
                }
                outcomes += usize::from(value["kind"] == "outcome");
                if index == 0 {
                    expected = value["counts"]["findings"].as_u64();
                }
            }
        }
        prev = sha256_hex(line.as_bytes());
    }
    if expected != u64::try_from(outcomes).ok() {
        problems
            .push("audit.jsonl: its first line names another number of findings than there are outcomes".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn every_attempt_and_outcome_has_a_line() {
        let log = log(&sample::report()).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        let pair = ["attempt", "outcome"];
        assert_eq!(kinds, [&["run", "grammar", "attempt"][..], &pair, &pair, &pair, &pair, &["outcome"]].concat());
        assert_eq!(lines[2]["attempt"]["answer"], "{}");
        assert_eq!(lines[2]["attempt"]["grammars"][0], lines[1]["sha256"]);
        assert_eq!(lines[1]["sha256"], sha256_hex(lines[1]["lark"].as_str().unwrap()));
        assert_eq!(lines[2]["attempt"]["verdicts"][0]["reasons"][0], "CKV_AWS_20 still fails");
        assert_eq!(lines[0]["base_sha256"]["main.tf"], sha256_hex(sample::MAIN.as_bytes()));
    }

    #[test]
    fn tampering_shows() {
        let log = log(&sample::report()).unwrap();
        assert_eq!(problems(&log), Vec::<String>::new());
        let lines: Vec<&str> = log.lines().collect();
        let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert!(!problems(&log.replace("still fails", "passes")).is_empty(), "changed");
        assert!(!problems(&join(&[&lines[..2], &lines[3..]].concat())).is_empty(), "taken out");
        assert!(!problems(&join(&lines[..lines.len() - 1])).is_empty(), "end taken off");
        assert!(!problems(&join(&[&lines[..2], &lines[1..]].concat())).is_empty(), "doubled");
        assert!(!problems(&log[..log.len() - 9]).is_empty(), "cut off");
        assert!(!problems("").is_empty(), "empty");
    }
}
