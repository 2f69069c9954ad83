//! `caulk eval`: runs cases, findings that are known, through the engine and counts how far they came.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::engine::Job;
use crate::eval::{self, Case, Evidence, Funnel, Row};
use crate::exit::{ExitStatus, Failure};
use crate::finding::Tool;
use crate::output::{self, stdout::print, style::Style};
use crate::progress::{Progress, Unit};
use crate::scanner::checkov::{CheckovWorker, ScanRequest};
use crate::scanner::{Scan, ScannerError};
use crate::schema::Schemas;
use crate::source::{RelPath, SourceTree};
use crate::validate::{Scratch, Unit as Module};

use super::engine::{Engine, Options};

/// Arguments of `caulk eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cases, one JSON object a line: {"case": FOLDER, "rule": ID, "resource": ADDRESS}
    pub list: PathBuf,
    /// Folder that holds the cases' folders [default: the list's name without its extension]
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
    #[command(flatten)]
    pub engine: Options,
    #[command(flatten)]
    pub seal: super::seal::Options,
    /// Folder for the bundle; one that is there must be a bundle, and is replaced
    #[arg(long, value_name = "DIR", default_value = "caulk-eval")]
    pub out: PathBuf,
    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables.
    Text,
    /// One JSON object; of cases, with a row for each.
    Json,
}

/// Runs it. Cases that are not fixed are no failure of it.
///
/// # Errors
/// What ends the run early. The bundle is written before the cases are judged.
pub fn run(args: &Args, cache: &Cache, progress: &Progress) -> Result<ExitStatus, Failure> {
    let cases = Case::read(&args.list)?;
    let root = args.cases.clone().unwrap_or_else(|| args.list.with_extension(""));
    if let Some(case) = cases.iter().find(|case| !root.join(&case.case).is_dir()) {
        let what = format!("{}: there is no folder {} in {}", args.list.display(), case.case, root.display());
        return Err(
            Failure::new(ExitStatus::Input, what).hint("--cases names the folder that holds the cases' folders")
        );
    }
    output::bundle::check_target(&args.out)?;
    let _closed = args.seal.of_run(args.engine.plan)?.close(&[cache.root(), &output::bundle::beside(&args.out)?])?;
    let mut engine = Engine::start(&args.engine, None, cache)?;
    let tree = super::load(&root, &[RelPath::default()])?;
    let worker = engine.checkov.as_mut().ok_or_else(missing)?;
    let before = scan(worker, &root, "scanning", progress)?;
    let findings = before.failed.iter().filter(|finding| cases.iter().any(|case| case.is_about(finding)));
    for case in cases.iter().filter(|case| !before.failed.iter().any(|finding| case.is_about(finding))) {
        progress
            .line(&format!("{}: {} does not fail on {}; counted as not fixed", case.case, case.rule, case.resource));
    }
    let job = Job {
        tree: tree.clone(),
        scope: vec![RelPath::default()],
        excluded: &|_| false,
        findings: findings.cloned().collect(),
        unscanned: Vec::new(),
        refused: Vec::new(),
    };
    let (report, rulebook) = engine.run(job, cache, progress)?;
    output::bundle::write(&report, &args.out)?;

    let after = report
        .all
        .apply(&tree)
        .map_err(|e| Failure::new(ExitStatus::Internal, format!("the changes do not apply to their own base: {e}")))?;
    // By a scanner that had no part in the run.
    let python = cache.checkov_python().ok_or_else(missing)?;
    let mut fresh = CheckovWorker::start(&python)?;
    let before = scan(&mut fresh, &root, "scanning the cases anew", progress)?;
    let scanned = scan_changed(&tree, &after, &mut fresh, progress)?;
    let evidence = Evidence {
        before: &tree,
        after: &after,
        scans: (&before, &scanned),
        outcomes: &report.outcomes,
        wishes: &rulebook.wishes,
        schemas: &Schemas::open(&cache.schemas_dir())?,
    };
    let rows: Vec<Row> = cases.iter().map(|case| evidence.judge(case)).collect();
    let text = match args.format {
        Format::Text => tables(&rows, Style::stdout()),
        Format::Json => json(rows, report.seconds)?,
    };
    Ok(print(&text)?.or(ExitStatus::Clean))
}

fn missing() -> Failure {
    ScannerError::Missing { tool: Tool::Checkov, why: String::new() }.into()
}

fn scan(worker: &mut CheckovWorker, root: &Path, what: &str, progress: &Progress) -> Result<Scan, Failure> {
    let task = progress.task(what, 0, Unit::Items);
    task.message(&root.display().to_string());
    Ok(worker.scan(&ScanRequest::all(root))?)
}

/// Scans a copy of the folder that shows a changed tree.
fn scan_changed(
    tree: &SourceTree,
    after: &SourceTree,
    worker: &mut CheckovWorker,
    progress: &Progress,
) -> Result<Scan, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(ExitStatus::Internal, format!("cannot write the changed cases: {e}"))
            .hint("is the temporary folder full? TMPDIR names another")
    };
    let unit = Module { dir: RelPath::default(), folders: tree.folders() };
    let scratch = Scratch::copy(tree, &unit).map_err(fail)?;
    scratch.show(after, tree).map_err(fail)?;
    scan(worker, scratch.root(), "scanning what came of them", progress)
}

fn tables(rows: &[Row], style: Style) -> String {
    let led = |row: &Row| row.led.map_or_else(|| "nothing".to_owned(), |led| format!("{led:?}").to_lowercase());
    let parts = [
        ("provider", eval::by(rows, |row| row.provider.clone())),
        ("rules", eval::by(rows, |row| eval::family(&row.rule))),
        ("rule tells", eval::by(rows, |row| row.told.to_owned())),
        ("answer held to", eval::by(rows, led)),
        ("", BTreeMap::from([("all".to_owned(), Funnel::over(rows))])),
    ];
    let mut text: String =
        parts.iter().map(|(name, funnels)| output::table::funnels(name, funnels, style) + "\n").collect();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for cause in rows.iter().filter_map(Row::cause) {
        *causes.entry(cause).or_default() += 1;
    }
    let mut causes: Vec<(String, usize)> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(*count), cause.clone()));
    for (cause, count) in causes {
        text.push_str(&format!("{count:>5}  {cause}\n"));
    }
    text
}

fn json(cases: Vec<Row>, seconds: f64) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Printed {
        total: Funnel,
        precision: Option<f64>,
        providers: BTreeMap<String, Funnel>,
        seconds: f64,
        cases: Vec<Row>,
    }
    let printed = Printed {
        total: Funnel::over(&cases),
        precision: Funnel::over(&cases).precision(),
        providers: eval::by(&cases, |row| row.provider.clone()),
        seconds,
        cases,
    };
    let text = serde_json::to_string_pretty(&printed);
    text.map(|text| text + "\n").map_err(|e| Failure::new(ExitStatus::Internal, e.to_string()))
}
