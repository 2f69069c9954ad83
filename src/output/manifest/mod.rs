//! The manifest of a bundle: what others read of a run. Its structs are versions of their own, apart from the inner
//! types, so that these can change while the files stay.
//!
//! In: a [`RunReport`]. Out: [`v1::Run`], [`v1::Changes`].

pub mod v1;

use std::path::Path;

use crate::edit::{Changeset, FileChange, TextEdit};
use crate::outcome::{Applicability, Attempt, Judgement, Outcome, Resolution, RunReport, Verdict};
use crate::source::RelPath;
use crate::validate::VerifiedFix;

use super::bundle::patch_name;
use crate::digest::sha256_hex;
use crate::time::utc;

/// What the run found out, for the outside.
pub fn run(report: &RunReport) -> v1::Run {
    let counts = report.counts();
    v1::Run {
        caulk: env!("CARGO_PKG_VERSION").to_owned(),
        root: root_name(&report.root),
        started: utc(report.started),
        seconds: millis(report.seconds),
        seed: report.seed,
        seal: Some(report.seal.clone()),
        prompts_sha256: report.prompts_sha256.clone(),
        tools: report.tools.iter().map(|t| v1::Tool { name: t.name.clone(), version: t.version.clone() }).collect(),
        model: report.model.as_ref().map(|model| v1::Model {
            name: model.name.clone(),
            sha256: model.sha256.clone(),
            architecture: model.architecture.clone(),
            device: model.device.clone(),
        }),
        counts: v1::Counts {
            findings: counts.findings,
            fixed: counts.fixed,
            safe: counts.safe,
            unfixed: counts.unfixed,
            abstained: counts.abstained,
            skipped: counts.skipped,
        },
        findings: report.outcomes.iter().map(finding).collect(),
        fixes: report.fixes.iter().enumerate().map(|(index, f)| fix(report, index + 1, f)).collect(),
        unreadable: report
            .unreadable
            .iter()
            .map(|error| v1::Unreadable {
                file: error.file.to_string(),
                line: error.line,
                column: error.column,
                message: error.message.clone(),
            })
            .collect(),
        refused: report
            .refused
            .iter()
            .map(|r| v1::Refused { rule: r.rule.clone(), path: r.path.clone(), reason: r.reason.clone() })
            .collect(),
    }
}

/// The name of the scanned folder: an absolute path says more about the machine than a bundle should carry around.
fn root_name(root: &Path) -> String {
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    whole.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn finding(outcome: &Outcome) -> v1::Finding {
    let finding = &outcome.finding;
    let (result, fix, reason) = match &outcome.resolution {
        Resolution::Fixed { fix } => (v1::Outcome::Fixed, Some(*fix), None),
        Resolution::Unfixed { reason } => (v1::Outcome::Unfixed, None, Some(reason.clone())),
        Resolution::Abstained { reason } => (v1::Outcome::Abstained, None, Some(reason.clone())),
        Resolution::Skipped { reason } => (v1::Outcome::Skipped, None, Some(reason.clone())),
    };
    v1::Finding {
        id: finding.id.clone(),
        tool: finding.tool.to_string(),
        rule: finding.rule.clone(),
        message: finding.message.clone(),
        severity: finding.severity.map(|severity| format!("{severity:?}").to_lowercase()),
        file: finding.location.file.to_string(),
        start_line: finding.location.start_line,
        end_line: finding.location.end_line,
        address: finding.address.as_ref().map(ToString::to_string),
        target: outcome.target.as_ref().map(ToString::to_string),
        guideline: finding.hints.guideline.clone(),
        outcome: result,
        fix,
        reason,
        attempts: outcome.attempts.iter().map(attempt).collect(),
        seconds: millis(outcome.seconds),
    }
}

fn attempt(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt {
        number: attempt.number,
        seed: attempt.seed,
        prompt_sha256: sha256_hex(attempt.prompt.as_bytes()),
        grammars_sha256: attempt.grammars.iter().map(sha256_hex).collect(),
        answer_tokens: attempt.stats.answer_tokens,
        verdicts: attempt.verdicts.iter().map(verdict).collect(),
    }
}

fn verdict(verdict: &Verdict) -> v1::Verdict {
    let (name, notes) = match &verdict.judgement {
        Judgement::Pass { note } => ("pass", note.iter().cloned().collect()),
        Judgement::Reject { reasons } => ("reject", reasons.clone()),
        Judgement::Unavailable { why } => ("unavailable", vec![why.clone()]),
    };
    v1::Verdict {
        gate: verdict.gate.name().to_owned(),
        verdict: name.to_owned(),
        notes,
        seconds: millis(verdict.took.as_secs_f64()),
    }
}

fn fix(report: &RunReport, number: usize, fix: &VerifiedFix) -> v1::Fix {
    v1::Fix {
        number,
        findings: fix.findings().to_vec(),
        patch: patch_name(report, number, fix),
        applicability: match fix.applicability() {
            Applicability::Safe => v1::Applicability::Safe,
            Applicability::Review => v1::Applicability::Review,
        },
        review_reasons: fix.review_reasons().to_vec(),
        includes: fix.includes().to_vec(),
        verdicts: fix.evidence().iter().map(verdict).collect(),
    }
}

fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The run's fixes as byte edits.
pub fn changes(report: &RunReport) -> v1::Changes {
    v1::Changes {
        version: v1::VERSION,
        fixes: report.fixes.iter().map(|fix| file_edits(fix.changeset())).collect(),
        all: file_edits(&report.all),
    }
}

fn file_edits(changeset: &Changeset) -> Vec<v1::FileEdits> {
    let edit = |e: &TextEdit| v1::Edit { start: e.range.start, end: e.range.end, insert: e.insert.clone() };
    let files = changeset.files.iter().map(|(file, change)| v1::FileEdits {
        file: file.as_str().to_owned(),
        base_sha256: change.base_sha256.clone(),
        edits: change.edits.iter().map(edit).collect(),
    });
    files.collect()
}

/// The changeset that was written as these edits. `None` when a path leaves the root: bundles come from elsewhere, too.
pub fn changeset(files: &[v1::FileEdits]) -> Option<Changeset> {
    let files = files.iter().map(|file| {
        // Only what `RelPath` writes itself is taken: no detours.
        let path = RelPath::new(&file.file).filter(|path| path.as_str() == file.file && !file.file.is_empty())?;
        let edits = file.edits.iter().map(|e| TextEdit { range: e.start..e.end, insert: e.insert.clone() }).collect();
        Some((path, FileChange { base_sha256: file.base_sha256.clone(), edits }))
    });
    Some(Changeset { files: files.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_run_is_read_back_as_it_was_written() {
        let run = run(&sample::report());
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<v1::Run>(&text).unwrap(), run);
    }

    #[test]
    fn the_outside_names_are_kept() {
        let json = serde_json::to_value(run(&sample::report())).unwrap();
        assert_eq!(json["root"], "sample");
        assert_eq!(json["started"], "2025-01-31T08:00:00Z");
        assert_eq!(json["counts"]["fixed"], 3);
        assert_eq!(json["findings"][0]["outcome"], "fixed");
        assert_eq!(json["findings"][0]["fix"], 1);
        assert_eq!(json["findings"][3]["reason"], "the office network is not known: name it in a variable");
        assert_eq!(json["fixes"][1]["applicability"], "review");
        assert_eq!(json["fixes"][1]["includes"], serde_json::json!([1]));
        assert_eq!(json["fixes"][1]["verdicts"][1]["verdict"], "unavailable");
    }

    #[test]
    fn changes_are_read_back_and_paths_out_of_the_root_refused() {
        let report = sample::report();
        let changes = changes(&report);
        assert_eq!(changeset(&changes.all).unwrap(), report.all);
        for path in ["../main.tf", "/etc/passwd", "a/../../b", "a/../b", ""] {
            let file = v1::FileEdits { file: path.to_owned(), base_sha256: String::new(), edits: Vec::new() };
            assert_eq!(changeset(&[file]), None, "{path}");
        }
    }
}
