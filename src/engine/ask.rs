//! One finding's question, the attempts at it, and what is told of those that were refused.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::finding::{Finding, Tool};
use crate::grammar::{self, Grammar, Repetition, Scope, Shapes};
use crate::model::Sampling;
use crate::outcome::{Attempt, Judgement};
use crate::prompt::{Ask, Prompts, Refusal};
use crate::rules::{self, Wish};
use crate::source::context::{self, Target};
use crate::source::{Block, SourceTree};
use crate::validate::Case;

use super::{Effort, EngineError, WriteRequest, Writer, Written};

/// Characters of the rule's wish in the prompt, at most.
const WISH_CHARS: usize = 1600;
/// Refused answers that are shown again, at most: the latest.
const SHOWN_REFUSALS: usize = 2;
/// How often an answer is gone on with because it names blocks that are not there yet, at most.
const CONTINUATIONS: usize = 4;
const TEMPERATURE: f64 = 0.7;
const TOP_P: f64 = 0.95;

/// What stays the same over the attempts at one finding.
#[derive(Debug)]
pub(super) struct Question {
    finding: Finding,
    target: Target,
    related: String,
    title: String,
    wish: String,
    grammar: Grammar,
}

/// Gathers the context and compiles the grammar. `Err` says why the finding cannot be asked about.
pub(super) fn prepare(
    tree: &SourceTree,
    case: &Case,
    wish: Option<&Wish>,
    companion_types: &BTreeSet<String>,
    effort: &Effort,
    writer: &dyn Writer,
) -> Result<Question, String> {
    let count = |text: &str| writer.count_tokens(text);
    let target = context::target(tree, &case.file, &case.block, effort.context_tokens, &count)
        .ok_or_else(|| format!("{} is no longer in {}", case.block, case.file))?;
    let dir = case.file.parent();
    let declared = tree.declared(&dir);
    let block = tree.find(&dir, &case.block).map(|(_, block)| block);
    let has = |key: &str| block.is_some_and(|block| block.body.attribute(key).is_some());
    let repetition = match (has("count"), has("for_each")) {
        (true, _) => Some(Repetition::Count),
        (false, true) => Some(Repetition::ForEach),
        (false, false) => None,
    };
    let types = companion_types_of(wish, companion_types, &declared);
    let shapes = shapes_of(tree, case, wish);
    let scope =
        Scope { target: &case.block, declared: &declared, companion_types: &types, repetition, shapes: &shapes };
    let grammar = grammar::compile(&scope).map_err(|e| format!("no grammar: {e}"))?;
    let hinted = match (wish, case.finding.tool) {
        (Some(wish), Tool::Checkov) => wish.clone(),
        _ => rules::from_hints(&case.finding),
    };
    let title = if hinted.title.is_empty() { case.finding.message.clone() } else { hinted.title.clone() };
    let related = target.related.iter().map(|related| related.text.trim_end()).collect::<Vec<_>>().join("\n\n");
    let hinted = match case.block.resource_type() {
        Some(ty) => hinted.for_type(ty),
        None => hinted,
    };
    let wish = hinted.to_prompt(WISH_CHARS);
    Ok(Question { finding: case.finding.clone(), target, related, title, wish, grammar })
}

/// What the rule's paths and the module's blocks of the same type show of names.
fn shapes_of(tree: &SourceTree, case: &Case, wish: Option<&Wish>) -> Shapes {
    let same_type =
        |block: &&Block| block.keyword == case.block.keyword && block.labels.first() == case.block.labels.first();
    let dir = case.file.parent();
    let blocks = tree.module(&dir).flat_map(|file| file.body().blocks()).filter(same_type);
    let ty = case.block.resource_type().unwrap_or_default();
    let hinted = case.finding.hints.evaluated_keys.iter().map(String::as_str);
    let keys = wish.and_then(|wish| wish.key_for(ty)).into_iter().chain(hinted);
    Shapes::learn(keys, blocks.map(|block| &block.body))
}

/// The types that the rule connects, those that the module has already, and those that the scanner knows.
fn companion_types_of(
    wish: Option<&Wish>,
    known: &BTreeSet<String>,
    declared: &BTreeSet<crate::source::BlockAddr>,
) -> BTreeSet<String> {
    let mut types = known.clone();
    types.extend(wish.into_iter().flat_map(|wish| wish.resource_types.iter().cloned()));
    let resources = declared.iter().filter(|block| block.keyword == "resource");
    types.extend(resources.filter_map(|block| block.resource_type().map(str::to_owned)));
    types
}

/// The first answer is greedy, and so is the first that is told why it was refused; what comes after is sampled, as is
/// every answer after one that repeated an earlier one.
pub(super) fn sampling(case: &Case, number: usize, attempts: &[Attempt], seed: u64) -> Sampling {
    let repeated = attempts.last().is_some_and(|attempt| attempt.verdicts.is_empty());
    if number <= 2 && !repeated {
        return Sampling::Greedy;
    }
    let digest = Sha256::digest(format!("{seed}\0{}\0{number}", case.finding.id));
    let seed = digest[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    Sampling::Seeded { seed, temperature: TEMPERATURE, top_p: TOP_P }
}

/// What the next prompt says of the latest refused answers, and of a fix that was taken back.
pub(super) fn refusals(attempts: &[Attempt], taken_back: &[String]) -> Vec<Refusal> {
    let refused = |attempt: &Attempt| {
        let reasons: Vec<String> = attempt.verdicts.iter().flat_map(|v| v.reasons()).cloned().collect();
        let accepted_once = !attempt.verdicts.is_empty() && reasons.is_empty();
        let reasons = if accepted_once { taken_back.to_vec() } else { reasons };
        (!reasons.is_empty()).then(|| Refusal { answer: attempt.answer.clone(), reasons })
    };
    let all: Vec<Refusal> = attempts.iter().filter_map(refused).collect();
    all[all.len().saturating_sub(SHOWN_REFUSALS)..].to_vec()
}

/// Asks once.
pub(super) fn attempt(
    question: &Question,
    prompts: &Prompts,
    refusals: &[Refusal],
    number: usize,
    sampling: Sampling,
    effort: &Effort,
    writer: &mut dyn Writer,
) -> Result<Attempt, EngineError> {
    let turns = prompts.turns(&Ask {
        rule: &question.finding.rule,
        title: &question.title,
        wish: &question.wish,
        target: &question.target.text,
        related: &question.related,
        rejected: refusals,
    })?;
    let mut write = |grammar: &Grammar| {
        writer.write(&WriteRequest {
            finding: &question.finding.id,
            number,
            turns: &turns,
            grammar,
            sampling,
            max_tokens: effort.answer_tokens,
        })
    };
    let mut written = write(&question.grammar)?;
    let mut continuations = 0;
    while written.complete
        && continuations < CONTINUATIONS
        && let Some(grammar) = question.grammar.going_on(&written.text)
    {
        continuations += 1;
        let more = write(&grammar)?;
        written = Written { stats: written.stats.gone_on_with(more.stats), ..more };
    }
    Ok(Attempt {
        number,
        seed: match sampling {
            Sampling::Greedy => None,
            Sampling::Seeded { seed, .. } => Some(seed),
        },
        prompt: written.prompt,
        grammar: question.grammar.lark().to_owned(),
        answer: written.text,
        complete: written.complete,
        continuations,
        omitted: question.target.omitted.clone(),
        stats: written.stats,
        verdicts: Vec::new(),
    })
}

/// The reason that stands in the report: that of the last answer that was judged.
pub(super) fn why_unfixed(attempts: &[Attempt]) -> String {
    let refused = |attempt: &Attempt| {
        let last = attempt.verdicts.last()?;
        match &last.judgement {
            Judgement::Reject { reasons } => Some(format!("{}: {}", last.gate.name(), reasons.join("; "))),
            _ => None,
        }
    };
    match attempts.iter().rev().find_map(refused) {
        Some(reason) => reason,
        None => "no answer was whole and new".into(),
    }
}
