//! `caulk fix`: the main job. Findings in, a bundle of proven patches out.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::{Args as _, FromArgMatches};

use crate::cache::Cache;
use crate::engine::{self, Effort, Forced, Inputs, LocalModel, Replay, Writer};
use crate::exit::{ExitStatus, Failure};
use crate::finding::{Finding, Tool};
use crate::grammar;
use crate::model::{self, Model, ModelError};
use crate::outcome::{ModelIdentity, Refused, RunReport, ToolVersion};
use crate::output::{self, stdout::print, style::Style};
use crate::progress::{Progress, Unit};
use crate::prompt::Prompts;
use crate::report;
use crate::report::filter::Filter;
use crate::rules::{self, House, Wish};
use crate::scanner::checkov::{CheckovWorker, ScanRequest};
use crate::scanner::trivy::Trivy;
use crate::scanner::{self, ScannerError};
use crate::schema::{Kind, Schemas};
use crate::setup::{self, ModelFile};
use crate::source::RelPath;
use crate::validate::{Terraform, Tools};

/// Arguments of `caulk fix`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders to fix; patches are relative to the folder, or to the deepest one that holds them all
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Take the findings from a report (SARIF, or JSON of Checkov, Trivy, tfsec, Terrascan, KICS) instead of a scan; may
    /// be repeated
    #[arg(long, value_name = "FILE")]
    pub report: Vec<PathBuf>,
    #[command(flatten)]
    pub filter: Filter,
    /// The model: a name of `caulk model list`, or a GGUF file; `none` writes only what the rules leave no choice about
    #[arg(long, value_name = "NAME|FILE", default_value = setup::DEFAULT_MODEL)]
    pub model: String,
    /// Where the model runs: cpu, cuda:N, metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Folder for the bundle; one that is there must be a bundle, and is replaced
    #[arg(long, value_name = "DIR", default_value = "caulk-out")]
    pub out: PathBuf,
    /// Also write the fixes to the files
    #[arg(long)]
    pub apply: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also print the patches, below the table
    #[arg(long)]
    pub diff: bool,
    /// Answers to try per finding, at most
    #[arg(long, value_name = "K", default_value = "3")]
    pub candidates: NonZeroUsize,
    /// Seed of the sampled answers: same seed, same answers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Sample every answer at this temperature; without, the first ones are the likeliest
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f64>,
    /// Also have terraform plan in initialised modules, with your own settings, which may call your cloud; a fix that would
    /// replace or destroy a resource is for review then
    #[arg(long)]
    pub plan: bool,
    /// Folder of prompts to use instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,
    /// Take the answers from the audit.jsonl of an earlier run instead of the model, and prove them again
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
}

impl Args {
    /// The defaults of the command line, for one path.
    pub fn of(path: PathBuf) -> Self {
        let command = Self::augment_args(clap::Command::new("fix").no_binary_name(true));
        let matches = command.get_matches_from([path]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    Text,
    /// The run as JSON, as in the bundle's manifest.
    Json,
    /// SARIF 2.1.0 with fixes.
    Sarif,
}

/// The name that stands for no model.
const NO_MODEL: &str = "none";

fn temperature(text: &str) -> Result<f64, String> {
    let temperature: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    (temperature > 0.0 && temperature <= 10.0).then_some(temperature).ok_or("it must be above 0, and at most 10".into())
}

/// Runs it.
///
/// # Errors
/// What ends it early; nothing is written then.
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    let (root, scope) = scanner::scope(&args.paths)?;
    let prompts = match &args.prompts {
        Some(dir) => Prompts::load(dir)?,
        None => Prompts::embedded()?,
    };
    output::bundle::check_target(&args.out)?;
    // The model loads and the scanner imports while the rest is read.
    let schemas = Schemas::open(&cache.schemas_dir())?;
    let loading = start_loading(args, cache)?;
    let mut checkov = cache.checkov_python().map(|python| CheckovWorker::start(&python)).transpose()?;
    // All of the root: what is in scope may refer to, or be called from, what is not.
    let tree = super::load(&root, &[RelPath::default()])?;
    let found = findings(args, &root, &scope, checkov.as_mut(), progress)?;
    let Rulebook { wishes, house, companion_types } = rulebook(cache, checkov.as_mut(), &schemas)?;
    let trivy = cache.trivy().map(Trivy::new);
    let terraform = Terraform::find();
    let versions = versions(checkov.as_mut(), trivy.as_ref(), terraform.as_ref())?;
    let inputs = Inputs {
        tree,
        scope,
        excluded: &|path| args.filter.excludes(path),
        findings: found.findings,
        unscanned: found.unscanned,
        refused: found.refused,
        wishes: &wishes,
        house: Arc::new(house),
        companion_types: &companion_types,
        prompts: &prompts,
        versions,
    };
    let tools = Tools { checkov, trivy, terraform, schemas, plan: args.plan };
    let effort = Effort {
        candidates: args.candidates.get(),
        seed: args.seed,
        temperature: args.temperature,
        ..Effort::default()
    };
    let report = match loading {
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
            let mut writer = LocalModel::new(&model, identity);
            engine::run(inputs, tools, &mut writer as &mut dyn Writer, &effort, progress)?
        }
    };
    write_out(args, &report, progress)
}

/// Where answers come from, on its way.
enum Loading {
    Model(Box<ModelFile>, JoinHandle<Result<Model, ModelError>>),
    Replay(Replay),
    /// There is no model.
    None,
}

fn start_loading(args: &Args, cache: &Cache) -> Result<Loading, Failure> {
    if let Some(log) = &args.replay {
        return Ok(Loading::Replay(Replay::open(log)?));
    }
    if args.model == NO_MODEL {
        return Ok(Loading::None);
    }
    let file = setup::find_model(cache, &args.model)?;
    let device = model::parse_device(&args.device)?;
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

/// What is to be done.
struct Found {
    findings: Vec<Finding>,
    /// Files that the scanner could not parse.
    unscanned: Vec<RelPath>,
    refused: Vec<Refused>,
}

/// The findings in scope, from the reports or from a scan.
fn findings(
    args: &Args,
    root: &Path,
    scope: &[RelPath],
    checkov: Option<&mut CheckovWorker>,
    progress: &Progress,
) -> Result<Found, Failure> {
    let (findings, unscanned, refused) = if args.report.is_empty() {
        let worker = checkov.ok_or_else(|| ScannerError::Missing { tool: Tool::Checkov, why: String::new() })?;
        let task = progress.task("scanning", 0, Unit::Items);
        task.message(&root.display().to_string());
        let scan = worker.scan(&ScanRequest::all(root))?.within(scope);
        let unscanned = scan.parse_errors.into_iter().filter(|file| !args.filter.excludes(file)).collect();
        (scan.failed, unscanned, Vec::new())
    } else {
        let report = report::read_all(&args.report, root)?;
        (report.findings, Vec::new(), report.refused)
    };
    let covered = findings.into_iter().filter(|finding| scanner::covers(scope, &finding.location.file));
    let findings: Vec<Finding> = covered.collect();
    for line in args.filter.idle(&findings) {
        progress.line(&line);
    }
    Ok(Found { findings: args.filter.apply(findings), unscanned, refused })
}

/// What the scanner says of its rules.
#[derive(Default)]
struct Rulebook {
    wishes: BTreeMap<String, Wish>,
    house: House,
    /// The resource types that it knows.
    companion_types: BTreeSet<String>,
}

fn rulebook(cache: &Cache, checkov: Option<&mut CheckovWorker>, schemas: &Schemas) -> Result<Rulebook, Failure> {
    let Some(worker) = checkov else { return Ok(Rulebook::default()) };
    let version = worker.version()?.to_owned();
    let dir = cache.wishes_dir();
    let wishes = rules::wishes(&dir, &version, worker)?;
    let types = || {
        let named = wishes.values().filter(|wish| wish.graph.is_some()).flat_map(Wish::types_named);
        let types: BTreeSet<&str> = named.chain(grammar::SECURING).collect();
        let schema = |ty: &str| Some((ty.to_owned(), schemas.get(Kind::Resource, ty)?.0.with_lifecycle()));
        types.into_iter().filter_map(schema).collect()
    };
    let house = rules::house(&dir, &version, &wishes, types, worker)?;
    Ok(Rulebook { house, companion_types: worker.resource_types()?, wishes })
}

fn versions(
    checkov: Option<&mut CheckovWorker>,
    trivy: Option<&Trivy>,
    terraform: Option<&Terraform>,
) -> Result<Vec<ToolVersion>, Failure> {
    let tool = |name: &str, version: Option<String>| ToolVersion { name: name.to_owned(), version };
    let checkov = checkov.map(|worker| worker.version().map(str::to_owned)).transpose()?;
    let trivy = trivy.map(Trivy::version).transpose()?;
    let name = terraform.map_or("terraform", Terraform::name);
    Ok(vec![
        tool("caulk", Some(env!("CARGO_PKG_VERSION").to_owned())),
        tool("checkov", checkov),
        tool("trivy", trivy),
        tool(name, terraform.map(|terraform| terraform.version().to_owned())),
    ])
}

/// Writes the bundle, prints the run, and applies it if asked to.
fn write_out(args: &Args, report: &RunReport, progress: &Progress) -> Result<ExitStatus, Failure> {
    output::bundle::write(report, &args.out)?;
    let style = Style::stdout();
    let text = match args.format {
        Format::Text => output::table::run(report, style),
        Format::Json => output::json::run(report)?,
        Format::Sarif => output::sarif::run(report)?,
    };
    let mut printed = print(&text)?;
    if args.diff && args.format == Format::Text {
        printed = print(&output::diff::run(report, style)?)?;
    }
    if args.apply {
        for file in output::apply::write(&report.root, &report.all)? {
            progress.line(&format!("written: {file}"));
        }
    }
    let out = args.out.display();
    progress.line(&format!(
        "bundle: {out} (`caulk bundle show {out} --diff` shows it, `caulk apply {out}` writes the fixes)"
    ));
    Ok(printed.or(report.exit_status()))
}
