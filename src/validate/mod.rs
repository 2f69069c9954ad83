//! Proves fixes in a scratch copy, cheap gates first. The only place that constructs a [`VerifiedFix`].

mod asked;
mod candidate;
mod format;
pub mod guard;
mod least;
mod module;
mod plan;
pub mod prover;
mod rescan;
mod schema;
mod scratch;
mod served;
pub mod settle;
mod terraform;

pub use candidate::Judged;
pub use prover::{Case, ProofError, Prover, Tools};
pub use scratch::{Scratch, Unit};
pub use settle::{Sealed, Withdrawn};
pub use terraform::Terraform;

use serde::Serialize;

use crate::edit::Changeset;
use crate::outcome::{Applicability, Gate, Judgement, Verdict};

/// A fix that passed the gates.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedFix {
    findings: Vec<String>,
    changeset: Changeset,
    includes: Vec<usize>,
    applicability: Applicability,
    review_reasons: Vec<String>,
    evidence: Vec<Verdict>,
}

impl VerifiedFix {
    /// Ids of the findings that it closes; the first one is the one that it was made for.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// The edits against the tree as scanned. They hold those of [`VerifiedFix::includes`] too.
    pub fn changeset(&self) -> &Changeset {
        &self.changeset
    }

    /// Numbers (from 1) of the earlier fixes that this one builds on and whose edits it holds.
    pub fn includes(&self) -> &[usize] {
        &self.includes
    }

    /// How freely it may be applied.
    pub fn applicability(&self) -> Applicability {
        self.applicability
    }

    /// Why it is `review`, empty when it is `safe`.
    pub fn review_reasons(&self) -> &[String] {
        &self.review_reasons
    }

    /// Whether the scanner that found the finding was there to say that it passes now.
    pub fn is_rescanned(&self) -> bool {
        let passed = |v: &Verdict| v.gate == Gate::Rescan && matches!(v.judgement, Judgement::Pass { .. });
        self.evidence.iter().any(passed)
    }

    /// The verdicts that prove it.
    pub fn evidence(&self) -> &[Verdict] {
        &self.evidence
    }

    /// A fix that nothing was proven of.
    #[cfg(test)]
    pub(crate) fn for_tests(
        findings: &[&str],
        changeset: Changeset,
        includes: &[usize],
        review_reasons: &[&str],
        evidence: Vec<Verdict>,
    ) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let applicability = if review_reasons.is_empty() { Applicability::Safe } else { Applicability::Review };
        Self {
            findings: owned(findings),
            changeset,
            includes: includes.to_vec(),
            applicability,
            review_reasons: owned(review_reasons),
            evidence,
        }
    }
}
