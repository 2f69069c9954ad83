//! The validate gate: `terraform validate`, with the module's own providers where they can be had without a network, and
//! with schemas served in their place elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::grammar::provider_of;
use crate::outcome::Judgement;
use crate::process::{Output, ProcessError};
use crate::schema::{self, Kind, Schemas, untold};
use crate::source::{Block, RelPath, SourceTree};

use super::served::Served;
use super::terraform::Terraform;

const VALIDATE_LIMIT: Duration = Duration::from_secs(120);
const INIT_LIMIT: Duration = Duration::from_secs(300);

/// What is validated: a module's copy, and what its blocks are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module<'a> {
    /// Where the copy lies.
    pub dir: &'a Path,
    /// What it shows.
    pub tree: &'a SourceTree,
    /// The folders of it and of the local modules that it calls, the module's own first.
    pub folders: &'a BTreeSet<RelPath>,
    pub schemas: &'a Schemas,
}

/// What `terraform validate` said of a module before it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Baseline {
    /// What it complained of, and what it would complain of had it not stopped before.
    Said { errors: BTreeSet<Complaint>, hidden: BTreeSet<Wrong>, providers: Providers },
    /// It cannot be asked.
    Unavailable(String),
}

/// Whose word on providers terraform goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Providers {
    /// The providers' own.
    Installed,
    /// The schemas', served in their place.
    Served,
}

/// An error that terraform tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Complaint {
    /// The header of the block that it is about.
    block: String,
    summary: String,
    /// Its first line.
    detail: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.block.is_empty() { String::new() } else { format!("{}: ", self.block) };
        write!(f, "terraform validate: {place}{}: {}", self.summary, self.detail)
    }
}

/// What is wrong with a block by its schema: the block's header, and the name of the argument or nested block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wrong {
    block: String,
    name: String,
}

impl Wrong {
    /// Whether an error is about that.
    fn is_told_by(&self, error: &Complaint) -> bool {
        let name = format!("\"{}\"", self.name);
        error.block == self.block && (error.detail.contains(&name) || error.summary.contains(&name))
    }
}

/// `terraform validate -json` (Terraform docs, "Machine-readable UI", format 1.0).
#[derive(Debug, Deserialize)]
struct Report {
    valid: bool,
    #[serde(default)]
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    snippet: Option<Snippet>,
}

#[derive(Debug, Deserialize)]
struct Snippet {
    /// The header of the block that the diagnostic is about.
    #[serde(default)]
    context: Option<String>,
}

/// Schemas for the module in a copy: where it is initialised, those of its own providers come first. If they cannot be had,
/// the others have to do.
///
/// # Errors
/// When the user interrupts.
pub(super) fn schemas(terraform: Option<&Terraform>, dir: &Path, schemas: &Schemas) -> Result<Schemas, ProcessError> {
    let Some(terraform) = terraform.filter(|_| dir.join(".terraform").exists()) else { return Ok(schemas.clone()) };
    let own = or_unavailable(terraform.providers_schema(dir, VALIDATE_LIMIT).map(Some), |_| None)?;
    let text = own.filter(Output::success).and_then(|out| String::from_utf8(out.stdout).ok());
    let packs = text.and_then(|text| schema::read_terraform(&text, dir).ok());
    Ok(packs.map_or_else(|| schemas.clone(), |packs| schemas.with_module(packs)))
}

/// Asks for the first time. Where the module is initialised or a mirror is configured, by the providers themselves; else the
/// schemas are served in their place. A terraform that cannot be run makes the gate unavailable.
///
/// # Errors
/// When the user interrupts.
pub(super) fn baseline(terraform: Option<&Terraform>, module: Module<'_>) -> Result<Baseline, ProcessError> {
    or_unavailable(first(terraform, module), Baseline::Unavailable)
}

fn first(terraform: Option<&Terraform>, module: Module<'_>) -> Result<Baseline, ProcessError> {
    let Some(terraform) = terraform else {
        return Ok(Baseline::Unavailable("neither terraform nor tofu is on the PATH".into()));
    };
    let providers = match module.dir.join(".terraform").exists() || mirror_configured() {
        true => Providers::Installed,
        false => Providers::Served,
    };
    if !module.dir.join(".terraform").exists() {
        let served = match providers {
            Providers::Installed => None,
            Providers::Served => match serve(module) {
                Ok(served) => Some(served),
                Err(why) => return Ok(Baseline::Unavailable(why)),
            },
        };
        let out = terraform.init(module.dir, served.as_ref(), INIT_LIMIT)?;
        if !out.success() {
            return Ok(Baseline::Unavailable(format!("terraform init failed: {}", first_error(&out.stderr_text()))));
        }
    }
    Ok(match errors(terraform, module, providers)? {
        Ok(said) => {
            let hidden = if said.errors.is_empty() { BTreeSet::new() } else { wrong(module) };
            Baseline::Said { errors: said.errors, hidden, providers }
        }
        Err(why) => Baseline::Unavailable(why),
    })
}

/// What is wrong with a module's blocks by their schemas. Terraform stops at some errors, such as a reference that leads
/// nowhere, before it looks at these.
fn wrong(module: Module<'_>) -> BTreeSet<Wrong> {
    let dirs: Vec<&RelPath> = module.folders.iter().collect();
    let schemas = module.schemas.fit_for(module.tree, &dirs);
    let blocks = dirs.iter().flat_map(|dir| module.tree.module(dir)).flat_map(|file| file.body().blocks());
    let of = |block: &Block| {
        let labels = block.labels.iter().map(|label| format!(" \"{label}\""));
        let header = format!("{}{}", block.keyword, labels.collect::<String>());
        let schema = schemas.of(&block.addr());
        let problems = schema.map(|schema| schema::problems(&block.body, &schema)).unwrap_or_default();
        let named = |problem: &String| Some(problem.split_once(": ")?.0.rsplit('.').next()?.to_owned());
        let names: Vec<String> = problems.iter().filter_map(named).collect();
        names.into_iter().map(move |name| Wrong { block: header.clone(), name })
    };
    blocks.flat_map(of).collect()
}

/// Serves the schemas of what a module has. `Err` says which provider there is no schema of.
fn serve(module: Module<'_>) -> Result<Served, String> {
    let dirs: Vec<&RelPath> = module.folders.iter().collect();
    let schemas = module.schemas.fit_for(module.tree, &dirs);
    let mut types = BTreeSet::new();
    let mut beyond = None;
    for block in dirs.iter().flat_map(|dir| module.tree.module(dir)).flat_map(|file| file.body().blocks()) {
        if let (Some(kind), Some(ty)) = (Kind::of(&block.keyword), block.labels.first()) {
            types.insert((kind, ty.clone()));
            let path = || schemas.get(kind, ty).and_then(|(schema, _)| untold(&block.body, &schema));
            beyond = beyond.or_else(|| Some((ty.clone(), path()?)));
        }
        // A provider that is required must be there though nothing is of it.
        for required in block.body.blocks().filter(|inner| inner.keyword == "required_providers") {
            types.extend(required.body.attributes().map(|provider| (Kind::Provider, provider.key.clone())));
        }
    }
    // That one is part of terraform.
    types.retain(|(_, ty)| provider_of(ty) != "terraform");
    let not_whole = |kind: Kind, ty: &str| Some((ty.to_owned(), schemas.get(kind, ty)?.0.open_in_set()?));
    let not_said = |(ty, path)| format!("the schema of {ty} does not say what {path} is");
    let lacking = types.iter().find_map(|(kind, ty)| match schemas.pack_of(ty) {
        Some(_) => not_whole(*kind, ty).map(not_said),
        None => Some(schemas.why_none(ty)),
    });
    let lacking = lacking.or(beyond.map(not_said));
    match lacking {
        Some(why) => Err(format!("`terraform init` was not run in the module, and {why}")),
        None => Served::start(&schemas, &types).map_err(|error| format!("schemas cannot be served: {error}")),
    }
}

/// Judges the changed module.
///
/// # Errors
/// When the user interrupts.
pub(super) fn judge(
    terraform: Option<&Terraform>,
    before: &Baseline,
    module: Module<'_>,
) -> Result<Judgement, ProcessError> {
    or_unavailable(again(terraform, before, module), |why| Judgement::Unavailable { why })
}

/// A process that cannot be run or hangs is told, and ends nothing; an interruption does.
pub(super) fn or_unavailable<T>(
    result: Result<T, ProcessError>,
    unavailable: impl Fn(String) -> T,
) -> Result<T, ProcessError> {
    match result {
        Err(ProcessError::Interrupted) => Err(ProcessError::Interrupted),
        Err(error) => Ok(unavailable(error.to_string())),
        Ok(value) => Ok(value),
    }
}

fn again(terraform: Option<&Terraform>, before: &Baseline, module: Module<'_>) -> Result<Judgement, ProcessError> {
    let (terraform, before, hidden, providers) = match (terraform, before) {
        (Some(terraform), Baseline::Said { errors, hidden, providers }) => (terraform, errors, hidden, *providers),
        (_, Baseline::Unavailable(why)) => return Ok(Judgement::Unavailable { why: why.clone() }),
        (None, Baseline::Said { .. }) => return Ok(Judgement::Unavailable { why: "terraform is gone".into() }),
    };
    Ok(match errors(terraform, module, providers)? {
        Ok(Said { errors, note }) => {
            let was = |error: &&Complaint| hidden.iter().any(|wrong| wrong.is_told_by(error));
            let new: Vec<String> =
                errors.difference(before).filter(|error| !was(error)).map(ToString::to_string).collect();
            match (new.is_empty(), before.first()) {
                (false, _) => Judgement::Reject { reasons: new },
                (true, None) => Judgement::Pass { note },
                // Terraform stops at some errors: what it did not come to, nobody has looked at.
                (true, Some(first)) => Judgement::Unavailable {
                    why: format!("nothing new, but the module did not validate before the change: {first}"),
                },
            }
        }
        Err(why) => Judgement::Unavailable { why },
    })
}

/// What validate said.
struct Said {
    /// Its errors, each once.
    errors: BTreeSet<Complaint>,
    /// By what it judged, where that were not the providers themselves.
    note: Option<String>,
}

/// Validates; `Err` when there is no report.
fn errors(
    terraform: &Terraform,
    module: Module<'_>,
    providers: Providers,
) -> Result<Result<Said, String>, ProcessError> {
    let served = match providers {
        Providers::Installed => None,
        Providers::Served => match serve(module) {
            Ok(served) => Some(served),
            Err(why) => return Ok(Err(why)),
        },
    };
    let out = terraform.validate(module.dir, served.as_ref(), VALIDATE_LIMIT)?;
    let note = served
        .map(|served| format!("by schemas of {}, not by the providers' own checks", served.providers().join(", ")));
    let Ok(report) = serde_json::from_slice::<Report>(&out.stdout) else {
        return Ok(Err(format!("terraform validate gave no report: {}", first_line(&out.stderr_text()))));
    };
    let errors = report.diagnostics.into_iter().filter(|d| d.severity == "error").map(|d| Complaint {
        block: d.snippet.and_then(|snippet| snippet.context).unwrap_or_default(),
        summary: d.summary,
        detail: first_line(&d.detail).to_owned(),
    });
    let errors: BTreeSet<Complaint> = errors.collect();
    if errors.is_empty() && !report.valid {
        return Ok(Err("terraform validate says neither valid nor why not".into()));
    }
    Ok(Ok(Said { errors, note }))
}

/// The first error that terraform tells; above those of the configuration `init` says that there are some.
fn first_error(text: &str) -> String {
    let said: Vec<&str> = text.lines().map(|line| line.trim_start_matches(['│', '╷', '╵', ' '])).collect();
    let errors: Vec<usize> = (0..said.len()).filter(|&at| said[at].starts_with("Error: ")).collect();
    match errors.iter().find(|&&at| !said[at].contains("encountered problems during init")) {
        Some(&at) => {
            let more = said[at + 1..].iter().take_while(|line| !line.starts_with("Error: "));
            let more = more.copied().filter(|line| !line.is_empty());
            said[at..=at].iter().copied().chain(more).collect::<Vec<_>>().join(" ")
        }
        None => first_line(text).to_owned(),
    }
}

/// The summary of the first error alone: what follows it may hold values.
pub(super) fn error_summary(text: &str) -> String {
    first_error(text.lines().filter(|line| line.contains("Error: ")).collect::<Vec<_>>().join("\n").as_str())
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Whether the user's CLI configuration installs providers from a folder and never from a registry.
fn mirror_configured() -> bool {
    let file = std::env::var_os("TF_CLI_CONFIG_FILE").map(std::path::PathBuf::from);
    let file = file.or_else(|| Some(dirs::home_dir()?.join(".terraformrc")));
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let code = text.lines().map(|line| line.split(['#']).next().unwrap_or_default());
    let code: Vec<&str> = code.filter(|line| !line.trim_start().starts_with("//")).collect();
    let names =
        |word: &str| code.iter().any(|line| line.split_whitespace().any(|part| part.trim_end_matches('{') == word));
    names("filesystem_mirror") && !names("direct")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::merge::merge;
    use crate::grammar::walk::{self, Walker};
    use crate::source::{BlockAddr, SourceFile};

    struct Copy {
        dir: tempfile::TempDir,
        schemas: Schemas,
        tree: SourceTree,
        folders: BTreeSet<RelPath>,
    }

    impl Copy {
        /// Writes a module, and beside it an empty one in the folder `m`.
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("m")).unwrap();
            std::fs::write(dir.path().join("m/main.tf"), "").unwrap();
            let tree = SourceTree::from_files("/", []);
            let mut copy =
                Self { dir, schemas: Schemas::embedded(), tree, folders: BTreeSet::from([RelPath::default()]) };
            copy.write(text);
            copy
        }

        fn write(&mut self, text: &str) {
            std::fs::write(self.dir.path().join("main.tf"), text).unwrap();
            let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into()).unwrap();
            self.tree = SourceTree::from_files(self.dir.path(), [file]);
        }

        fn module(&self) -> Module<'_> {
            Module { dir: self.dir.path(), tree: &self.tree, folders: &self.folders, schemas: &self.schemas }
        }

        fn baseline(&self) -> Baseline {
            baseline(Some(&terraform()), self.module()).unwrap()
        }

        fn judge(&self, before: &Baseline) -> Judgement {
            judge(Some(&terraform()), before, self.module()).unwrap()
        }
    }

    fn terraform() -> Terraform {
        Terraform::find().expect("terraform or tofu on the PATH")
    }

    /// `terraform_data` is built into terraform: its module is initialised without a network. It calls another, so that
    /// there is something to initialise.
    #[test]
    fn an_initialised_module_is_validated_by_terraform() {
        let with = |argument: &str| {
            format!(
                "module \"m\" {{\n  source = \"./m\"\n}}\nresource \"terraform_data\" \"a\" {{\n  {argument} = 1\n}}\n"
            )
        };
        let mut copy = Copy::new(&with("input"));
        assert!(terraform().init(copy.dir.path(), None, INIT_LIMIT).unwrap().success());
        let before = copy.baseline();
        assert_eq!(
            before,
            Baseline::Said { errors: BTreeSet::new(), hidden: BTreeSet::new(), providers: Providers::Installed }
        );
        assert_eq!(copy.judge(&before), Judgement::Pass { note: None });
        copy.write(&with("inputs"));
        let Judgement::Reject { reasons } = copy.judge(&before) else { panic!("passed") };
        assert!(reasons[0].contains("\"terraform_data\" \"a\"") && reasons[0].contains("inputs"), "{reasons:?}");
        let broken = copy.baseline();
        let after = copy.judge(&broken);
        assert!(matches!(&after, Judgement::Unavailable { why } if why.contains("before the change")), "{after:?}");
    }

    const QUEUE: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}
provider "aws" {
  region = "eu-west-1"
}
module "m" {
  source = "./m"
}
data "aws_caller_identity" "current" {}
resource "aws_kms_key" "q" {
  enable_key_rotation = true
}
resource "aws_security_group" "q" {
  ingress {
    from_port = 443
    to_port   = 443
    protocol  = "tcp"
  }
}
resource "aws_sqs_queue" "q" {
  name              = "q-${data.aws_caller_identity.current.account_id}"
  kms_master_key_id = aws_kms_key.q.id
}
"#;

    #[test]
    fn a_module_without_plugins_is_validated_by_served_schemas() {
        let mut copy = Copy::new(QUEUE);
        let before = copy.baseline();
        assert_eq!(
            before,
            Baseline::Said { errors: BTreeSet::new(), hidden: BTreeSet::new(), providers: Providers::Served }
        );
        let judgement = copy.judge(&before);
        assert!(
            matches!(&judgement, Judgement::Pass { note: Some(note) } if note.contains("hashicorp/aws 6.")),
            "{judgement:?}"
        );
        for (right, wrong, said) in [
            ("kms_master_key_id = ", "kms_key_id = ", "kms_key_id"),
            ("aws_kms_key.q.id", "aws_kms_key.q.key", "key"),
            ("enable_key_rotation = true", "enable_key_rotation = \"maybe\"", "bool"),
            ("  ingress {", "  ingress = 1\n  egress {", "ingress"),
        ] {
            copy.write(&QUEUE.replace(right, wrong));
            let Judgement::Reject { reasons } = copy.judge(&before) else { panic!("{wrong} passed") };
            assert!(reasons.iter().any(|reason| reason.contains(said)), "{reasons:?}");
        }
        // Of most statements of its rules, the packs know nothing.
        let statement = "rule {\n    statement {\n      geo_match_statement {\n      }\n    }\n  }";
        copy.write(&format!("{QUEUE}resource \"aws_wafv2_web_acl\" \"q\" {{\n  {statement}\n}}\n"));
        let judgement = copy.judge(&before);
        assert!(
            matches!(&judgement, Judgement::Unavailable { why } if why.contains("rule.statement.geo_match_statement")),
            "{judgement:?}"
        );
        // A type that was not there when the module was first asked about.
        copy.write(&format!("{QUEUE}resource \"aws_sns_topic\" \"q\" {{\n  name = \"q\"\n}}\n"));
        assert!(matches!(copy.judge(&before), Judgement::Pass { .. }));
    }

    /// As many types in one module: terraform starts once for all of them.
    const TOGETHER: usize = 20;

    /// Blocks by random walks, then random overrides of them, with all that they add. `CAULK_WALK_TYPES=200` walks further.
    #[test]
    fn terraform_accepts_what_random_walks_write() {
        let types = std::env::var("CAULK_WALK_TYPES").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
        let schemas = Schemas::embedded();
        let mut walker = Walker::new();
        let file = RelPath::new("main.tf").unwrap();
        let mut overrides = 0;
        for types in walk::sample(&schemas, types).chunks(TOGETHER) {
            let mut text = walk::around("");
            let mut targets = Vec::new();
            let mut seen = BTreeSet::new();
            for (index, ty) in types.iter().enumerate() {
                let Some(blocks) = walker.block(&schemas, ty, &format!("of{index}")) else { continue };
                // Walks know nothing of one another: two may read the same data source, and keys may come twice.
                let Ok(parsed) = SourceFile::parse(RelPath::default(), blocks.clone().into_bytes()) else { continue };
                if parsed.body().blocks().all(|block| seen.insert(block.addr())) {
                    text.push_str(&blocks);
                    targets.push(BlockAddr::resource(ty, "x"));
                }
            }
            let mut copy = Copy::new(&text);
            let before = copy.baseline();
            assert_eq!(
                before,
                Baseline::Said { errors: BTreeSet::new(), hidden: BTreeSet::new(), providers: Providers::Served },
                "{text}"
            );
            for target in targets {
                let grammar = walk::grammar(&schemas, &copy.tree, &target);
                let Some(answer) = walker.answer(&grammar) else { continue };
                let Ok(merged) = merge(&copy.tree, &file, &target, schemas.of(&target).as_ref(), &answer) else {
                    continue;
                };
                let after = merged.changeset.apply(&copy.tree).unwrap();
                copy.write(after.file(&file).unwrap().text());
                overrides += 1;
            }
            let judgement = copy.judge(&before);
            assert!(
                matches!(judgement, Judgement::Pass { .. }),
                "{judgement:#?}\n{}",
                copy.tree.file(&file).unwrap().text()
            );
        }
        assert!(overrides >= types / 2, "{overrides} overrides");
    }

    #[test]
    fn what_terraform_had_not_come_to_before_is_not_the_changes_fault() {
        let with = |more: &str| {
            QUEUE.replace("  name              = ", &format!("{more}  queue_name = \"q\"\n  name              = "))
        };
        let mut copy = Copy::new(&with("  fifo_queue = False\n"));
        let before = copy.baseline();
        copy.write(&with("  fifo_queue = true\n"));
        let judgement = copy.judge(&before);
        let why = "terraform validate: resource \"aws_sqs_queue\" \"q\": Invalid reference";
        assert!(matches!(&judgement, Judgement::Unavailable { why: said } if said.contains(why)), "{judgement:?}");
        copy.write(&with("  fifo_queues = true\n"));
        let Judgement::Reject { reasons } = copy.judge(&before) else { panic!("passed") };
        assert!(reasons.len() == 1 && reasons[0].contains("fifo_queues"), "{reasons:?}");
    }

    #[test]
    fn a_provider_without_a_schema_is_named() {
        let copy = Copy::new("resource \"acme_thing\" \"a\" {\n}\n");
        let before = copy.baseline();
        assert!(matches!(&before, Baseline::Unavailable(why) if why.contains("acme_thing")), "{before:?}");
        let copy = Copy::new(&QUEUE.replace(">= 5.0", "~> 2.0"));
        let before = copy.baseline();
        assert!(matches!(&before, Baseline::Unavailable(why) if why.contains("aws ~> 2.0")), "{before:?}");
    }

    #[test]
    fn without_terraform_nothing_is_validated() {
        let copy = Copy::new(QUEUE);
        let before = baseline(None, copy.module()).unwrap();
        assert!(matches!(before, Baseline::Unavailable(_)), "{before:?}");
        let said = Baseline::Said { errors: BTreeSet::new(), hidden: BTreeSet::new(), providers: Providers::Served };
        assert!(matches!(judge(None, &said, copy.module()).unwrap(), Judgement::Unavailable { .. }));
    }
}
