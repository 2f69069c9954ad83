//! Version 1 of the bundle's JSON files and of `--format json`. Fields may be added; what is there keeps its name and
//! meaning. Times in seconds.

use serde::{Deserialize, Serialize};

use crate::seal::Seal;

/// The number that stands in `version`.
pub const VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// What the run found out.
    #[serde(flatten)]
    pub run: Run,
    /// The patch of all fixes together; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_patch: Option<String>,
    /// The scanned root relative to the bundle's folder, when it lies beside or around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_from_bundle: Option<String>,
    /// The bundle's other files, by path.
    pub files: Vec<File>,
}

/// A run: also what `--format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// caulk's version.
    pub caulk: String,
    /// Name of the scanned folder, without the path to it.
    pub root: String,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Wall time.
    pub seconds: f64,
    /// Seed of the sampling.
    pub seed: u64,
    /// What held the run to unix sockets, and to writes where they have to be, or why nothing did; earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// SHA-256 over the prompt files.
    pub prompts_sha256: String,
    /// Tools that took part.
    pub tools: Vec<Tool>,
    /// The model; `null` when no finding needed it.
    pub model: Option<Model>,
    /// Counts over `findings`.
    pub counts: Counts,
    /// Every finding in scope.
    pub findings: Vec<Finding>,
    /// The proven fixes, in the order of their numbers.
    pub fixes: Vec<Fix>,
    /// Files that do not parse; their findings are skipped.
    pub unreadable: Vec<Unreadable>,
    /// Findings that do not belong to this tree.
    pub refused: Vec<Refused>,
}

/// A tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `checkov`, `trivy`, `terraform`.
    pub name: String,
    /// `null` when it was not there.
    pub version: Option<String>,
}

/// The model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// GGUF architecture.
    pub architecture: String,
    /// What it ran on; `replay` where its answers came from an audit log.
    pub device: String,
}

/// Counts of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub findings: usize,
    /// Closed by a proven fix.
    pub fixed: usize,
    /// Of these, by safe fixes.
    pub safe: usize,
    /// Tried without success.
    pub unfixed: usize,
    /// For a person to decide; bundles written before there was this outcome have none.
    #[serde(default)]
    pub abstained: usize,
    /// Not tried.
    pub skipped: usize,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A proven fix closes it.
    Fixed,
    /// No proven fix was found.
    Unfixed,
    /// Only a person can decide what to do.
    Abstained,
    /// It was not tried.
    Skipped,
}

/// A finding and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable over runs.
    pub id: String,
    /// The scanner.
    pub tool: String,
    /// The rule's id.
    pub rule: String,
    /// The rule's title.
    pub message: String,
    /// `info`, `low`, `medium`, `high`, `critical`.
    pub severity: Option<String>,
    /// Path relative to the root.
    pub file: String,
    /// First line, from 1; 0 when the report names none.
    pub start_line: usize,
    /// Last line.
    pub end_line: usize,
    /// The resource.
    pub address: Option<String>,
    /// The block of the source that was looked at.
    pub target: Option<String>,
    /// Address of the rule's documentation.
    pub guideline: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The fix's number, when fixed.
    pub fix: Option<usize>,
    /// Why not, when not fixed.
    pub reason: Option<String>,
    /// The tries; prompts and answers are in `audit.jsonl`.
    pub attempts: Vec<Attempt>,
    /// Wall time.
    pub seconds: f64,
}

/// A try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: usize,
    /// `null` for greedy.
    pub seed: Option<u64>,
    /// SHA-256 of the prompt.
    pub prompt_sha256: String,
    /// SHA-256 of the grammars, one for each block of the answer.
    pub grammars_sha256: Vec<String>,
    /// Tokens of the answer.
    pub answer_tokens: usize,
    /// What the gates said.
    pub verdicts: Vec<Verdict>,
}

/// A gate's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The gate.
    pub gate: String,
    /// `pass`, `reject`, `unavailable`.
    pub verdict: String,
    /// Why it refuses or could not run; by what a pass judged, or what it does not cover.
    pub notes: Vec<String>,
    /// Wall time.
    pub seconds: f64,
}

/// How freely a fix may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applicability {
    /// All gates ran and passed.
    Safe,
    /// A person should look at it.
    Review,
}

/// A proven fix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// From 1.
    pub number: usize,
    /// Ids of the findings that it closes.
    pub findings: Vec<String>,
    /// Its patch within the bundle.
    pub patch: String,
    /// How freely it may be applied.
    pub applicability: Applicability,
    /// Why a person should look at it.
    pub review_reasons: Vec<String>,
    /// Fixes whose changes its patch holds too.
    pub includes: Vec<usize>,
    /// What proves it.
    pub verdicts: Vec<Verdict>,
}

/// A file that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Path relative to the root.
    pub file: String,
    /// From 1; 0 when it could not be read at all.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The parser's message.
    pub message: String,
}

/// A finding that does not belong to this tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The rule.
    pub rule: String,
    /// The path as the report names it.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Path within the bundle.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// `changes.json`: the fixes as byte edits on the files as scanned, for `caulk apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// [`VERSION`].
    pub version: u32,
    /// By fix, in the order of their numbers.
    pub fixes: Vec<Vec<FileEdits>>,
    /// All fixes together.
    pub all: Vec<FileEdits>,
}

/// The edits of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEdits {
    /// Path relative to the root.
    pub file: String,
    /// SHA-256 of the text that the offsets belong to.
    pub base_sha256: String,
    /// In order, not overlapping.
    pub edits: Vec<Edit>,
}

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// First byte that is replaced.
    pub start: usize,
    /// Byte behind the last one.
    pub end: usize,
    /// What stands there instead.
    pub insert: String,
}
