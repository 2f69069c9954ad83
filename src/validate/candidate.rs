//! Judges one answer: the gates, cheap ones first.
//!
//! In: a case and an answer. Out: verdicts, and, when all gates let it through, a pending fix that stays in the tree. Of an
//! answer that was held to nothing, the least that does is taken ([`Prover::judge_least`]).

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::edit::layers::FixId;
use crate::edit::merge::{self, Merged};
use crate::finding::Tool;
use crate::interrupt;
use crate::outcome::{Gate, Judgement, Kept, Less, Verdict};
use crate::process::ProcessError;
use crate::rules::{self, Alternatives};
use crate::scanner::ScannerError;
use crate::schema::Schemas;
use crate::source::{BlockAddr, SourceTree, references};

use super::least::Least;
use super::module::Module;
use super::prover::{Case, KeysByScanner, Pending, ProofError, Prover, scan};
use super::schema as schema_gate;
use super::{format, guard, module, rescan};

/// What became of a candidate.
#[derive(Debug)]
pub struct Judged {
    /// The gates that ran.
    pub verdicts: Vec<Verdict>,
    /// The fix, when it was accepted.
    pub accepted: Option<FixId>,
    /// What would satisfy the rules that fail on the changed block only since the change: alternatives for each of them.
    pub also: Vec<Alternatives>,
    /// Whether it was refused for values that nobody can know from the module.
    pub is_unknown: bool,
}

/// An answer that passed all gates, merged.
struct Proven {
    merged: Merged,
    after: SourceTree,
    keys: KeysByScanner,
    verdicts: Vec<Verdict>,
    review: Vec<String>,
}

impl Proven {
    fn judgement(&self, gate: Gate) -> Option<&Judgement> {
        self.verdicts.iter().find(|verdict| verdict.gate == gate).map(|verdict| &verdict.judgement)
    }

    /// Whether a scanner said that the rule passes.
    fn was_scanned(&self) -> bool {
        matches!(self.judgement(Gate::Rescan), Some(Judgement::Pass { .. }))
    }

    /// Whether every gate that the other one passed was passed, and a person has no more to look at.
    fn is_as_good_as(&self, other: &Self) -> bool {
        let passes = |judgement: Option<&Judgement>| matches!(judgement, Some(Judgement::Pass { .. }));
        let mut passed = other.verdicts.iter().filter(|verdict| passes(Some(&verdict.judgement)));
        passed.all(|verdict| passes(self.judgement(verdict.gate)))
            && self.review.iter().all(|reason| other.review.contains(reason))
    }
}

impl Prover {
    /// Judges an answer, cheap gates first; the first rejection ends it. An accepted one stays in the tree.
    ///
    /// # Errors
    /// When a gate could not be asked though its tool is there.
    pub fn judge(&mut self, case: &Case, answer: &str) -> Result<Judged, ProofError> {
        match self.prove(case, answer)? {
            Ok(proven) => self.accept(case, proven),
            Err(refused) => Ok(refused),
        }
    }

    /// Judges an answer; of one that passes by a scanner's word, what the finding does not need is left out, as far as the
    /// gates say as much of the rest. Also what was left of the answer then, where that is less, and what was tried for it.
    ///
    /// # Errors
    /// As of [`Prover::judge`].
    pub fn judge_least(&mut self, case: &Case, answer: &str) -> Result<(Judged, Option<Kept>), ProofError> {
        let mut proven = match self.prove(case, answer)? {
            Ok(proven) => proven,
            Err(refused) => return Ok((refused, None)),
        };
        let mut tried = Vec::new();
        let schemas = self.schemas(case)?;
        let mut least = Least::of(answer);
        // Where nobody can say whether the rule passes, nobody can say what it takes.
        while let Some(less) = proven.was_scanned().then(|| least.next()).flatten() {
            interrupt::check().map_err(|_| ProcessError::Interrupted)?;
            let same = self.merge(case, &schemas, &less, &mut Vec::new());
            let is_same = same.is_some_and(|(merged, _)| merged.changeset == proven.merged.changeset);
            let found = match is_same {
                true => None,
                false => match self.prove(case, &less) {
                    Ok(Ok(found)) => {
                        tried.push(Less { answer: less, verdicts: found.verdicts.clone() });
                        Some(found).filter(|found| found.is_as_good_as(&proven))
                    }
                    Ok(Err(refused)) => {
                        tried.push(Less { answer: less, verdicts: refused.verdicts });
                        None
                    }
                    // The scanner failed on what nobody asked for.
                    Err(ProofError::Scanner(ScannerError::Failed { .. })) => None,
                    Err(error) => return Err(error),
                },
            };
            least.tell(is_same || found.is_some());
            proven = found.unwrap_or(proven);
        }
        let kept = least.into_text();
        let kept = (kept != answer).then_some(Kept { answer: kept, tried });
        Ok((self.accept(case, proven)?, kept))
    }

    /// What the gates say of an answer. The unit's copy shows it then, or the tree as it stands where a scan refuses it; where a
    /// gate before that does, what it showed.
    fn prove(&mut self, case: &Case, answer: &str) -> Result<Result<Proven, Judged>, ProofError> {
        let mut verdicts = Vec::new();
        let schemas = self.schemas(case)?;
        let Some((merged, after)) = self.merge(case, &schemas, answer, &mut verdicts) else {
            return Ok(Err(rejected(verdicts)));
        };
        let keys = case.finding.hints.evaluated_keys.iter();
        let inspected: Vec<String> = keys.map(|key| rules::names_of(key).join(".")).collect();
        let change = guard::Change {
            scanned: &self.base,
            before: &self.tree,
            after: &after,
            file: &case.file,
            target: &case.block,
            companions: &merged.companions,
            inspected: (case.finding.tool == Tool::Checkov).then_some(&inspected),
            knowledge: &self.tools.knowledge,
        };
        let guarded = timed(&mut verdicts, Gate::Guardrails, || {
            let guarded = guard::judge(&change);
            Ok::<_, ProofError>((pass_or_reject(guarded.reasons.clone()), guarded))
        })?;
        if is_rejected(&verdicts) {
            return Ok(Err(Judged { is_unknown: guarded.only_unknown, ..rejected(verdicts) }));
        }
        timed(&mut verdicts, Gate::Schema, || Ok::<_, ProofError>((schema_gate::judge(&schemas, &change), ())))?;
        if is_rejected(&verdicts) {
            return Ok(Err(rejected(verdicts)));
        }
        self.unit(&case.unit)?;
        match self.prove_in_scratch(case, &after, &mut verdicts) {
            Ok(Ok(keys)) => Ok(Ok(Proven { merged, after, keys, verdicts, review: guarded.review })),
            other => {
                let explored = other
                    .and_then(|refused| self.what_new_rules_want(case, &refused.err().unwrap_or_default(), &schemas));
                self.show(&case.unit, self.tree.clone())?;
                Ok(Err(Judged { also: explored?, ..rejected(verdicts) }))
            }
        }
    }

    /// What the scratch copy's new findings want; none where one of them cannot be told.
    fn what_new_rules_want(
        &mut self,
        case: &Case,
        rules: &BTreeSet<String>,
        schemas: &Schemas,
    ) -> Result<Vec<Alternatives>, ProofError> {
        let mut also = Vec::new();
        let Some(schema) = schemas.of(&case.block) else { return Ok(also) };
        for rule in rules {
            match self.explore(case, rule, &schema)?.ways {
                alternatives if alternatives.is_empty() => return Ok(Vec::new()),
                alternatives => also.push(alternatives),
            }
        }
        Ok(also)
    }

    fn merge(
        &self,
        case: &Case,
        schemas: &Schemas,
        answer: &str,
        verdicts: &mut Vec<Verdict>,
    ) -> Option<(Merged, SourceTree)> {
        let start = Instant::now();
        let schema = schemas.of(&case.block);
        let merged = merge::merge(&self.tree, &case.file, &case.block, schema.as_ref(), answer);
        let merged = merged.map_err(|error| error.to_string());
        let applied = merged.and_then(|merged| {
            let after = merged.changeset.apply(&self.tree).map_err(|e| e.to_string())?;
            Ok((merged, after))
        });
        let (judgement, applied) = match applied {
            Ok(applied) => (Judgement::Pass { note: None }, Some(applied)),
            Err(reason) => (Judgement::Reject { reasons: vec![reason] }, None),
        };
        verdicts.push(Verdict { gate: Gate::Parse, judgement, took: start.elapsed() });
        applied
    }

    /// The gates that other processes answer, all asked at once: the changed text's format, a scan of the changed unit, and
    /// whether it is valid. Their verdicts stand in that order, and the first that refuses is the last one. When it is refused
    /// by the scan, the rules of Checkov that fail on the changed block only now are told.
    fn prove_in_scratch(
        &mut self,
        case: &Case,
        after: &SourceTree,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<Result<KeysByScanner, BTreeSet<String>>, ProofError> {
        let wanted = self.wanted(case)?;
        self.show(&case.unit, after.clone())?;
        let held = self.held(&case.unit);
        let rescanner = self.rescanner(case.finding.tool);
        let Some(unit) = self.units.get(&case.unit) else { return Ok(Err(BTreeSet::new())) };
        let dir = case.unit.under(unit.scratch.root());
        let module = Module { dir: &dir, tree: after, folders: &unit.folders, schemas: &unit.schemas };
        let (before, terraform, valid) = (&self.tree, self.tools.terraform.as_ref(), unit.validate.said()?);
        let (checkov, trivy) = (self.tools.checkov.as_mut(), self.tools.trivy.as_ref());
        let (formatted, scanned, validated) = thread::scope(|scope| {
            let formatted = scope.spawn(|| {
                clocked(|| {
                    let judged = format::judge(terraform, before, after, &case.file, &case.block);
                    module::or_unavailable(judged, |why| Judgement::Unavailable { why })
                })
            });
            let validated = scope.spawn(|| clocked(|| module::judge(terraform, valid, module)));
            let scanned = clocked(|| scan(unit.scratch.root(), checkov, trivy, case.finding.tool));
            (joined(formatted), scanned, joined(validated))
        });
        let ((formatted, took), (scanned, scan_took), (validated, validate_took)) = (formatted, scanned, validated);
        verdicts.push(Verdict { gate: Gate::Fmt, judgement: formatted?, took });
        if is_rejected(verdicts) {
            return Ok(Err(BTreeSet::new()));
        }
        let keys = scanned?;
        let before = KeysByScanner { checkov: Some(unit.current.clone()), trivy: unit.trivy_current.clone() };
        let reasons = before.compare(&keys, &wanted.union(&held).cloned().collect());
        let judgement = match rescanner {
            _ if !reasons.is_empty() => Judgement::Reject { reasons },
            Some(Tool::Checkov) => Judgement::Pass { note: None },
            Some(tool) => {
                Judgement::Pass { note: Some(format!("{tool} does not say what passes; it no longer fails")) }
            }
            None => Judgement::Unavailable {
                why: format!("{} is not here to say whether {} passes now", case.finding.tool, case.finding.rule),
            },
        };
        verdicts.push(Verdict { gate: Gate::Rescan, judgement, took: scan_took });
        if is_rejected(verdicts) {
            return Ok(Err(before.new_on(&keys, case)));
        }
        verdicts.push(Verdict { gate: Gate::Validate, judgement: validated?, took: validate_took });
        Ok(if is_rejected(verdicts) { Err(BTreeSet::new()) } else { Ok(keys) })
    }

    fn accept(&mut self, case: &Case, proven: Proven) -> Result<Judged, ProofError> {
        let Proven { merged, after, keys, verdicts, review } = proven;
        let wanted = self.wanted(case)?;
        let refers_to = self.refers_to(case, &merged, &after);
        let fix = self.pending.len();
        self.layers.push(&self.base, fix, &merged.changeset).map_err(|e| io::Error::other(e.to_string()))?;
        // It may show what was tried later.
        self.show(&case.unit, after.clone())?;
        let mut closes = wanted.clone();
        if let Some(unit) = self.units.get_mut(&case.unit) {
            if let Some(checkov) = keys.checkov {
                closes.extend(rescan::closed(&unit.current, &checkov));
                unit.current = checkov;
            }
            unit.trivy_current = keys.trivy;
        }
        self.tree = after;
        // Other units that hold the file no longer are what is known of them.
        let dir = case.file.parent();
        self.units.retain(|unit, state| *unit == case.unit || !state.folders.contains(&dir));
        let companions = merged.companions;
        let case = case.clone();
        let evidence = verdicts.clone();
        let pending =
            Pending { case, companions, verdicts: evidence, review, wanted, closes, refers_to, withdrawn: false };
        self.pending.push(pending);
        Ok(Judged { verdicts, accepted: Some(fix), also: Vec::new(), is_unknown: false })
    }

    /// The earlier fixes whose companions this one names.
    fn refers_to(&self, case: &Case, merged: &Merged, after: &SourceTree) -> BTreeSet<FixId> {
        let dir = case.file.parent();
        let blocks = merged.companions.iter().chain([&case.block]).filter_map(|addr| after.find(&dir, addr));
        let named: BTreeSet<BlockAddr> = blocks.flat_map(|(_, block)| references(block)).collect();
        let names = |fix: &Pending| {
            !fix.withdrawn && fix.case.file.parent() == dir && fix.companions.iter().any(|c| named.contains(c))
        };
        self.pending.iter().enumerate().filter(|(_, fix)| names(fix)).map(|(id, _)| id).collect()
    }
}

fn rejected(verdicts: Vec<Verdict>) -> Judged {
    Judged { verdicts, accepted: None, also: Vec::new(), is_unknown: false }
}

fn is_rejected(verdicts: &[Verdict]) -> bool {
    verdicts.last().is_some_and(|v| matches!(v.judgement, Judgement::Reject { .. }))
}

fn pass_or_reject(reasons: Vec<String>) -> Judgement {
    if reasons.is_empty() { Judgement::Pass { note: None } } else { Judgement::Reject { reasons } }
}

/// What something gives, and how long it took.
fn clocked<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// What a thread gives; its panic goes on here.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn timed<T, E>(
    verdicts: &mut Vec<Verdict>,
    gate: Gate,
    ask: impl FnOnce() -> Result<(Judgement, T), E>,
) -> Result<T, E> {
    let start = Instant::now();
    let (judgement, value) = ask()?;
    let took: Duration = start.elapsed();
    verdicts.push(Verdict { gate, judgement, took });
    Ok(value)
}
