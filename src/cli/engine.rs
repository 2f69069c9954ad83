//! What `fix` and `eval` share: the options of a run of the engine, and all that it needs, started side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::{Args as _, FromArgMatches as _};

use crate::cache::Cache;
use crate::engine::{self, Effort, Forced, Inputs, Job, LocalModel, Replay, Writer};
use crate::exit::{ExitStatus, Failure};
use crate::grammar;
use crate::knowledge::Knowledge;
use crate::model::{self, Model, ModelError, Prefixes};
use crate::outcome::{ModelIdentity, RunReport, ToolVersion};
use crate::progress::{Progress, Unit};
use crate::prompt::Prompts;
use crate::rules::{self, House, Wish};
use crate::scanner::ScannerError;
use crate::scanner::checkov::{self, CheckovWorker};
use crate::scanner::trivy::Trivy;
use crate::schema::{Kind, Schemas};
use crate::setup::{self, ModelFile};
use crate::validate::{Terraform, Tools};

/// Options of a run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The model: a name of `caulk model list`, or a GGUF file; `none` writes only what the rules leave no choice about
    #[arg(long, value_name = "NAME|FILE", default_value = setup::DEFAULT_MODEL)]
    pub model: String,
    /// Where the model runs: cpu, cuda:N, metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// How hard to try where the answers that are held to what the rule is known to want did not do
    #[arg(long, value_enum, default_value_t)]
    pub effort: engine::Level,
    /// Free answers to try per finding, at most, in place of what the effort stands for; half as many after answers that
    /// were held to what the rule is known to want
    #[arg(long, value_name = "K")]
    pub candidates: Option<NonZeroUsize>,
    /// Seed of the sampled answers: same seed, same answers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Sample every answer at this temperature; without, the first ones are the likeliest
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f64>,
    /// Answers that the model writes at once, at most, of different modules. With the CPU's own kernels what comes out is the
    /// same; elsewhere sums may be rounded otherwise [default: 4 with these, else 1]
    #[arg(long, value_name = "N")]
    pub parallel: Option<NonZeroUsize>,
    /// Also have terraform plan in initialised modules, with your own settings, which may call your cloud; a fix that would
    /// replace or destroy a resource is for review then
    #[arg(long)]
    pub plan: bool,
    /// Folder of prompts to use instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,
    /// Folder of files that say what no scanner knows: notes on rules, what new blocks must hold, keys and other values of your
    /// own house (repeatable); `caulk.toml` in the scanned folder is read as well
    #[arg(long, value_name = "DIR")]
    pub knowledge: Vec<PathBuf>,
    /// Take the answers from the audit.jsonl of an earlier run instead of the model, and prove them again
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
}

impl Options {
    /// With all defaults, for a model.
    pub fn of(model: &str) -> Self {
        let command = Self::augment_args(clap::Command::new("run").no_binary_name(true));
        let matches = command.get_matches_from(["--model", model]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The name that stands for no model.
const NO_MODEL: &str = "none";

fn temperature(text: &str) -> Result<f64, String> {
    let temperature: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    (temperature > 0.0 && temperature <= 10.0).then_some(temperature).ok_or("it must be above 0, and at most 10".into())
}

/// What a run needs, on its way.
pub struct Engine<'a> {
    options: &'a Options,
    prompts: Prompts,
    knowledge: Arc<Knowledge>,
    schemas: Schemas,
    writer: Loading,
    /// Checkov, where it is there.
    pub checkov: Option<CheckovWorker>,
    others: JoinHandle<Result<Others, ScannerError>>,
}

/// The tools that are processes of their own, with their versions.
struct Others {
    trivy: Option<(Trivy, String)>,
    terraform: Option<Terraform>,
}

impl Others {
    fn find(trivy: Option<PathBuf>) -> Result<Self, ScannerError> {
        let with_version = |trivy: Trivy| trivy.version().map(|version| (trivy, version));
        Ok(Self { trivy: trivy.map(Trivy::new).map(with_version).transpose()?, terraform: Terraform::find() })
    }
}

impl<'a> Engine<'a> {
    /// Starts everything: the model loads and the scanner imports while the caller reads what else there is. `scanned` is
    /// the folder whose own knowledge is read, if it is one project's.
    ///
    /// # Errors
    /// When prompts, schemas, model or scanner are not there or not what they should be.
    pub fn start(options: &'a Options, scanned: Option<&Path>, cache: &Cache) -> Result<Self, Failure> {
        let prompts = match &options.prompts {
            Some(dir) => Prompts::load(dir)?,
            None => Prompts::embedded()?,
        };
        let knowledge = Arc::new(Knowledge::load(&options.knowledge, scanned)?);
        let schemas = Schemas::open(&cache.schemas_dir())?;
        let writer = start_loading(options, cache)?;
        let checkov = cache.checkov_python().map(|python| CheckovWorker::start(&python)).transpose()?;
        let trivy = cache.trivy();
        let others = std::thread::spawn(move || Others::find(trivy));
        Ok(Self { options, prompts, knowledge, schemas, writer, checkov, others })
    }

    /// Runs it. Gives the rulebook along, for those who look into the run.
    ///
    /// # Errors
    /// What ends a run.
    pub fn run(mut self, job: Job<'_>, cache: &Cache, progress: &Progress) -> Result<(RunReport, Rulebook), Failure> {
        let options = self.options;
        let rulebook = rulebook(cache, self.checkov.as_mut(), &self.schemas, progress)?;
        let others = self.others.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let versions = versions(self.checkov.as_mut(), &others)?;
        let (trivy, terraform) = (others.trivy.map(|(trivy, _)| trivy), others.terraform);
        let inputs = Inputs {
            job,
            wishes: &rulebook.wishes,
            house: rulebook.house.clone(),
            knowledge: self.knowledge.clone(),
            companion_types: &rulebook.companion_types,
            prompts: &self.prompts,
            versions,
        };
        let tools = Tools {
            checkov: self.checkov,
            trivy,
            terraform,
            schemas: self.schemas,
            plan: options.plan,
            knowledge: self.knowledge.clone(),
        };
        let level = Effort::of(options.effort);
        let effort = Effort {
            candidates: options.candidates.map_or(level.candidates, NonZeroUsize::get),
            seed: options.seed,
            temperature: options.temperature,
            ..level
        };
        let report = match self.writer {
            Loading::Replay(mut replay) => engine::run(inputs, tools, &mut replay, &effort, progress)?,
            Loading::None => engine::run(inputs, tools, &mut Forced, &effort, progress)?,
            Loading::Model(file, handle) => {
                let model = wait_for_model(handle, progress)?;
                let identity = ModelIdentity {
                    name: file.name,
                    sha256: file.sha256,
                    architecture: model.config().architecture.name().to_owned(),
                    device: model::device_name(model.device()),
                };
                let usual = if model.is_packed() { 4 } else { 1 };
                let lanes = options.parallel.map_or(usual, NonZeroUsize::get);
                let prefixes = Prefixes::new(cache.prefixes_dir(), identity.sha256.clone());
                let writer = LocalModel::new(&model, identity, lanes);
                let mut writer = writer.opening(self.prompts.opening(), prefixes)?;
                engine::run(inputs, tools, &mut writer as &mut dyn Writer, &effort, progress)?
            }
        };
        Ok((report, rulebook))
    }
}

/// Where answers come from, on its way.
enum Loading {
    Model(Box<ModelFile>, JoinHandle<Result<Model, ModelError>>),
    Replay(Replay),
    /// There is no model.
    None,
}

fn start_loading(options: &Options, cache: &Cache) -> Result<Loading, Failure> {
    if let Some(log) = &options.replay {
        return Ok(Loading::Replay(Replay::open(log)?));
    }
    if options.model == NO_MODEL {
        return Ok(Loading::None);
    }
    let file = setup::find_model(cache, &options.model)?;
    let device = model::parse_device(&options.device)?;
    let path = file.path.clone();
    Ok(Loading::Model(Box::new(file), std::thread::spawn(move || Model::load(&path, &device))))
}

fn wait_for_model(handle: JoinHandle<Result<Model, ModelError>>, progress: &Progress) -> Result<Model, Failure> {
    let task = progress.task("loading the model", 0, Unit::Items);
    task.message("");
    match handle.join() {
        Ok(model) => Ok(model?),
        Err(_) => Err(Failure::new(ExitStatus::Internal, "the thread that loads the model panicked")),
    }
}

/// What the scanner says of its rules.
#[derive(Default)]
pub struct Rulebook {
    /// What each rule wants, by its id.
    pub wishes: BTreeMap<String, Wish>,
    house: Arc<House>,
    /// The resource types that it knows.
    companion_types: BTreeSet<String>,
}

fn rulebook(
    cache: &Cache,
    checkov: Option<&mut CheckovWorker>,
    schemas: &Schemas,
    progress: &Progress,
) -> Result<Rulebook, Failure> {
    let Some(worker) = checkov else { return Ok(Rulebook::default()) };
    // Some seconds, the first time.
    let task = progress.task("asking the rules what they want", 0, Unit::Items);
    task.message("");
    let version = worker.version()?.to_owned();
    let dir = cache.wishes_dir();
    let wishes = rules::wishes(&dir, &version, worker)?;
    let types = || {
        let named = wishes.values().filter(|wish| wish.graph.is_some()).flat_map(Wish::types_named);
        let types: BTreeSet<&str> = named.chain(grammar::SECURING).collect();
        let schema = |ty: &str| Some((ty.to_owned(), schemas.any(Kind::Resource, ty)?.0.with_lifecycle()));
        types.into_iter().filter_map(schema).collect()
    };
    // What the schemas are of, and how rules are explored, are this program's and the packs'.
    let packs = schemas.packs().map(|(source, pack)| format!("{source:?} {:?}", pack.head()));
    let named = crate::digest::sha256_hex(packs.chain([checkov::WORKER.to_owned()]).collect::<String>().as_bytes());
    let house = rules::house(&dir, (&version, &named[..12]), &wishes, types, worker)?;
    Ok(Rulebook { house: Arc::new(house), companion_types: worker.resource_types()?, wishes })
}

fn versions(checkov: Option<&mut CheckovWorker>, others: &Others) -> Result<Vec<ToolVersion>, Failure> {
    let tool = |name: &str, version: Option<String>| ToolVersion { name: name.to_owned(), version };
    let checkov = checkov.map(|worker| worker.version().map(str::to_owned)).transpose()?;
    let terraform = others.terraform.as_ref();
    Ok(vec![
        tool("caulk", Some(env!("CARGO_PKG_VERSION").to_owned())),
        tool("checkov", checkov),
        tool("trivy", others.trivy.as_ref().map(|(_, version)| version.clone())),
        tool(terraform.map_or("terraform", Terraform::name), terraform.map(|it| it.version().to_owned())),
    ])
}
