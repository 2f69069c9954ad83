//! The loop over findings: locate, ask, prove, try again, settle.
//!
//! In: a tree, findings, wishes, prompts, a [`Writer`] and the proving tools. Out: a [`RunReport`].

mod abstain;
mod ahead;
mod ask;
mod begin;
mod locate;
mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::exit::{ExitStatus, Failure};
use crate::finding::{Finding, Tool};
use crate::interrupt::{self, Interrupted};
use crate::knowledge::Knowledge;
use crate::outcome::{Attempt, Outcome, Refused, Resolution, RunReport, ToolVersion};
use crate::progress::{Progress, Task, Unit};
use crate::prompt::{PromptError, Prompts};
use crate::rules::{House, Wish};
use crate::scanner::ScannerError;
use crate::source::{RelPath, SourceError, SourceTree};
use crate::validate::{Case, ProofError, Prover, Tools, Withdrawn};

use ahead::Ahead;
use ask::Try;
use begin::{Begun, begin, what_was_uncovered_wants};

pub use locate::{Located, locate};
pub use writer::{Forced, LocalModel, Replay, WriteError, WriteRequest, Writer, Written};

/// How often an answer that makes other rules fail is tried again with what these want.
const MORE: usize = 3;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Free answers per finding, at most, where nobody knows what the rule wants. The first is greedy; the later ones are told
    /// why the earlier ones were refused. After answers that were held to what the rule is known to want, half as many.
    pub candidates: usize,
    /// Seed of the sampled ones.
    pub seed: u64,
    /// Samples every answer at this temperature, the first ones too.
    pub temperature: Option<f64>,
    /// Tokens that may be chosen for an answer, at most; forced ones do not count. A free answer gets three fifths of them: one
    /// that goes on for longer is seldom any good.
    pub answer_tokens: usize,
    /// Tokens of a finding's answers: when so many were written, no other is tried.
    pub finding_tokens: usize,
    /// Tokens that the blocks around the target may take in the prompt, at most.
    pub context_tokens: usize,
    /// Passes over the findings, at most: after the first, those whose fix was taken back are tried again.
    pub rounds: usize,
}

/// How hard to try, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// One free answer a finding: many findings in little time
    Low,
    /// Two of them
    #[default]
    Normal,
    /// Six of them, and room for long ones
    High,
}

impl Effort {
    /// What a level stands for, without a seed. In tokens, not in seconds: a clock would make the outcome depend on the machine.
    pub fn of(level: Level) -> Self {
        let (candidates, answer_tokens, finding_tokens) = match level {
            Level::Low => (1, 256, 128),
            Level::Normal => (2, 320, 320),
            Level::High => (6, 640, 1920),
        };
        Self { candidates, seed: 0, temperature: None, answer_tokens, finding_tokens, context_tokens: 768, rounds: 2 }
    }
}

/// What a run is about.
pub struct Job<'a> {
    /// The tree as scanned.
    pub tree: SourceTree,
    /// The files or folders that were asked for; the root is the empty path.
    pub scope: Vec<RelPath>,
    /// Files in scope that are left out all the same.
    pub excluded: &'a dyn Fn(&RelPath) -> bool,
    /// The findings in scope.
    pub findings: Vec<Finding>,
    /// Files that the scanner could not parse.
    pub unscanned: Vec<RelPath>,
    /// Findings that were refused when the reports were read.
    pub refused: Vec<Refused>,
}

/// What a run works on, and what it knows.
pub struct Inputs<'a> {
    /// What it is about.
    pub job: Job<'a>,
    /// What the rules of the scanner want, all of them, by rule id.
    pub wishes: &'a BTreeMap<String, Wish>,
    /// What they want of new blocks.
    pub house: Arc<House>,
    /// What people know.
    pub knowledge: Arc<Knowledge>,
    /// Resource types that companions may have.
    pub companion_types: &'a BTreeSet<String>,
    /// The prompts.
    pub prompts: &'a Prompts,
    /// The tools, with their versions for the manifest.
    pub versions: Vec<ToolVersion>,
}

impl Job<'_> {
    fn is_in_scope(&self, path: &RelPath) -> bool {
        self.scope.iter().any(|scope| path.is_in(scope)) && !(self.excluded)(path)
    }
}

/// What ends a run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A gate could not be asked though its tool is there.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The writer failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A prompt could not be filled.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        // A step that fails because Ctrl-C ended its process is an interruption, whatever it says of itself.
        if interrupt::requested() {
            return Interrupted.into();
        }
        match error {
            EngineError::Proof(ProofError::Scratch(error)) => {
                Failure::new(ExitStatus::Internal, format!("cannot write the scratch copy: {error}"))
                    .hint("is the temporary folder full? TMPDIR names another")
            }
            EngineError::Proof(error) => Failure::new(ExitStatus::Tool, format!("cannot prove fixes: {error}"))
                .hint("`caulk doctor` says what is there and what mends it"),
            EngineError::Write(error) => error.into(),
            EngineError::Prompt(error) => error.into(),
            EngineError::Interrupted(error) => error.into(),
        }
    }
}

/// A finding on its way.
#[derive(Debug)]
struct Work {
    located: Located,
    attempts: Vec<Attempt>,
    /// Why its fix was taken back.
    taken_back: Vec<String>,
    /// What the second scanner found only with that fix.
    uncovered: Vec<String>,
    /// What became of it, where it is not fixed; `None` while it may still be tried.
    ended: Option<Resolution>,
    seconds: f64,
}

/// Runs the whole way over all findings.
///
/// # Errors
/// See [`EngineError`]. What single findings run into is in their outcomes.
pub fn run(
    inputs: Inputs<'_>,
    tools: Tools,
    writer: &mut dyn Writer,
    effort: &Effort,
    progress: &Progress,
) -> Result<RunReport, EngineError> {
    let start = Instant::now();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut work: Vec<Work> =
        locate(&inputs.job.tree, inputs.job.findings.clone()).into_iter().map(Work::new).collect();
    let mut prover = Prover::new(inputs.job.tree.clone(), tools);
    {
        let task = progress.task("fixing", work.len() as u64, Unit::Items);
        for round in 0..effort.rounds.max(1) {
            let mut ahead = Ahead::default();
            for index in 0..work.len() {
                interrupt::check()?;
                if !work[index].is_open() {
                    continue;
                }
                let begun = Instant::now();
                let asked = ahead.look(&work[index..], &inputs, &mut prover, writer, effort)?;
                // What several took together is shared out among them.
                let share = begun.elapsed().as_secs_f64() / asked.len().max(1) as f64;
                for item in work.iter_mut().filter(|item| asked.contains(&item.located.finding.id)) {
                    item.seconds += share;
                }
                let begun = Instant::now();
                let item = &mut work[index];
                one(item, &inputs, &mut prover, writer, effort, &task)?;
                item.seconds += begun.elapsed().as_secs_f64();
                if round == 0 || !item.taken_back.is_empty() {
                    task.line(&item.progress());
                }
                task.inc(u64::from(round == 0));
            }
            task.message("proving all together, and each patch alone");
            if !take_back(&mut work, prover.settle()?) {
                break;
            }
        }
    }
    let cases: Vec<Case> = work.iter().filter_map(|item| item.located.case.clone().ok()).collect();
    let sealed = prover.seal(&cases)?;
    let changed = sealed.all.files.keys();
    let base = changed.filter_map(|path| Some((path.clone(), inputs.job.tree.file(path)?.text().to_owned())));
    let in_scope = inputs.job.tree.files().filter(|(path, _)| inputs.job.is_in_scope(path));
    let unreadable: Vec<SourceError> = in_scope.filter_map(|(_, file)| file.err().cloned()).collect();
    let unscanned =
        inputs.job.unscanned.iter().filter(|path| inputs.job.tree.file(path).is_some()).map(|path| SourceError {
            file: path.clone(),
            line: 0,
            column: 0,
            message: "the scanner cannot parse it; nothing in it was scanned".into(),
        });
    let used = work.iter().any(|item| !item.attempts.is_empty());
    Ok(RunReport {
        root: inputs.job.tree.root().to_owned(),
        tools: inputs.versions,
        model: used.then(|| writer.identity()),
        seal: crate::seal::current(),
        prompts_sha256: crate::digest::sha256_hex(
            format!("{}{}", inputs.prompts.sha256(), inputs.knowledge.sha256()).as_bytes(),
        ),
        seed: effort.seed,
        base: base.collect(),
        unreadable: unreadable.into_iter().chain(unscanned).collect(),
        outcomes: work.into_iter().map(|item| item.outcome(&sealed.closed_by)).collect(),
        fixes: sealed.fixes,
        all: sealed.all,
        refused: inputs.job.refused,
        started,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Tries one finding until an answer is accepted or the candidates are used up.
fn one(
    item: &mut Work,
    inputs: &Inputs<'_>,
    prover: &mut Prover,
    writer: &mut dyn Writer,
    effort: &Effort,
    task: &Task,
) -> Result<(), EngineError> {
    let Ok(case) = item.located.case.clone() else { return Ok(()) };
    task.message(&format!("{} {}", case.finding.rule, case.finding.place()));
    let mut questions = match begin(&case, inputs, prover, &*writer, effort)? {
        Begun::Closed => return Ok(()),
        Begun::Asked(questions) => questions,
        Begun::Ended(ended) => {
            item.ended = Some(ended);
            return Ok(());
        }
    };
    let before = item.attempts.len();
    let mut tries: VecDeque<Try> = ask::tries(&questions, effort, before == 0).into();
    // How often what other rules want may be taken in.
    let mut more = MORE;
    let accepted = item.attempts.iter().rev().find(|attempt| attempt.was_accepted());
    if let (Some(first), Some(accepted)) = (tries.front().copied(), accepted) {
        let wanted = what_was_uncovered_wants(&case, &item.uncovered, inputs, prover)?;
        if !wanted.is_empty() && questions[first.question].add(accepted.text(), wanted) {
            tries.push_front(first.with_more());
        }
    }
    // What nobody can know from the module, where that is all that an answer which goes a way was refused for.
    let mut unknown = None;
    while let Some(this) = tries.pop_front() {
        interrupt::check()?;
        let number = item.attempts.len() + 1;
        let question = &questions[this.question];
        // What is forced costs little.
        let written = |attempt: &Attempt| attempt.stats.chosen_tokens();
        if item.attempts[before..].iter().map(written).sum::<usize>() >= effort.finding_tokens {
            break;
        }
        // What the rule itself asks for, nobody can know: an answer that is held to nothing could only make it up.
        if this.is_free() && unknown.is_some() && case.finding.tool == Tool::Checkov {
            break;
        }
        let sampling = ask::sampling(this, &case.finding, number, &item.attempts, effort);
        let refusals = ask::refusals(&item.attempts, &item.taken_back);
        let earlier = &item.attempts;
        let asking = ask::Asking { question, this, earlier, refusals: &refusals, number, sampling };
        let asked = ask::attempt(&asking, inputs.prompts, effort, writer);
        let mut attempt = match asked {
            Ok(Some(attempt)) => attempt,
            Ok(None) => continue,
            // Only this finding is lost: its prompt is too long, or its grammar does not compile.
            Err(EngineError::Write(error)) if error.is_about_request() => {
                item.ended = Some(unfixed(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let repeated = item
            .attempts
            .iter()
            .any(|earlier| [earlier.answer.as_str(), earlier.text()].contains(&attempt.answer.as_str()));
        if !attempt.complete || repeated {
            item.attempts.push(attempt);
            continue;
        }
        // What the rule wants is not much; what was made up may be more than that.
        let judged = match this.is_free() {
            true => prover.judge_least(&question.case, &attempt.answer),
            false => prover.judge(&question.case, &attempt.answer).map(|judged| (judged, None)),
        };
        let judged = match judged {
            Ok((judged, kept)) => {
                attempt.kept = kept;
                judged
            }
            // The scanner said that it failed on this candidate; it is well otherwise.
            Err(ProofError::Scanner(error @ ScannerError::Failed { .. })) => {
                item.attempts.push(attempt);
                item.ended = Some(unfixed(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        attempt.verdicts = judged.verdicts;
        let answer = attempt.text().to_owned();
        item.attempts.push(attempt);
        if let Some(fix) = judged.accepted {
            prover.review(fix, questions[this.question].guesses(this, &answer, &inputs.knowledge)?);
            item.taken_back.clear();
            return Ok(());
        }
        if judged.is_unknown && !this.is_free() && !questions[this.question].is_guess() {
            unknown = unknown.or(item.attempts.last().and_then(abstain::unknown));
        }
        if more > 0 && !judged.also.is_empty() && questions[this.question].add(&answer, judged.also) {
            more -= 1;
            tries.push_front(this.with_more());
        }
    }
    // What the rule itself asks for tells more than what an answer made up.
    let never = || questions.iter().find_map(|question| question.never().map(str::to_owned));
    item.ended = Some(match never().or(unknown) {
        Some(reason) => Resolution::Abstained { reason },
        None => unfixed(ask::why_unfixed(&item.attempts, writer.why_none())),
    });
    Ok(())
}

fn unfixed(reason: impl Into<String>) -> Resolution {
    Resolution::Unfixed { reason: reason.into() }
}

/// Notes which findings lost their fix. Whether there were any.
fn take_back(work: &mut [Work], withdrawn: Vec<Withdrawn>) -> bool {
    let any = !withdrawn.is_empty();
    for Withdrawn { finding, reasons, uncovered } in withdrawn {
        for item in work.iter_mut().filter(|item| item.located.finding.id == finding) {
            item.taken_back.clone_from(&reasons);
            item.uncovered.clone_from(&uncovered);
        }
    }
    any
}

impl Work {
    fn new(located: Located) -> Self {
        Self { located, attempts: Vec::new(), taken_back: Vec::new(), uncovered: Vec::new(), ended: None, seconds: 0.0 }
    }

    /// One line on how it went so far, for the log of a long run.
    fn progress(&self) -> String {
        let place = self.located.finding.place();
        let state = match (&self.located.case, &self.ended) {
            (Err(reason), _) => format!("skipped, {reason}"),
            (Ok(_), Some(Resolution::Abstained { reason })) => format!("abstained, {reason}"),
            (Ok(_), Some(ended)) => format!("unfixed, {}", ended.reason().unwrap_or_default()),
            (Ok(_), None) => "proven".to_owned(),
        };
        format!("{} {place}: {state} ({:.1} s)", self.located.finding.rule, self.seconds)
    }

    /// Whether it may still be tried. One that a fix closes is looked at again too: the fix may have been taken back.
    fn is_open(&self) -> bool {
        self.located.case.is_ok() && self.ended.is_none()
    }

    fn outcome(self, closed_by: &BTreeMap<String, usize>) -> Outcome {
        let resolution = match (closed_by.get(&self.located.finding.id), &self.located.case) {
            (Some(&fix), _) => Resolution::Fixed { fix },
            (None, Err(reason)) => Resolution::Skipped { reason: reason.clone() },
            (None, Ok(_)) => {
                let taken_back = |why: &str| Resolution::Unfixed { reason: format!("its fix was taken back{why}") };
                match self.taken_back.is_empty() {
                    false => taken_back(&format!(": {}", self.taken_back.join("; "))),
                    true => self.ended.unwrap_or_else(|| taken_back("")),
                }
            }
        };
        Outcome {
            target: self.located.case.as_ref().ok().map(|case| case.block.clone()),
            finding: self.located.finding,
            resolution,
            attempts: self.attempts,
            seconds: self.seconds,
        }
    }
}
