//! Proves candidates one after the other, each on top of those that were accepted before it.
//!
//! Here is the state of that: the tree with all accepted fixes, and for each unit its scratch copy and what the scanners
//! said of it. `candidate` judges one answer, and one that all gates let through stays in the layered texts;
//! [`super::settle`] asks the second scanner about all of them and seals what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::edit::layers::{FixId, LayeredTree};
use crate::finding::{Finding, Tool};
use crate::knowledge::Knowledge;
use crate::outcome::Verdict;
use crate::process::ProcessError;
use crate::rules::Explored;
use crate::scanner::checkov::{CheckovWorker, ScanRequest};
use crate::scanner::explore::Exploration;
use crate::scanner::trivy::Trivy;
use crate::scanner::{CheckKey, ScannerError};
use crate::schema::{self, Schemas};
use crate::source::{BlockAddr, RelPath, ResourceAddr, SourceTree};

use super::asked::Asked;
use super::module;
use super::plan::{PlanVerdict, Planned};
use super::rescan::{self, Keys, Passes};
use super::scratch::{Scratch, Unit};
use super::terraform::Terraform;

/// A proof that could not be made: nothing is known of the candidate then.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A scanner failed.
    #[error(transparent)]
    Scanner(#[from] ScannerError),
    /// Terraform could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The scratch copy cannot be written.
    #[error("cannot write the scratch copy: {0}")]
    Scratch(#[from] io::Error),
}

/// The tools that prove.
#[derive(Debug, Default)]
pub struct Tools {
    /// Checkov.
    pub checkov: Option<CheckovWorker>,
    /// Trivy.
    pub trivy: Option<Trivy>,
    /// Terraform or tofu.
    pub terraform: Option<Terraform>,
    /// Providers' schemas.
    pub schemas: Schemas,
    /// Whether terraform is asked for plans, in which providers may call their clouds.
    pub plan: bool,
    /// What people know.
    pub knowledge: Arc<Knowledge>,
}

/// A finding and the block that is to change for it, in a unit.
#[derive(Clone, Debug)]
pub struct Case {
    /// The finding.
    pub finding: Finding,
    /// The block that it is about, with its file. It is the one that is to change, unless the rule's conditions name another
    /// one that is connected to it.
    pub subject: (RelPath, BlockAddr),
    /// The file that holds the block that is to change.
    pub file: RelPath,
    /// The block that is to change.
    pub block: BlockAddr,
    /// The root module from which it is scanned.
    pub unit: RelPath,
}

/// An accepted candidate that the second scanner has not seen.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) case: Case,
    pub(super) companions: Vec<BlockAddr>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) review: Vec<String>,
    pub(super) wanted: BTreeSet<CheckKey>,
    pub(super) closes: BTreeSet<CheckKey>,
    pub(super) refers_to: BTreeSet<FixId>,
    pub(super) withdrawn: bool,
}

/// A unit's scratch copy and what is known of it.
#[derive(Debug)]
pub(super) struct UnitState {
    /// Ahead of the copy, which must not be gone before that thread is.
    pub(super) validate: Asked,
    pub(super) folders: BTreeSet<RelPath>,
    pub(super) scratch: Scratch,
    /// What the copy shows at present.
    pub(super) shown: SourceTree,
    pub(super) baseline: Keys,
    pub(super) current: Keys,
    /// Trivy's word on the unit as scanned, asked for when a finding of its kind is judged.
    pub(super) trivy_baseline: Option<Keys>,
    /// Trivy's word on the unit with all accepted fixes; `None` when it was not asked since the last one.
    pub(super) trivy_current: Option<Keys>,
    /// The tools' schemas, and before them what the module's own providers say.
    pub(super) schemas: Schemas,
    /// What a plan of the unit as scanned says, or why there is none; `None` when it was not asked for.
    pub(super) planned: Option<Result<Planned, String>>,
}

/// The state of a run's proofs.
#[derive(Debug)]
pub struct Prover {
    pub(super) base: SourceTree,
    pub(super) tree: SourceTree,
    pub(super) layers: LayeredTree,
    pub(super) tools: Tools,
    pub(super) units: BTreeMap<RelPath, UnitState>,
    pub(super) pending: Vec<Pending>,
    /// What each live fix's patch holds, once settled.
    pub(super) parts: BTreeMap<FixId, BTreeSet<FixId>>,
    /// The parts that were seen to stand alone for a fix: what they build does not change any more.
    pub(super) stood: BTreeSet<(FixId, BTreeSet<FixId>)>,
    /// What scans of the tree as scanned say, by the folders that were copied for them.
    pub(super) scanned: BTreeMap<BTreeSet<RelPath>, BTreeMap<Tool, Keys>>,
    /// The scanners that saw all fixes together, once settled.
    pub(super) saw_all: BTreeSet<Tool>,
    /// Why the second scanner did not see all fixes together, if it failed.
    pub(super) second_failed: Option<String>,
    /// What the second scanner found only with a fix.
    pub(super) uncovered: BTreeMap<FixId, Vec<String>>,
    /// The plan gate's word on each live fix, once settled, where it was asked for.
    pub(super) plans: BTreeMap<FixId, PlanVerdict>,
}

impl Prover {
    /// A prover over a tree as scanned.
    pub fn new(base: SourceTree, tools: Tools) -> Self {
        Self {
            tree: base.clone(),
            base,
            layers: LayeredTree::new(),
            tools,
            units: BTreeMap::new(),
            pending: Vec::new(),
            parts: BTreeMap::new(),
            stood: BTreeSet::new(),
            scanned: BTreeMap::new(),
            saw_all: BTreeSet::new(),
            second_failed: None,
            uncovered: BTreeMap::new(),
            plans: BTreeMap::new(),
        }
    }

    /// The tree with all accepted fixes.
    pub fn tree(&self) -> &SourceTree {
        &self.tree
    }

    /// The schemas that hold for a finding's module.
    ///
    /// # Errors
    /// When the unit cannot be copied or scanned.
    pub fn schemas(&mut self, case: &Case) -> Result<Schemas, ProofError> {
        let unit = self.unit(&case.unit)?;
        let (schemas, folders) = (unit.schemas.clone(), unit.folders.clone());
        // As for `terraform validate`: of one run, there is one version of a provider.
        Ok(schemas.fit_for(&self.tree, &folders.iter().collect::<Vec<_>>()))
    }

    /// The accepted fix that closes a finding already, if one does.
    ///
    /// # Errors
    /// When the unit cannot be scanned.
    pub fn closed_by(&mut self, case: &Case) -> Result<Option<FixId>, ProofError> {
        let wanted = self.wanted(case)?;
        let closes = |fix: &Pending| !fix.withdrawn && !wanted.is_empty() && wanted.is_subset(&fix.closes);
        Ok(self.pending.iter().position(closes))
    }

    /// Whether there is a scanner that can say whether a finding of that tool is closed.
    pub fn can_tell(&self, tool: Tool) -> bool {
        self.rescanner(tool).is_some()
    }

    /// Whether the finding shows in a scan of its unit. Without a scanner that can run it, nobody can tell: true.
    ///
    /// # Errors
    /// When the unit cannot be scanned.
    pub fn shows(&mut self, case: &Case) -> Result<bool, ProofError> {
        Ok(self.rescanner(case.finding.tool).is_none() || !self.wanted(case)?.is_empty())
    }

    /// What would satisfy a rule of Checkov's, found by running it on the block that is to change as the scratch copy shows it;
    /// nothing where that does not tell.
    ///
    /// # Errors
    /// When the unit cannot be copied or scanned.
    pub fn explore(&mut self, case: &Case, rule: &str, schema: &schema::Block) -> Result<Explored, ProofError> {
        let dir = self.unit(&case.unit)?.scratch.root().to_owned();
        let Some(worker) = &mut self.tools.checkov else { return Ok(Explored::nothing()) };
        let exploration = Exploration { root: &dir, rule, file: &case.file, block: &case.block, schema };
        match worker.explore(&exploration) {
            Ok(explored) => Ok(explored),
            // That the rule cannot be explored says nothing of it; whether the scanner is well shows at the next scan.
            Err(ScannerError::Failed { .. } | ScannerError::Answer { .. } | ScannerError::Process(_)) => {
                Ok(Explored::nothing())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes what else a person must look at in an accepted fix.
    pub fn review(&mut self, fix: FixId, reasons: Vec<String>) {
        self.pending[fix].review.extend(reasons);
    }

    /// What the accepted fixes of a unit closed: it must stay closed.
    pub(super) fn held(&self, dir: &RelPath) -> BTreeSet<CheckKey> {
        let here = self.pending.iter().filter(|fix| !fix.withdrawn && fix.case.unit == *dir);
        here.flat_map(|fix| fix.closes.iter().cloned()).collect()
    }

    /// The scanner that can tell whether a finding of that tool is closed.
    pub(super) fn rescanner(&self, tool: Tool) -> Option<Tool> {
        match tool {
            Tool::Checkov => self.tools.checkov.is_some().then_some(Tool::Checkov),
            // tfsec's rules live on in Trivy; its ids had a prefix there once.
            Tool::Trivy | Tool::Tfsec => self.tools.trivy.is_some().then_some(Tool::Trivy),
            Tool::Terrascan | Tool::Kics | Tool::Other => None,
        }
    }

    /// The keys that must pass: the rule on the block, in whatever module path and instance it is scanned.
    pub(super) fn wanted(&mut self, case: &Case) -> Result<BTreeSet<CheckKey>, ProofError> {
        let tool = self.rescanner(case.finding.tool);
        self.unit(&case.unit)?;
        if tool == Some(Tool::Trivy) {
            self.ask_trivy(&case.unit)?;
        }
        let Some(unit) = self.units.get(&case.unit) else { return Ok(BTreeSet::new()) };
        let baseline = match tool {
            Some(Tool::Checkov) => Some(&unit.baseline),
            Some(_) => unit.trivy_baseline.as_ref(),
            None => None,
        };
        let is_it = |key: &&CheckKey| {
            let block = |text: &str| text.parse::<ResourceAddr>().ok().map(|addr| addr.block);
            let rule = |id: &str| id.trim_start_matches("AVD-").to_owned();
            rule(&key.rule) == rule(&case.finding.rule)
                && key.file == case.subject.0
                && block(&key.resource).as_ref() == Some(&case.subject.1)
        };
        Ok(baseline.into_iter().flat_map(|keys| &keys.failed).filter(is_it).cloned().collect())
    }

    /// Sees to it that Trivy's word on the unit is known, as scanned and as it stands.
    fn ask_trivy(&mut self, dir: &RelPath) -> Result<(), ProofError> {
        let known = |unit: &UnitState| (unit.trivy_baseline.is_some(), unit.trivy_current.is_some());
        let (baseline, current) = self.units.get(dir).map_or((true, true), known);
        if !baseline {
            self.show(dir, self.base.clone())?;
            let keys = self.scan_shown(dir, Tool::Trivy)?.trivy;
            self.show(dir, self.tree.clone())?;
            if let Some(unit) = self.units.get_mut(dir) {
                unit.trivy_baseline = keys;
            }
        }
        if !current {
            let keys = self.scan_shown(dir, Tool::Trivy)?.trivy;
            if let Some(unit) = self.units.get_mut(dir) {
                unit.trivy_current = keys;
            }
        }
        Ok(())
    }

    /// The unit's state, made on first use.
    pub(super) fn unit(&mut self, dir: &RelPath) -> Result<&mut UnitState, ProofError> {
        if !self.units.contains_key(dir) {
            let unit = Unit::of(&self.base, dir);
            let scratch = Scratch::copy(&self.base, &unit)?;
            let copy = dir.under(scratch.root());
            let schemas = module::schemas(self.tools.terraform.as_ref(), &copy, &self.tools.schemas)?;
            let (terraform, folders) = (self.tools.terraform.clone(), unit.folders.clone());
            let validate = Asked::of(terraform, copy, self.base.clone(), folders, schemas.clone());
            let state = UnitState {
                folders: unit.folders,
                scratch,
                shown: self.base.clone(),
                baseline: Keys::default(),
                current: Keys::default(),
                trivy_baseline: None,
                trivy_current: None,
                schemas,
                validate,
                planned: None,
            };
            self.units.insert(dir.clone(), state);
            let baseline = self.scan_shown(dir, Tool::Checkov)?.checkov.unwrap_or_default();
            self.show(dir, self.tree.clone())?;
            let current = match self.pending.is_empty() {
                true => baseline.clone(),
                false => self.scan_shown(dir, Tool::Checkov)?.checkov.unwrap_or_default(),
            };
            if let Some(unit) = self.units.get_mut(dir) {
                unit.baseline = baseline;
                unit.current = current;
            }
        }
        self.units.get_mut(dir).ok_or_else(|| io::Error::other("the unit is gone").into())
    }

    /// Makes the unit's copy show a tree.
    pub(super) fn show(&mut self, dir: &RelPath, tree: SourceTree) -> Result<(), ProofError> {
        if let Some(unit) = self.units.get_mut(dir) {
            if unit.scratch.is_another(&tree, &unit.shown) {
                // Terraform was asked about the copy as it is.
                unit.validate.said()?;
                unit.scratch.show(&tree, &unit.shown)?;
            }
            unit.shown = tree;
        }
        Ok(())
    }

    /// Scans what the unit's copy shows: with Checkov, and with Trivy where a finding of its kind is judged.
    pub(super) fn scan_shown(&mut self, dir: &RelPath, tool: Tool) -> Result<KeysByScanner, ProofError> {
        let Some(unit) = self.units.get(dir) else { return Ok(KeysByScanner::default()) };
        scan(unit.scratch.root(), self.tools.checkov.as_mut(), self.tools.trivy.as_ref(), tool)
    }
}

/// Scans a folder with Checkov, and with Trivy where a finding of its kind is judged.
pub(super) fn scan(
    root: &Path,
    checkov: Option<&mut CheckovWorker>,
    trivy: Option<&Trivy>,
    tool: Tool,
) -> Result<KeysByScanner, ProofError> {
    let checkov = match checkov {
        Some(worker) => Some(Keys::from(&worker.scan(&ScanRequest::all(root))?)),
        None => None,
    };
    let trivy = match trivy {
        Some(trivy) if matches!(tool, Tool::Trivy | Tool::Tfsec) => Some(Keys::from(&trivy.scan(root)?)),
        _ => None,
    };
    Ok(KeysByScanner { checkov, trivy })
}

/// What the scanners that ran said of a unit.
#[derive(Clone, Debug, Default)]
pub(super) struct KeysByScanner {
    pub(super) checkov: Option<Keys>,
    pub(super) trivy: Option<Keys>,
}

impl KeysByScanner {
    /// The rules of Checkov that fail on the case's block in `after` only.
    pub(super) fn new_on(&self, after: &Self, case: &Case) -> BTreeSet<String> {
        let (Some(before), Some(after)) = (&self.checkov, &after.checkov) else { return BTreeSet::new() };
        let on_it = |key: &&CheckKey| {
            let block = key.resource.parse::<ResourceAddr>().ok().map(|addr| addr.block);
            key.file == case.file && block.as_ref() == Some(&case.block)
        };
        after.failed.difference(&before.failed).filter(on_it).map(|key| key.rule.clone()).collect()
    }

    /// Why a change from `self` to `after` is refused, by all scanners that were asked both times. `wanted` are keys of
    /// either scanner; each is asked for those that it knows.
    pub(super) fn compare(&self, after: &Self, wanted: &BTreeSet<CheckKey>) -> Vec<String> {
        let mut reasons = Vec::new();
        let scanners = [(&self.checkov, &after.checkov, Passes::Told), (&self.trivy, &after.trivy, Passes::NotTold)];
        for (before, after, passes) in scanners {
            let (Some(before), Some(after)) = (before, after) else { continue };
            let knows = |key: &&CheckKey| [before, after].iter().any(|keys| keys.knows(key));
            let own = wanted.iter().filter(knows).cloned().collect();
            reasons.extend(rescan::compare(before, after, &own, passes));
        }
        reasons
    }
}
