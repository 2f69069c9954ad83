//! The plan gate, asked for with `--plan`: what `terraform plan` would replace of what is deployed.
//!
//! In: the accepted fixes of a [`Prover`]. Out: a verdict for each, and which of them make terraform replace or destroy a
//! resource.
//! It is the one gate that runs with the user's own settings and lets providers call their cloud. Of a plan, which may hold
//! secrets, caulk keeps addresses and the names of attributes, and of an error its first line; the file is deleted at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::edit::layers::FixId;
use crate::outcome::{Gate, Judgement, Verdict};
use crate::process::ProcessError;
use crate::source::{Block, BlockAddr, RelPath, ResourceAddr, SourceFile, SourceTree};

use super::module::{self, Baseline, Providers};
use super::prover::{ProofError, Prover};
use super::terraform::Terraform;

/// Refreshing what is deployed takes its time.
const PLAN_LIMIT: Duration = Duration::from_secs(1800);

/// What a plan says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Planned {
    /// Addresses of what is replaced, with the attributes that force it.
    replaced: BTreeMap<String, BTreeSet<String>>,
    /// Addresses of what is destroyed and not created again.
    destroyed: BTreeSet<String>,
    /// Whether anything is deployed that could be.
    deployed: bool,
}

/// The plan gate's word on a fix.
#[derive(Clone, Debug)]
pub(super) struct PlanVerdict {
    pub(super) verdict: Verdict,
    /// What it makes terraform replace, in sentences.
    pub(super) replaces: Vec<String>,
}

/// `terraform show -json` of a plan (Terraform docs, "JSON Output Format", format 1.x).
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
}

#[derive(Debug, Deserialize)]
struct ResourceChange {
    address: String,
    mode: String,
    change: Change,
}

#[derive(Debug, Deserialize)]
struct Change {
    actions: Vec<String>,
    /// Paths of attribute names and positions.
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
}

impl Planned {
    fn read(json: &[u8]) -> serde_json::Result<Self> {
        let report: Report = serde_json::from_slice(json)?;
        let mut planned = Self::default();
        for change in report.resource_changes.into_iter().filter(|change| change.mode == "managed") {
            let does = |action: &str| change.change.actions.iter().any(|a| a == action);
            planned.deployed |= does("no-op") || does("update") || does("delete");
            if does("delete") && does("create") {
                let paths = change.change.replace_paths.iter();
                let names = paths.filter_map(|path| Some(path.first()?.as_str()?.to_owned())).collect();
                planned.replaced.insert(change.address, names);
            } else if does("delete") || does("forget") {
                planned.destroyed.insert(change.address);
            }
        }
        Ok(planned)
    }

    /// What is replaced that was not before, or for other reasons.
    fn new_against<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a String, Vec<&'a str>)> {
        self.replaced.iter().filter_map(|(address, names)| match before.replaced.get(address) {
            None => Some((address, names.iter().map(String::as_str).collect())),
            Some(known) => {
                let new: Vec<&str> = names.difference(known).map(String::as_str).collect();
                (!new.is_empty()).then_some((address, new))
            }
        })
    }
}

/// Plans in an initialised module's folder; `Err` with terraform's own words when it cannot.
fn plan(terraform: &Terraform, dir: &Path) -> Result<Result<Planned, String>, ProcessError> {
    module::or_unavailable(planned(terraform, dir), Err)
}

fn planned(terraform: &Terraform, dir: &Path) -> Result<Result<Planned, String>, ProcessError> {
    let folder = match tempfile::Builder::new().prefix("caulk-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return Ok(Err(format!("there is no room for the plan: {error}"))),
    };
    let file = folder.path().join("plan");
    let out = terraform.plan(dir, &file, PLAN_LIMIT)?;
    if !out.success() {
        return Ok(Err(module::error_summary(&out.stderr_text())));
    }
    let shown = terraform.show_plan(dir, &file, PLAN_LIMIT)?;
    Ok(match Planned::read(&shown.stdout) {
        _ if !shown.success() => Err(module::error_summary(&shown.stderr_text())),
        Ok(planned) => Ok(planned),
        Err(error) => Err(format!("terraform show gave no plan: {error}")),
    })
}

impl Prover {
    /// Plans each changed unit as scanned and with all its fixes. Gives the fixes with which terraform cannot plan though it
    /// could without. The modules that other root modules call are planned from the one that the finding was scanned from.
    pub(super) fn plan(&mut self) -> Result<BTreeMap<FixId, Vec<String>>, ProofError> {
        let mut fallen = BTreeMap::new();
        let mut replaces = BTreeMap::<FixId, Vec<String>>::new();
        self.plans.clear();
        let live = self.live();
        let dirs: BTreeSet<RelPath> = live.iter().map(|fix| self.pending[*fix].case.unit.clone()).collect();
        for dir in dirs {
            let fixes: BTreeSet<FixId> =
                live.iter().copied().filter(|fix| self.pending[*fix].case.unit == dir).collect();
            let start = Instant::now();
            let judgement = match self.plan_both(&dir)? {
                Ok((before, after)) => {
                    for (fix, reason) in self.compare_plans(&dir, &before, &after)? {
                        replaces.entry(fix).or_default().push(reason);
                    }
                    let note = (!before.deployed).then(|| "the plan knows of nothing that is deployed".to_owned());
                    Judgement::Pass { note }
                }
                Err(Unplanned::Before(why)) => Judgement::Unavailable { why },
                // A cloud that no longer answers is not the fixes' fault.
                Err(Unplanned::After(why)) => match self.plan_tree(&dir, self.base.clone())? {
                    Err(why) => Judgement::Unavailable { why },
                    Ok(_) => {
                        fallen.extend(self.blame_plan(&dir, &fixes, &why)?);
                        continue;
                    }
                },
            };
            let verdict = Verdict { gate: Gate::Plan, judgement, took: start.elapsed() };
            for fix in fixes {
                self.plans.insert(fix, PlanVerdict { verdict: verdict.clone(), replaces: Vec::new() });
            }
        }
        for (fix, plan) in &mut self.plans {
            plan.replaces = replaces.remove(fix).unwrap_or_default();
        }
        Ok(fallen)
    }

    fn plan_both(&mut self, dir: &RelPath) -> Result<Result<(Planned, Planned), Unplanned>, ProofError> {
        let before = match self.unit(dir)?.planned.clone() {
            Some(planned) => planned,
            None => {
                let planned = self.plan_tree(dir, self.base.clone())?;
                self.unit(dir)?.planned = Some(planned.clone());
                planned
            }
        };
        let before = match before {
            Ok(before) => before,
            Err(why) => return Ok(Err(Unplanned::Before(why))),
        };
        Ok(match self.plan_tree(dir, self.tree.clone())? {
            Ok(after) => Ok((before, after)),
            Err(why) => Err(Unplanned::After(why)),
        })
    }

    /// Plans a unit's copy with the texts of a tree; then it shows the tree with all fixes again.
    fn plan_tree(&mut self, dir: &RelPath, tree: SourceTree) -> Result<Result<Planned, String>, ProofError> {
        match self.unit(dir)?.validate.said()? {
            Baseline::Said { providers: Providers::Installed, .. } => {}
            Baseline::Said { providers: Providers::Served, .. } => {
                let why = "`terraform init` was not run in the module: there is no provider that could plan";
                return Ok(Err(why.to_owned()));
            }
            Baseline::Unavailable(why) => return Ok(Err(why.clone())),
        }
        if let Some(addr) = self.runs_on_plan(dir) {
            return Ok(Err(format!("a plan would run {addr}, which may write beside the copy that is planned")));
        }
        let Some(terraform) = self.tools.terraform.clone() else { return Ok(Err("terraform is gone".to_owned())) };
        self.show(dir, tree)?;
        let copy = dir.under(self.unit(dir)?.scratch.root());
        let planned = plan(&terraform, &copy);
        self.show(dir, self.tree.clone())?;
        Ok(planned?)
    }

    /// A data source of a unit that does more than read when it is planned: the copy's folders lead to the source's.
    fn runs_on_plan(&self, dir: &RelPath) -> Option<BlockAddr> {
        let folders = &self.units.get(dir)?.folders;
        let blocks = folders.iter().flat_map(|folder| self.base.module(folder)).flat_map(|file| file.body().blocks());
        let mut addrs = blocks.map(Block::addr).filter(|addr| addr.keyword == "data");
        addrs.find(|addr| addr.resource_type().is_some_and(|ty| ["archive_file", "external"].contains(&ty)))
    }

    /// Finds the fixes that terraform cannot plan with; where each alone can be planned, the latest is to blame.
    fn blame_plan(
        &mut self,
        dir: &RelPath,
        fixes: &BTreeSet<FixId>,
        why: &str,
    ) -> Result<BTreeMap<FixId, Vec<String>>, ProofError> {
        let reason = |why: &str| vec![format!("terraform plan: {why}")];
        let mut fallen = BTreeMap::new();
        for &fix in fixes {
            crate::interrupt::check().map_err(|_| ProcessError::Interrupted)?;
            if let Err(why) = self.plan_tree(dir, self.tree_with(&self.part(fix))?)? {
                fallen.insert(fix, reason(&why));
            }
        }
        if fallen.is_empty() {
            fallen.extend(fixes.last().map(|&last| (last, reason(why))));
        }
        Ok(fallen)
    }

    /// What fixes make terraform replace or destroy in a unit, by fix.
    fn compare_plans(
        &self,
        dir: &RelPath,
        before: &Planned,
        after: &Planned,
    ) -> Result<Vec<(FixId, String)>, ProofError> {
        let mut told = Vec::new();
        for (address, names) in after.new_against(before) {
            let by = match names.as_slice() {
                [] => String::new(),
                names => format!("; what forces it: {}", names.join(", ")),
            };
            let makers = self.makers_of_replacement(dir, address, &names)?;
            told.extend(makers.into_iter().map(|fix| (fix, format!("terraform would replace {address}{by}"))));
        }
        for address in after.destroyed.difference(&before.destroyed) {
            let makers = self.makers_of_replacement(dir, address, &[])?;
            told.extend(makers.into_iter().map(|fix| (fix, format!("terraform would destroy {address}"))));
        }
        Ok(told)
    }

    /// The fixes that change one of these attributes of a resource. Where none does, the change comes from elsewhere: any of
    /// those in the unit's folders may be behind it, whichever root module they were proven from.
    fn makers_of_replacement(
        &self,
        dir: &RelPath,
        address: &str,
        names: &[&str],
    ) -> Result<BTreeSet<FixId>, ProofError> {
        let here = |fix: &FixId| {
            let folder = self.pending[*fix].case.file.parent();
            self.units.get(dir).is_some_and(|unit| unit.folders.contains(&folder))
        };
        let fixes: BTreeSet<FixId> = self.live().into_iter().filter(here).collect();
        let resolved = address.parse::<ResourceAddr>().ok().and_then(|addr| self.base.resolve(dir, &addr));
        let Some((file, block)) = resolved else { return Ok(fixes) };
        let mut touching = BTreeSet::new();
        for &fix in fixes.iter().filter(|fix| self.pending[**fix].case.block == block.addr()) {
            let with = self.tree_with(&self.part(fix))?;
            let changed = with.find(&file.path().parent(), &block.addr());
            let touches = |name: &&str| changed.is_some_and(|(f, b)| items(f, b, name) != items(file, block, name));
            if names.iter().any(touches) {
                touching.insert(fix);
            }
        }
        Ok(if touching.is_empty() { fixes } else { touching })
    }

    /// A fix with what it builds on.
    fn part(&self, fix: FixId) -> BTreeSet<FixId> {
        self.parts.get(&fix).cloned().unwrap_or_else(|| BTreeSet::from([fix]))
    }
}

/// When a unit could not be planned.
enum Unplanned {
    Before(String),
    After(String),
}

/// The texts of what a block has of a name.
fn items<'a>(file: &'a SourceFile, block: &Block, name: &str) -> Vec<&'a str> {
    block.body.items.iter().filter(|item| item.name() == name).map(|item| file.slice(item.span())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::prover::{Case, Tools};
    use super::*;
    use crate::finding::{Finding, Location, Tool};
    use crate::outcome::Applicability;
    use crate::process::{self, Cmd};

    /// `terraform_data` is built into terraform, so it is deployed without a network; what makes it be replaced is known.
    const MODULE: &str = "resource \"terraform_data\" \"a\" {\n  input            = 1\n  triggers_replace = \"x\"\n}\n";

    fn deployed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), MODULE).unwrap();
        // The call of an empty module, so that there is something to initialise.
        let around = "module \"m\" {\n  source = \"./m\"\n}\nvariable \"n\" {\n  default = 3\n}\n";
        std::fs::write(dir.path().join("around.tf"), around).unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(dir.path().join("m/main.tf"), "").unwrap();
        let program = which::which("terraform").or_else(|_| which::which("tofu")).expect("terraform or tofu");
        for args in [["init", "-input=false"].as_slice(), &["apply", "-auto-approve", "-input=false"]] {
            let cmd = Cmd::new(&program, Duration::from_secs(60)).args(args).cwd(dir.path());
            let out = process::run(&cmd.env("TF_CLI_CONFIG_FILE", "/dev/null").env("CHECKPOINT_DISABLE", "1")).unwrap();
            assert!(out.success(), "{}", out.stderr_text());
        }
        dir
    }

    fn case(id: &str) -> Case {
        let file = RelPath::new("main.tf").unwrap();
        let block = BlockAddr::resource("terraform_data", "a");
        let location = Location { file: file.clone(), start_line: 1, end_line: 4 };
        let address = Some(ResourceAddr::of(block.clone()));
        // No scanner of that kind is run here, so that the answers are judged by the other gates.
        let finding = Finding::new(Tool::Kics, id, "is not as it should be", location, address);
        Case { finding, subject: (file.clone(), block.clone()), file, block, unit: RelPath::default() }
    }

    fn prover(dir: &Path) -> Prover {
        let base = SourceTree::load(dir, &[RelPath::default()]).unwrap();
        Prover::new(base, Tools { terraform: Terraform::find(), plan: true, ..Tools::default() })
    }

    fn answer(lines: &str) -> String {
        format!("resource \"terraform_data\" \"a\" {{\n{lines}}}")
    }

    #[test]
    fn a_fix_that_replaces_what_is_deployed_is_for_review_and_says_what_forces_it() {
        let dir = deployed();
        let state = || std::fs::read(dir.path().join("terraform.tfstate")).unwrap();
        let before = state();
        let mut prover = prover(dir.path());
        let cases = [case("input"), case("trigger")];
        for (case, lines) in cases.iter().zip(["  input = 2\n", "  triggers_replace = \"y\"\n"]) {
            let judged = prover.judge(case, &answer(lines)).unwrap();
            assert!(judged.accepted.is_some(), "{judged:?}");
        }
        assert_eq!(prover.settle().unwrap(), []);
        let fixes = prover.seal(&cases).unwrap().fixes;
        let says = |fix: usize| {
            fixes[fix]
                .review_reasons()
                .iter()
                .any(|reason| reason == "terraform would replace terraform_data.a; what forces it: triggers_replace")
        };
        assert!(!says(0) && says(1), "{fixes:?}");
        assert_eq!(fixes[1].applicability(), Applicability::Review);
        let planned = |v: &&Verdict| v.gate == Gate::Plan;
        let verdict = fixes[0].evidence().iter().find(planned).unwrap();
        assert_eq!(verdict.judgement, Judgement::Pass { note: None });
        assert_eq!(state(), before);
    }

    #[test]
    fn what_terraform_cannot_plan_with_is_taken_back() {
        let dir = deployed();
        let mut prover = prover(dir.path());
        let cases = [case("input"), case("trigger")];
        // To validate the variable is unknown.
        let broken = "  triggers_replace = [1][var.n]\n";
        for (case, lines) in cases.iter().zip(["  input = 2\n", broken]) {
            prover.judge(case, &answer(lines)).unwrap();
        }
        let withdrawn = prover.settle().unwrap();
        assert_eq!(withdrawn.len(), 1, "{withdrawn:?}");
        assert_eq!(withdrawn[0].finding, cases[1].finding.id);
        assert!(withdrawn[0].reasons[0].starts_with("terraform plan: "), "{withdrawn:?}");
        assert_eq!(prover.seal(&cases).unwrap().fixes.len(), 1);
    }

    #[test]
    fn without_a_provider_the_gate_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), "resource \"aws_sqs_queue\" \"a\" {\n}\n").unwrap();
        let mut prover = prover(dir.path());
        let block = BlockAddr::resource("aws_sqs_queue", "a");
        let case = Case { subject: (RelPath::new("main.tf").unwrap(), block.clone()), block, ..case("x") };
        let sealed = |prover: &mut Prover, case: &Case| {
            let judged = prover.judge(case, "resource \"aws_sqs_queue\" \"a\" {\n  delay_seconds = 1\n}").unwrap();
            assert!(judged.accepted.is_some(), "{judged:?}");
            prover.settle().unwrap();
            prover.seal(std::slice::from_ref(case)).unwrap().fixes
        };
        let fixes = sealed(&mut prover, &case);
        let said = |reason: &String| reason.starts_with("plan did not run: `terraform init` was not run");
        assert!(fixes[0].review_reasons().iter().any(said), "{fixes:?}");
    }

    #[test]
    fn a_plan_is_read_for_replacements_alone() {
        let json = br#"{ "format_version": "1.2", "resource_changes": [
            { "address": "a.b[0]", "mode": "managed", "change": { "actions": ["delete", "create"],
              "before": { "password": "secret" }, "replace_paths": [["engine"], ["rule", 0, "x"]] } },
            { "address": "a.e", "mode": "managed", "change": { "actions": ["delete"] } },
            { "address": "a.c", "mode": "managed", "change": { "actions": ["update"] } },
            { "address": "data.a.d", "mode": "data", "change": { "actions": ["read"] } } ] }"#;
        let planned = Planned::read(json).unwrap();
        let names = BTreeSet::from(["engine".to_owned(), "rule".to_owned()]);
        assert_eq!(
            planned,
            Planned {
                replaced: BTreeMap::from([("a.b[0]".into(), names)]),
                destroyed: BTreeSet::from(["a.e".to_owned()]),
                deployed: true,
            }
        );
        let before = Planned {
            replaced: BTreeMap::from([("a.b[0]".into(), BTreeSet::from(["engine".to_owned()]))]),
            ..planned.clone()
        };
        let new: Vec<_> = planned.new_against(&before).collect();
        assert_eq!(new, [(&"a.b[0]".to_owned(), vec!["rule"])]);
        assert!(before.new_against(&planned).next().is_none());
        assert!(!Planned::read(b"{}").unwrap().deployed);
    }
}
