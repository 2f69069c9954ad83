//! Asks about all accepted fixes together, takes back what does not stand, and seals the rest.
//!
//! In: the pending fixes of a [`Prover`]. Out: [`Withdrawn`] fixes, whose findings may be tried again, and at the end
//! the [`VerifiedFix`]es.

use std::collections::{BTreeMap, BTreeSet};

use crate::edit::Changeset;
use crate::edit::layers::FixId;
use crate::finding::Tool;
use crate::interrupt;
use crate::outcome::{Applicability, Gate, Judgement, Verdict};
use crate::scanner::CheckKey;
use crate::scanner::checkov::ScanRequest;
use crate::source::{BlockAddr, RelPath, ResourceAddr, SourceTree, references};

use super::prover::{Case, KeysByScanner, Pending, ProofError, Prover};
use super::rescan::{self, Keys};
use super::scratch::{Scratch, Unit};
use super::{VerifiedFix, format, module};

/// An accepted fix that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The finding that it was made for.
    pub finding: String,
    /// Why.
    pub reasons: Vec<String>,
    /// What the second scanner found only with it: the rules' titles and ways out.
    pub uncovered: Vec<String>,
}

/// The sealed fixes of a run.
#[derive(Debug)]
pub struct Sealed {
    /// The fixes.
    pub fixes: Vec<VerifiedFix>,
    /// Which fix, from 1, closes a finding, by the finding's id.
    pub closed_by: BTreeMap<String, usize>,
    /// All fixes together, against the tree as scanned.
    pub all: Changeset,
}

impl Prover {
    /// Scans all changed modules together, with every scanner that is there, and each fix alone, with what it builds on,
    /// as its patch will be applied; has terraform plan, where that was asked for. What does not stand is withdrawn with what
    /// builds on it, until all stand.
    ///
    /// # Errors
    /// When a scanner that is there fails, or the user interrupts.
    pub fn settle(&mut self) -> Result<Vec<Withdrawn>, ProofError> {
        let mut withdrawn = Vec::new();
        loop {
            let mut fallen = self.blame()?;
            if fallen.is_empty() {
                fallen = self.alone()?;
            }
            if fallen.is_empty() && self.tools.plan {
                fallen = self.plan()?;
            }
            if fallen.is_empty() {
                return Ok(withdrawn);
            }
            withdrawn.extend(self.withdraw(fallen)?);
        }
    }

    pub(super) fn live(&self) -> BTreeSet<FixId> {
        (0..self.pending.len()).filter(|&fix| !self.pending[fix].withdrawn).collect()
    }

    /// The fixes to blame for what is new in a scan of everything, with the reasons.
    fn blame(&mut self) -> Result<BTreeMap<FixId, Vec<String>>, ProofError> {
        let live = self.live();
        let mut blamed = BTreeMap::<_, Vec<_>>::new();
        self.saw_all.clear();
        if live.is_empty() {
            return Ok(blamed);
        }
        let folders = self.reach(&live);
        let scratch = Scratch::copy(&self.base, &Unit { dir: RelPath::default(), folders: folders.clone() })?;
        let before = match self.scanned.get(&folders) {
            Some(known) => known.clone(),
            None => {
                let before = self.scan_whole(&scratch)?;
                // One that failed may do better next time.
                if self.tools.trivy.is_none() || before.contains_key(&Tool::Trivy) {
                    self.scanned.insert(folders, before.clone());
                }
                before
            }
        };
        scratch.show(&self.tree, &self.base)?;
        let after = self.scan_whole(&scratch)?;
        for (tool, before) in &before {
            let Some(after) = after.get(tool) else { continue };
            self.saw_all.insert(*tool);
            for key in after.failed.difference(&before.failed) {
                let reason = format!("a new finding of {tool}: {}", after.fails(key));
                for fix in self.makers(key, &live) {
                    blamed.entry(fix).or_default().push(reason.clone());
                    if *tool == Tool::Trivy {
                        self.uncovered.entry(fix).or_default().push(after.fails(key));
                    }
                }
            }
            for fix in &live {
                for key in self.pending[*fix].wanted.intersection(&after.failed) {
                    let reason = format!("{} still fails on {} where it is called from", key.rule, key.resource);
                    blamed.entry(*fix).or_default().push(reason);
                }
            }
        }
        Ok(blamed)
    }

    /// The folders of all root modules that hold or call a file that a fix changes.
    fn reach(&self, live: &BTreeSet<FixId>) -> BTreeSet<RelPath> {
        let changed: BTreeSet<RelPath> = live.iter().map(|fix| self.pending[*fix].case.file.parent()).collect();
        let units = self.base.folders().into_iter().map(|dir| Unit::of(&self.base, &dir).folders);
        units.filter(|folders| !folders.is_disjoint(&changed)).flatten().collect()
    }

    fn scan_whole(&mut self, scratch: &Scratch) -> Result<BTreeMap<Tool, Keys>, ProofError> {
        let mut keys = BTreeMap::new();
        if let Some(worker) = &mut self.tools.checkov {
            keys.insert(Tool::Checkov, Keys::from(&worker.scan(&ScanRequest::all(scratch.root()))?));
        }
        if let Some(trivy) = &self.tools.trivy {
            match trivy.scan(scratch.root()) {
                Ok(scan) => {
                    self.second_failed = None;
                    keys.insert(Tool::Trivy, Keys::from(&scan));
                }
                Err(error) if interrupt::requested() => return Err(error.into()),
                // The gate could not run; that takes nothing from what the others found.
                Err(error) => self.second_failed = Some(error.to_string()),
            }
        }
        Ok(keys)
    }

    /// The fixes that wrote the block that a key is about; all of the folder where none did.
    fn makers(&self, key: &CheckKey, live: &BTreeSet<FixId>) -> BTreeSet<FixId> {
        let block = key.resource.parse::<ResourceAddr>().ok().map(|addr| addr.block);
        let here = |fix: &&FixId| self.pending[**fix].case.file.parent() == key.file.parent();
        let wrote = |fix: &Pending| {
            block.as_ref().is_some_and(|block| fix.case.block == *block || fix.companions.contains(block))
        };
        let named: BTreeSet<_> = live.iter().filter(here).filter(|fix| wrote(&self.pending[**fix])).copied().collect();
        if !named.is_empty() {
            return named;
        }
        let near: BTreeSet<_> = live.iter().filter(here).copied().collect();
        if near.is_empty() { live.clone() } else { near }
    }

    /// Takes fixes back, with those that build on them, and with what no longer holds in their units.
    fn withdraw(&mut self, mut blamed: BTreeMap<FixId, Vec<String>>) -> Result<Vec<Withdrawn>, ProofError> {
        let mut withdrawn = Vec::new();
        while !blamed.is_empty() {
            for fix in self.live() {
                if let Some(base) = self.needs(fix).into_iter().find(|base| blamed.contains_key(base)) {
                    let rule = &self.pending[base].case.finding.rule;
                    let reason = format!("it built on the fix of {rule}, which was taken back");
                    blamed.entry(fix).or_insert_with(|| vec![reason]);
                }
            }
            let mut units = BTreeSet::new();
            let mut dirs = BTreeSet::new();
            self.layers.remove(&blamed.keys().copied().collect());
            for (fix, reasons) in std::mem::take(&mut blamed) {
                let pending = &mut self.pending[fix];
                pending.withdrawn = true;
                units.insert(pending.case.unit.clone());
                dirs.insert(pending.case.file.parent());
                let uncovered = self.uncovered.remove(&fix).unwrap_or_default();
                withdrawn.push(Withdrawn { finding: pending.case.finding.id.clone(), reasons, uncovered });
            }
            self.tree = self.tree_with(&self.live())?;
            // What is known of other units that hold these files is known no longer.
            self.units.retain(|unit, state| units.contains(unit) || state.folders.is_disjoint(&dirs));
            for dir in units {
                self.unit(&dir)?;
                blamed.extend(self.settle_unit(&dir)?);
            }
        }
        Ok(withdrawn)
    }

    /// Scans a unit as it stands now. The latest fix of the unit is to blame when not all hold.
    fn settle_unit(&mut self, dir: &RelPath) -> Result<BTreeMap<FixId, Vec<String>>, ProofError> {
        self.show(dir, self.tree.clone())?;
        let fixes: BTreeSet<FixId> =
            self.live().into_iter().filter(|&fix| self.pending[fix].case.unit == *dir).collect();
        let (reasons, keys) = self.holds(dir, &fixes)?;
        let Some(unit) = self.units.get_mut(dir) else { return Ok(BTreeMap::new()) };
        let after = keys.checkov.unwrap_or_default();
        let closed = rescan::closed(&unit.baseline, &after);
        unit.current = after;
        unit.trivy_current = keys.trivy;
        for fix in &fixes {
            let pending = &mut self.pending[*fix];
            let kept = |key: &CheckKey| closed.contains(key) || pending.wanted.contains(key);
            pending.closes = pending.closes.iter().filter(|key| kept(key)).cloned().collect();
        }
        match fixes.last() {
            Some(last) if !reasons.is_empty() => Ok(BTreeMap::from([(*last, reasons)])),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Why what a unit's copy shows does not close the findings that these fixes were made for, or brings something new,
    /// against the tree as scanned; empty when all is well. And what the scanners said.
    fn holds(&mut self, dir: &RelPath, fixes: &BTreeSet<FixId>) -> Result<(Vec<String>, KeysByScanner), ProofError> {
        let of_trivy = |fix: &&FixId| self.rescanner(self.pending[**fix].case.finding.tool) == Some(Tool::Trivy);
        let tool = if fixes.iter().any(|fix| of_trivy(&fix)) { Tool::Trivy } else { Tool::Checkov };
        let keys = self.scan_shown(dir, tool)?;
        let wanted = fixes.iter().flat_map(|fix| self.pending[*fix].wanted.iter().cloned()).collect();
        let Some(unit) = self.units.get(dir) else { return Ok((Vec::new(), keys)) };
        let before = KeysByScanner { checkov: Some(unit.baseline.clone()), trivy: unit.trivy_baseline.clone() };
        Ok((before.compare(&keys, &wanted), keys))
    }

    /// What a fix builds on: whose text it was written into, or whose companions it names, and so on from there.
    fn needs(&self, fix: FixId) -> BTreeSet<FixId> {
        let mut needs = BTreeSet::new();
        let mut waiting = vec![fix];
        while let Some(next) = waiting.pop() {
            let direct = self.layers.requires(next);
            for base in direct.iter().chain(&self.pending[next].refers_to) {
                if *base != fix && needs.insert(*base) {
                    waiting.push(*base);
                }
            }
        }
        needs
    }

    pub(super) fn tree_with(&self, fixes: &BTreeSet<FixId>) -> Result<SourceTree, ProofError> {
        let changeset = self.layers.changeset_with(fixes);
        changeset.apply(&self.base).map_err(|e| std::io::Error::other(e.to_string()).into())
    }

    /// Why a person has to look at a fix, whatever else its patch holds.
    fn own_review_reasons(&self, fix: FixId) -> Vec<String> {
        let replaces = self.plans.get(&fix).map(|plan| plan.replaces.as_slice()).unwrap_or_default();
        review_reasons(&self.evidence(fix), &[self.pending[fix].review.as_slice(), replaces].concat())
    }

    /// Seals what stands after [`Prover::settle`].
    ///
    /// # Errors
    /// When a unit cannot be scanned.
    pub fn seal(&mut self, cases: &[Case]) -> Result<Sealed, ProofError> {
        let parts = self.parts.clone();
        let numbers: BTreeMap<FixId, usize> = parts.keys().enumerate().map(|(n, fix)| (*fix, n + 1)).collect();
        let mut closed_by = BTreeMap::new();
        let mut findings = BTreeMap::<FixId, Vec<String>>::new();
        for case in cases {
            let own = |fix: &FixId| self.pending[*fix].case.finding.id == case.finding.id;
            let fix = match parts.keys().copied().find(|fix| own(fix)) {
                Some(fix) => Some(fix),
                None => self.closed_by(case)?,
            };
            if let Some(fix) = fix {
                closed_by.insert(case.finding.id.clone(), numbers[&fix]);
                let ids = findings.entry(fix).or_default();
                ids.insert(
                    if self.pending[fix].case.finding.id == case.finding.id { 0 } else { ids.len() },
                    case.finding.id.clone(),
                );
            }
        }
        let own: BTreeMap<FixId, Vec<String>> = parts.keys().map(|fix| (*fix, self.own_review_reasons(*fix))).collect();
        let fixes = parts.iter().map(|(fix, part)| {
            let others: Vec<FixId> = part.iter().copied().filter(|base| base != fix).collect();
            let includes = others.iter().map(|base| numbers[base]).collect();
            let evidence = self.evidence(*fix);
            // A patch is no safer than what it holds.
            let held = others.iter().filter(|base| !own[base].is_empty());
            let held = held.map(|base| format!("its patch holds fix {}, which is for review", numbers[base]));
            let review_reasons: Vec<String> = own[fix].iter().cloned().chain(held).collect();
            VerifiedFix {
                findings: findings.remove(fix).unwrap_or_default(),
                changeset: self.layers.changeset_with(part),
                includes,
                applicability: if review_reasons.is_empty() { Applicability::Safe } else { Applicability::Review },
                review_reasons,
                evidence,
            }
        });
        Ok(Sealed { fixes: fixes.collect(), closed_by, all: self.layers.changeset_with(&self.live()) })
    }

    /// Finds what each live fix's patch must hold to stand alone; gives the fixes that do not even stand with all before.
    fn alone(&mut self) -> Result<BTreeMap<FixId, Vec<String>>, ProofError> {
        let mut fallen = BTreeMap::new();
        self.parts.clear();
        let live = self.live();
        for fix in live.iter().copied() {
            crate::interrupt::check().map_err(|_| crate::process::ProcessError::Interrupted)?;
            let dir = self.pending[fix].case.unit.clone();
            let mut parts = self.parts_of(fix, &live).into_iter();
            let mut part = parts.next().unwrap_or_default();
            let mut reasons = self.fails_alone(&dir, fix, &part)?;
            for larger in parts {
                if reasons.is_empty() {
                    break;
                }
                reasons = self.fails_alone(&dir, fix, &larger)?;
                part = larger;
            }
            if reasons.is_empty() {
                self.parts.insert(fix, part);
            } else {
                fallen.insert(fix, reasons);
            }
        }
        let units: BTreeSet<_> = self.units.keys().cloned().collect();
        for dir in units {
            self.show(&dir, self.tree.clone())?;
        }
        Ok(fallen)
    }

    /// What a fix's patch may hold, from the least that applies to all that came before in its unit: what it builds on, with
    /// the earlier fixes of the same block, with those of blocks that it names or that name it, with all of them.
    fn parts_of(&self, fix: FixId, live: &BTreeSet<FixId>) -> Vec<BTreeSet<FixId>> {
        let case = &self.pending[fix].case;
        let earlier: Vec<FixId> =
            live.range(..fix).copied().filter(|f| self.pending[*f].case.unit == case.unit).collect();
        let is_same = |f: &FixId| self.pending[*f].case.file == case.file && self.pending[*f].case.block == case.block;
        let same: Vec<FixId> = earlier.iter().copied().filter(is_same).collect();
        let named = |block: &BlockAddr| {
            let found = self.tree.find(&case.file.parent(), block);
            found.map(|(_, block)| references(block)).unwrap_or_default()
        };
        let own = named(&case.block);
        let is_near = |f: &FixId| {
            let other = &self.pending[*f].case;
            let is_linked = || own.contains(&other.block) || named(&other.block).contains(&case.block);
            other.file.parent() == case.file.parent() && (other.block == case.block || is_linked())
        };
        let near: Vec<FixId> = earlier.iter().copied().filter(is_near).collect();
        let with = |fixes: &[FixId]| -> BTreeSet<FixId> {
            fixes.iter().chain([&fix]).flat_map(|&f| self.needs(f).into_iter().chain([f])).collect()
        };
        let mut parts = vec![with(&[]), with(&same), with(&near), with(&earlier)];
        parts.dedup();
        parts
    }

    /// Why a set of fixes over the tree as scanned does not close all that one of them is said to close; empty when it
    /// does.
    fn fails_alone(&mut self, dir: &RelPath, fix: FixId, part: &BTreeSet<FixId>) -> Result<Vec<String>, ProofError> {
        if self.stood.contains(&(fix, part.clone())) {
            return Ok(Vec::new());
        }
        self.unit(dir)?;
        let with = self.tree_with(part)?;
        self.show(dir, with.clone())?;
        let (mut reasons, keys) = self.holds(dir, &BTreeSet::from([fix]))?;
        // As the patch leaves the lines, not as they stood among those of other fixes.
        let case = &self.pending[fix].case;
        let formatted = format::judge(self.tools.terraform.as_ref(), &self.base, &with, &case.file, &case.block);
        if let Judgement::Reject { reasons: more } =
            module::or_unavailable(formatted, |why| Judgement::Unavailable { why })?
        {
            reasons.extend(more);
        }
        if let Some(checkov) = &keys.checkov {
            let open = self.pending[fix].closes.intersection(&checkov.failed);
            reasons.extend(open.map(|key| format!("alone, it leaves {} open on {}", key.rule, key.resource)));
        }
        if reasons.is_empty() {
            self.stood.insert((fix, part.clone()));
        }
        Ok(reasons)
    }

    fn evidence(&self, fix: FixId) -> Vec<Verdict> {
        let own = self.rescanner(self.pending[fix].case.finding.tool);
        let judgement = match self.saw_all.iter().find(|tool| Some(**tool) != own) {
            Some(tool) => Judgement::Pass { note: Some(format!("{tool}, asked of all fixes together")) },
            None => Judgement::Unavailable {
                why: self.second_failed.clone().unwrap_or_else(|| "no second scanner is installed".into()),
            },
        };
        let second = Verdict { gate: Gate::SecondScanner, judgement, took: std::time::Duration::ZERO };
        let plan = self.plans.get(&fix).map(|plan| plan.verdict.clone());
        self.pending[fix].verdicts.iter().cloned().chain([second]).chain(plan).collect()
    }
}

/// Why a person must look: gates that could not run, and what the guardrails and the plan showed.
fn review_reasons(evidence: &[Verdict], shown: &[String]) -> Vec<String> {
    let unavailable = evidence.iter().filter_map(|verdict| match &verdict.judgement {
        Judgement::Unavailable { why } => Some(format!("{} did not run: {why}", verdict.gate.name())),
        _ => None,
    });
    unavailable.chain(shown.iter().cloned()).collect()
}
