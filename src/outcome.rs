//! What became of each finding: verdicts, attempts, outcomes, and the report of a whole run.
//!
//! In: what the engine and the validator say. Out: the types that `output/` turns into files and tables.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::edit::Changeset;
use crate::exit::ExitStatus;
use crate::finding::Finding;
use crate::seal::Seal;
use crate::source::context::Omitted;
use crate::source::{BlockAddr, RelPath, SourceError};
use crate::validate::VerifiedFix;

/// The gates, cheap ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The answer merges and the result parses.
    Parse,
    /// Nothing is changed that must not be.
    Guardrails,
    /// Names, forms and literals are as the providers' schemas say.
    Schema,
    /// `terraform fmt` leaves the changed lines alone.
    Fmt,
    /// `terraform validate`.
    Validate,
    /// The rule passes on the same address and nothing new fails, by the scanner that found it.
    Rescan,
    /// Nothing new fails, by the second scanner.
    SecondScanner,
    /// `terraform plan`, where it was asked for.
    Plan,
}

impl Gate {
    /// The gate's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Guardrails => "guardrails",
            Self::Schema => "schema",
            Self::Fmt => "fmt",
            Self::Validate => "validate",
            Self::Rescan => "rescan",
            Self::SecondScanner => "second-scanner",
            Self::Plan => "plan",
        }
    }
}

/// What a gate said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Judgement {
    /// It ran and is content. The note says by what it judged, and what it did not cover.
    Pass {
        /// By what it judged, or what was not covered, if there is something to say.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// It ran and refuses.
    Reject {
        /// Why: short sentences that go into the next prompt and the report.
        reasons: Vec<String>,
    },
    /// It could not run.
    Unavailable {
        /// Why not.
        why: String,
    },
}

/// One gate's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The gate.
    pub gate: Gate,
    /// What it said.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Wall time, seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

impl Verdict {
    /// The reasons of a rejection.
    pub fn reasons(&self) -> &[String] {
        match &self.judgement {
            Judgement::Reject { reasons } => reasons,
            _ => &[],
        }
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// How freely a fix may be applied. Computed from the verdicts, never by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applicability {
    /// All gates ran and passed.
    Safe,
    /// A gate could not run, a value needs a person's choice, or terraform may replace what is deployed: by the plan gate's
    /// word, or by an argument that is known to force it.
    Review,
}

/// Figures of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GenStats {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, taken from the cache without running the model.
    pub cached_tokens: usize,
    /// Tokens of the answer.
    pub answer_tokens: usize,
    /// Of these, forced by the grammar.
    pub forced_tokens: usize,
    /// Tokens that were guessed and run ahead.
    pub drafted_tokens: usize,
    /// Of these, right.
    pub accepted_tokens: usize,
    /// Prefill wall time, seconds. Of answers that are written at once the times overlap, here and below.
    pub prefill_s: f64,
    /// Decode wall time, seconds.
    pub decode_s: f64,
}

impl GenStats {
    /// Tokens of the answer that were not forced.
    pub fn chosen_tokens(&self) -> usize {
        self.answer_tokens.saturating_sub(self.forced_tokens)
    }

    /// The figures of both, where the second generation began with all tokens of the first one's answer.
    pub fn gone_on_with(self, more: Self) -> Self {
        Self {
            forced_tokens: self.forced_tokens + more.forced_tokens.saturating_sub(self.answer_tokens),
            cached_tokens: self.cached_tokens,
            drafted_tokens: self.drafted_tokens + more.drafted_tokens,
            accepted_tokens: self.accepted_tokens + more.accepted_tokens,
            prefill_s: self.prefill_s + more.prefill_s,
            decode_s: self.decode_s + more.decode_s,
            ..more
        }
    }
}

/// What an answer was held to, beside what its block's type can hold: a layer of knowledge of the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Led {
    /// Nothing.
    #[default]
    Free,
    /// One of the ways that running the rule has shown.
    Found,
    /// A way that the rule tells.
    Way,
    /// The way of the answer before it, with what other rules want of the block then.
    More,
    /// The way of an answer whose fix was taken back, with what else it liked.
    Again,
}

/// What was kept of an answer.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The least of it that did.
    pub answer: String,
    /// What was tried for that, in order.
    pub tried: Vec<Less>,
}

/// An answer with something left out, and what the gates said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Less {
    /// What was left.
    pub answer: String,
    /// The gates that ran.
    pub verdicts: Vec<Verdict>,
}

/// One try at a finding, for the audit log.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// From 1.
    pub number: usize,
    /// The seed; `None` for greedy.
    pub seed: Option<u64>,
    /// What the answer was held to.
    pub led: Led,
    /// The whole prompt as the model saw it, template applied.
    pub prompt: String,
    /// The grammars that the answer was held to, one for each block of it.
    pub grammars: Vec<String>,
    /// The answer.
    pub answer: String,
    /// What of it the fix holds, where the finding did not need all. The verdicts are on that then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Whether the answer ended by itself (not cut at the token limit).
    pub complete: bool,
    /// Blocks around the target that did not fit into the prompt.
    pub omitted: Vec<Omitted>,
    /// Figures.
    pub stats: GenStats,
    /// The gates that ran, in order; the last one may refuse.
    pub verdicts: Vec<Verdict>,
}

impl Attempt {
    /// What was judged: the answer, or what was kept of it.
    pub fn text(&self) -> &str {
        self.kept.as_ref().map_or(&self.answer, |kept| &kept.answer)
    }

    /// Whether it was judged, and nothing spoke against it.
    pub fn was_accepted(&self) -> bool {
        !self.verdicts.is_empty() && self.verdicts.iter().all(|verdict| verdict.reasons().is_empty())
    }
}

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Resolution {
    /// A proven fix closes it.
    Fixed {
        /// The fix's number in the bundle, from 1.
        fix: usize,
    },
    /// No proven fix was found.
    Unfixed {
        /// Why.
        reason: String,
    },
    /// Only a person can decide what to do.
    Abstained {
        /// What is needed.
        reason: String,
    },
    /// It was not tried.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Resolution {
    /// Why it is not fixed.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Fixed { .. } => None,
            Self::Unfixed { reason } | Self::Abstained { reason } | Self::Skipped { reason } => Some(reason),
        }
    }
}

/// A finding and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The finding.
    pub finding: Finding,
    /// The block that was looked at, if the finding led to one.
    pub target: Option<BlockAddr>,
    /// What became of it.
    pub resolution: Resolution,
    /// The tries.
    pub attempts: Vec<Attempt>,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// A tool that took part, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolVersion {
    /// `checkov`, `trivy`, `terraform`, `caulk`.
    pub name: String,
    /// Its version, or `None` when it was not there.
    pub version: Option<String>,
}

/// The model that wrote the answers, for the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Name in caulk's manifests, or the file's name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// GGUF architecture.
    pub architecture: String,
    /// `cpu`, `cuda:0`, `metal`; `replay` where its answers came from an audit log.
    pub device: String,
}

/// Everything that one run found out.
#[derive(Debug)]
pub struct RunReport {
    /// Folder that the paths are relative to.
    pub root: std::path::PathBuf,
    /// The tools.
    pub tools: Vec<ToolVersion>,
    /// The model; `None` when no finding needed it.
    pub model: Option<ModelIdentity>,
    /// How far the system held the run to unix sockets, and to writes where they have to be.
    pub seal: Seal,
    /// SHA-256 over the prompt files and those of knowledge.
    pub prompts_sha256: String,
    /// Seed of the sampling.
    pub seed: u64,
    /// One per finding in scope, in the order of file and line.
    pub outcomes: Vec<Outcome>,
    /// The proven fixes; `Fixed { fix }` counts into them from 1.
    pub fixes: Vec<VerifiedFix>,
    /// All fixes together, against the tree as scanned.
    pub all: Changeset,
    /// Files that do not parse.
    pub unreadable: Vec<SourceError>,
    /// Findings of the reports that were refused (outside the root, no such file).
    pub refused: Vec<Refused>,
    /// Start, seconds since the Unix epoch.
    pub started: u64,
    /// Wall time, seconds.
    pub seconds: f64,
    /// The texts that the fixes were made for, by path: what patches are computed from.
    pub base: std::collections::BTreeMap<RelPath, String>,
}

/// A finding that does not belong to this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The rule.
    pub rule: String,
    /// The path as the report names it.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Findings in scope.
    pub findings: usize,
    /// Closed by a proven fix.
    pub fixed: usize,
    /// Of these, by fixes that are `safe`.
    pub safe: usize,
    /// Tried without success.
    pub unfixed: usize,
    /// For a person to decide.
    pub abstained: usize,
    /// Not tried.
    pub skipped: usize,
}

impl RunReport {
    /// The run's counts.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { findings: self.outcomes.len(), ..Counts::default() };
        for outcome in &self.outcomes {
            match &outcome.resolution {
                Resolution::Fixed { fix } => {
                    counts.fixed += 1;
                    let safe = self.fixes.get(fix - 1).is_some_and(|f| f.applicability() == Applicability::Safe);
                    counts.safe += usize::from(safe);
                }
                Resolution::Unfixed { .. } => counts.unfixed += 1,
                Resolution::Abstained { .. } => counts.abstained += 1,
                Resolution::Skipped { .. } => counts.skipped += 1,
            }
        }
        counts
    }

    /// [`ExitStatus::Clean`] when a rescan proved a fix for every finding in scope, and nothing was left out: no file that
    /// could not be read, no finding that was refused.
    pub fn exit_status(&self) -> ExitStatus {
        let counts = self.counts();
        let proven = self.fixes.iter().all(VerifiedFix::is_rescanned);
        let whole = self.unreadable.is_empty() && self.refused.is_empty();
        if counts.fixed == counts.findings && proven && whole { ExitStatus::Clean } else { ExitStatus::FindingsRemain }
    }
}
