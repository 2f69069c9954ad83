//! `caulk bench`: how fast a model is on this machine.

use candle_core::Device;
use serde::Serialize;

use crate::cache::Cache;
use crate::engine::Job;
use crate::exit::{ExitStatus, Failure};
use crate::model::{self, Model, Speeds};
use crate::output::{self, stdout::print, style::Style};
use crate::progress::{Progress, Unit};
use crate::scanner::checkov::ScanRequest;
use crate::setup;
use crate::source::RelPath;

use super::demo;
use super::engine::{Engine, Options};
use super::eval::Format;

/// Arguments of `caulk bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model: a name of `caulk model list`, or a GGUF file
    #[arg(long, value_name = "NAME|FILE", default_value = setup::DEFAULT_MODEL)]
    pub model: String,
    /// Where the model runs: cpu, cuda:N, metal
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads of the CPU's kernels [default: as many as there are cores]; what they do not run, candle does, on as many as
    /// `CANDLE_NUM_THREADS` says
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Rounds that the median of each figure is taken of
    #[arg(long, value_name = "N", default_value = "5")]
    pub rounds: std::num::NonZeroUsize,
    /// Leave the bundled module out
    #[arg(long)]
    pub model_only: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The model's file.
    pub model: String,
    #[serde(flatten)]
    pub speeds: Speeds,
    /// The bundled module; `None` where it was left out, or there is no scanner.
    pub end_to_end: Option<EndToEnd>,
}

/// A run over the bundled module.
#[derive(Debug, Serialize)]
pub struct EndToEnd {
    pub findings: usize,
    pub fixed: usize,
    /// Of the whole run, without the model's loading.
    pub seconds: f64,
}

impl Measured {
    /// What is told, and the figure.
    fn rows(&self) -> Vec<[String; 2]> {
        let Speeds {
            device,
            kernels,
            threads,
            prefill,
            decode,
            batch,
            forward_ms,
            mask_us,
            load_s,
            first_token_s,
            peak_bytes,
            bandwidth_gb_s,
            bandwidth_share,
        } = &self.speeds;
        let row = |what: String, figure: String| [what, figure];
        let mut rows = vec![row("model".into(), self.model.clone())];
        rows.push(row(
            "device".into(),
            format!("{device}, {}, {kernels}", super::counted(*threads, "thread", "threads")),
        ));
        rows.extend(
            prefill.iter().map(|(n, speed)| row(format!("prompt of {n} tokens"), format!("{speed:.1} tokens/s"))),
        );
        rows.push(row("answer".into(), format!("{decode:.1} tokens/s")));
        rows.extend(batch.iter().map(|(n, speed)| row(format!("{n} answers at once"), format!("{speed:.1} tokens/s"))));
        rows.extend(
            forward_ms.iter().map(|(n, ms)| {
                row(format!("pass over {}", super::counted(*n, "token", "tokens")), format!("{ms:.1} ms"))
            }),
        );
        rows.push(row("which tokens may come next".into(), format!("{mask_us:.0} µs")));
        rows.push(row("loading".into(), format!("{load_s:.2} s")));
        rows.extend(first_token_s.map(|seconds| row("loading, to a first token".into(), format!("{seconds:.2} s"))));
        rows.extend(peak_bytes.map(|bytes| row("most memory".into(), format!("{} MiB", bytes >> 20))));
        rows.push(row("reading from memory".into(), format!("{bandwidth_gb_s:.1} GB/s")));
        rows.extend(
            bandwidth_share.map(|share| row("of which an answer uses".into(), format!("{:.0} %", share * 100.0))),
        );
        rows.extend(self.end_to_end.iter().map(|run| {
            let EndToEnd { findings, fixed, seconds } = run;
            row("bundled module".into(), format!("{fixed} of {findings} findings fixed in {seconds:.1} s"))
        }));
        rows
    }
}

/// Runs it.
///
/// # Errors
/// When there is no such model or device, or a computation fails.
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
        pool.map_err(|e| Failure::new(ExitStatus::Internal, format!("cannot start {threads} threads: {e}")))?;
    }
    let file = setup::find_model(cache, &args.model)?;
    let device = model::parse_device(&args.device)?;
    let speeds = speeds(args, &file.path, &device, progress)?;
    let end_to_end = if args.model_only { None } else { end_to_end(args, cache, progress)? };
    let measured = Measured { model: file.name, speeds, end_to_end };
    let text = match args.format {
        Format::Text => output::table::figures(&measured.rows(), Style::stdout()),
        Format::Json => serde_json::to_string_pretty(&measured)
            .map(|text| text + "\n")
            .map_err(|e| Failure::new(ExitStatus::Internal, e.to_string()))?,
    };
    Ok(print(&text)?.or(ExitStatus::Clean))
}

fn speeds(args: &Args, file: &std::path::Path, device: &Device, progress: &Progress) -> Result<Speeds, Failure> {
    let task = progress.task("measuring", 0, Unit::Items);
    task.message("loading the model");
    let model = Model::load(file, device)?;
    Ok(model.speeds(args.rounds.get(), &mut |step| task.message(step))?)
}

/// The bundled module, all of it; `None` where there is no scanner.
fn end_to_end(args: &Args, cache: &Cache, progress: &Progress) -> Result<Option<EndToEnd>, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(ExitStatus::Internal, format!("cannot write the bundled module: {e}"))
            .hint("is the temporary folder full? TMPDIR names another; `--model-only` needs none")
    };
    let folder = tempfile::tempdir().map_err(fail)?;
    demo::write(folder.path()).map_err(fail)?;
    let mut options = Options::of(&args.model);
    options.device.clone_from(&args.device);
    let mut engine = Engine::start(&options, None, cache)?;
    let Some(checkov) = engine.checkov.as_mut() else {
        progress.warning("Checkov is not set up (`caulk setup`): the bundled module is left out");
        return Ok(None);
    };
    let tree = super::load(folder.path(), &[RelPath::default()])?;
    let findings = checkov.scan(&ScanRequest::all(folder.path()))?.failed;
    let job = Job {
        tree,
        scope: vec![RelPath::default()],
        excluded: &|_| false,
        findings,
        unscanned: Vec::new(),
        refused: Vec::new(),
    };
    let (report, _) = engine.run(job, cache, progress)?;
    let counts = report.counts();
    Ok(Some(EndToEnd { findings: counts.findings, fixed: counts.fixed, seconds: report.seconds }))
}
