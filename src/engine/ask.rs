//! One finding's question, the attempts at it, and what is told of those that were refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::finding::{Finding, Tool};
use crate::grammar::{self, Grammar, Names, Scope, Shapes};
use crate::knowledge::Knowledge;
use crate::model::Sampling;
use crate::outcome::{Attempt, Judgement, Led, Resolution};
use crate::prompt::{Ask, Prompts, Refusal};
use crate::rules::{Alternatives, Companion, House, Surroundings, Wanted, Way, Wish};
use crate::schema::{self, Schemas};
use crate::source::context::{self, Target};
use crate::source::{Block, Body, RelPath, SourceFile, SourceTree, references};
use crate::validate::Case;

use super::{Effort, EngineError, WriteError, WriteRequest, Writer, Written};

/// Characters of the rule's wish in the prompt, at most.
const WISH_CHARS: usize = 1600;
/// Refused answers that are shown again, at most: the latest.
const SHOWN_REFUSALS: usize = 2;
/// Blocks that an answer may add, at most.
const COMPANIONS: usize = 12;
const TEMPERATURE: f64 = 0.7;
const TOP_P: f64 = 0.95;
/// The share of an answer's tokens that a free one may have.
const FREE: (usize, usize) = (3, 5);

/// What stays the same over the attempts at one finding by a change of one block.
#[derive(Debug)]
pub(super) struct Question {
    /// The finding, and the block that is to change.
    pub case: Case,
    block: Block,
    target: Target,
    related: String,
    title: String,
    wish: String,
    /// What running the rule has shown, for answers that are held to it.
    shown: String,
    grammar: Grammar,
    /// What the first answers are held to, one each, where the rule says what satisfies it.
    ways: Vec<Grammar>,
    /// The place of its first way among those of all questions.
    rank: usize,
    /// Why no answer adds what an attribute of the rule's names, where none does.
    never: Option<String>,
    /// Whether nobody has said that its rule wants what its ways are about.
    is_guess: bool,
    /// What the next answer is held to, where the last one was refused for what other rules want.
    more: Option<Grammar>,
}

impl Question {
    /// Whether its ways only suppose what the rule wants.
    pub(super) fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// What it takes that no answer adds.
    pub(super) fn never(&self) -> Option<&str> {
        self.never.as_deref()
    }

    /// The texts of an accepted answer that neither the rule, the module nor the user tells, as what a person must look at.
    ///
    /// # Errors
    /// When a way's language does not compile.
    pub(super) fn guesses(&self, this: Try, answer: &str, knowledge: &Knowledge) -> Result<Vec<String>, WriteError> {
        let language = self.more.as_ref().filter(|_| this.lead == Lead::More).unwrap_or(&self.grammar);
        let open = language.left_open(answer).map_err(WriteError::Grammar)?;
        let Ok(file) = SourceFile::parse(self.case.file.clone(), answer.as_bytes().to_vec()) else {
            return Ok(Vec::new());
        };
        let told = [&self.wish, &self.target.text, &self.related];
        let is_told = |text: &&str| told.iter().any(|told| told.contains(*text));
        let mut guesses = Vec::new();
        if let Some(block) = file.body().blocks().next() {
            for (path, attribute) in block.body.by_path() {
                if !this.is_free() && !open.contains(&path) {
                    continue;
                }
                let elements = attribute.literals().unwrap_or_default();
                let elements = elements.iter().filter_map(|text| text.as_str());
                let texts = attribute.as_str().into_iter().chain(elements).chain(attribute.texts_of_map());
                let ty = self.case.block.resource_type().unwrap_or_default();
                let is_given = |text: &&str| knowledge.gives(ty, &attribute.key, text);
                for text in texts.filter(|text| !is_told(text) && !is_given(text)) {
                    guesses
                        .push(format!("{}: whether `{path}` is to be {text:?} is a person's choice", self.case.block));
                }
            }
        }
        Ok(guesses)
    }

    /// Takes in what rules want that an answer made fail on the block. Whether there is an answer that does as they want.
    pub(super) fn add(&mut self, answer: &str, also: Vec<Alternatives>) -> bool {
        let block = &self.block;
        let Some(file) = SourceFile::parse(self.case.file.clone(), answer.as_bytes().to_vec()).ok() else {
            return false;
        };
        // What the answer has just written is not undone.
        let keeps = |way: &Way| file.body().blocks().next().is_none_or(|written| !way.undoes(&written.body));
        // The first is as good as any where nobody can be asked.
        let first = |alternatives| Way::found(alternatives, block, &[]).into_iter().find(|way| keeps(way));
        let Some(ways) = also.into_iter().map(first).collect::<Option<Vec<Way>>>() else { return false };
        let more: Vec<Wanted> = ways.into_iter().flat_map(|way| way.target).collect();
        // Where it cannot be said, the other tries are left.
        let with_more = |language: &Grammar| language.with_more(answer, &more).unwrap_or_default();
        self.more = self.more.as_ref().and_then(with_more).or_else(|| with_more(&self.grammar));
        self.more.is_some()
    }
}

/// What a try's answer is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// Nothing but the language of answers.
    Free,
    /// One of the ways that running the rule has found.
    Found,
    /// A way that the rule tells, by its position.
    Way(usize),
    /// The way of the last answer, with what other rules want of the block then.
    More,
    /// The way of the answer that was accepted and then taken back, with whatever may mend what was the matter.
    Again,
}

/// One try: which question is asked, and which way its answer has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Try {
    pub question: usize,
    lead: Lead,
    /// Whether it is answered greedily: those that go the rule's own ways, the first one after them, and the first that is
    /// told why that was refused.
    greedy: bool,
}

impl Try {
    /// Whether its answer is held to nothing that is known.
    pub(super) fn is_free(self) -> bool {
        self.lead == Lead::Free
    }

    /// The try after one that was refused for what other rules want.
    pub(super) fn with_more(self) -> Self {
        Self { lead: Lead::More, ..self }
    }
}

/// The questions after what several rules want, those of the first one first.
pub(super) fn in_order(asked: Vec<Vec<Question>>) -> Vec<Question> {
    let mut all = Vec::new();
    for questions in asked {
        let before =
            all.iter().map(|question: &Question| question.rank + question.ways.len().max(1)).max().unwrap_or(0);
        all.extend(questions.into_iter().map(|question| Question { rank: before + question.rank, ..question }));
    }
    all
}

/// The tries at a finding, in order. The rule's own ways were gone in the first round.
pub(super) fn tries(questions: &[Question], effort: &Effort, first_round: bool) -> Vec<Try> {
    let mut tries = Vec::new();
    let mut order: Vec<(usize, &Question)> = questions.iter().enumerate().filter(|_| first_round).collect();
    order.sort_by_key(|(_, question)| question.rank);
    for (question, asked) in order {
        let found = (0..asked.grammar.found()).map(|_| Lead::Found);
        let leads = found.chain((0..asked.ways.len()).map(Lead::Way));
        tries.extend(leads.map(|lead| Try { question, lead, greedy: true }));
    }
    if !first_round {
        let again = |greedy| move |question| Try { question, lead: Lead::Again, greedy };
        tries.extend((0..questions.len()).map(again(true)).chain((0..questions.len()).map(again(false))));
    }
    // Where what is known did not do, guessing seldom does.
    let is_known = questions.iter().any(|asked| asked.grammar.found() > 0 || !asked.ways.is_empty());
    let free = if is_known { effort.candidates.div_ceil(2) } else { effort.candidates };
    // What a rule says of companions, only the question with its wish knows.
    let asked = questions.iter().position(|asked| !asked.is_guess).unwrap_or(0);
    tries.extend((0..free).map(|n| Try { question: asked, lead: Lead::Free, greedy: first_round && n < 2 }));
    tries
}

/// What the scanner says.
pub(super) struct Rules<'a> {
    /// What the finding's rule wants.
    pub wish: Option<&'a Wish>,
    /// What would satisfy it, as running it has shown.
    pub explored: &'a Alternatives,
    /// What all rules want of new blocks.
    pub house: &'a Arc<House>,
    /// What people know.
    pub knowledge: &'a Arc<Knowledge>,
    /// The resource types that it knows.
    pub types: &'a BTreeSet<String>,
    /// Whether a file may be changed: it is in scope, and no link.
    pub may_change: &'a dyn Fn(&RelPath) -> bool,
}

/// Gathers the context and compiles the grammars: of the question about the finding's own block, and of those about blocks
/// that would have to change in its place. `Err` is what becomes of a finding that cannot be asked about.
pub(super) fn prepare(
    tree: &SourceTree,
    case: &Case,
    rules: &Rules<'_>,
    schemas: Schemas,
    effort: &Effort,
    writer: &dyn Writer,
) -> Result<Vec<Question>, Resolution> {
    let dir = case.file.parent();
    let gone = || super::unfixed(format!("{} is no longer there", case.block));
    let (_, block) = tree.find(&dir, &case.block).ok_or_else(gone)?;
    let all_types = all_companion_types_of(case, rules, &schemas);
    let types = may_be_new(&all_types, rules.knowledge);
    let connected = connected(tree, case);
    let chained = chained(tree, case, &connected, rules.wish);
    let around = Surroundings { target: block, connected: &connected, chained: &chained, types: &types };
    let is_resource = case.block.resource_type().is_some();
    let keys: Vec<Vec<String>> = keys(case, rules.wish).map(crate::rules::names_of).collect();
    let mut found = Way::found(rules.explored.clone(), block, &keys);
    let told = |around: Surroundings<'_>| {
        let mut ways = rules.wish.filter(|_| is_resource).map(|wish| wish.ways(around)).unwrap_or_default();
        // A rule leaves out blocks by their names: to take on such a name mends nothing.
        ways.retain(|way| !way.renames(around.target));
        ways
    };
    // What running the rule has shown is as good as what it tells, unless something is lost by it.
    let ways = if found.iter().any(|way| !way.loses(block)) { Vec::new() } else { told(around) };
    if ways.is_empty() && found.is_empty() {
        let with_all = told(Surroundings { types: &all_types, ..around });
        let never = |companion: &Companion| rules.knowledge.never(&companion.ty);
        if let Some(why) = with_all.iter().flat_map(|way| &way.companions).find_map(never) {
            return Err(Resolution::Abstained { reason: why.to_owned() });
        }
    }
    let mut is_guess = rules.wish.is_none();
    if !ways.is_empty() {
        found.clear();
    } else if found.is_empty()
        && rules.wish.is_some_and(|wish| wish.graph.is_none())
        && let Some(schema) = schemas.of(&case.block)
    {
        found = Way::found(crate::rules::by_keys(&keys, block, &schema), block, &keys);
        is_guess = true;
    }
    let rank = ways.iter().position(|way| way.instead.is_none()).unwrap_or_default();
    let ranked = ways.iter().cloned().enumerate().filter(|(_, way)| way.instead.is_some());
    let instead: Vec<(usize, Way)> = ranked.collect();
    let own = ways.into_iter().filter(|way| way.instead.is_none()).collect();
    let never = never(block, case, rules);
    let first = question(tree, case, rules, (own, found), schemas.clone(), effort, writer).map_err(super::unfixed)?;
    let mut questions = vec![Question { rank, never, is_guess, ..first }];
    for (rank, way) in instead {
        let Some((file, block)) = way.instead.as_ref().and_then(|addr| tree.find(&dir, addr)) else { continue };
        if !(rules.may_change)(file.path()) {
            continue;
        }
        let case = Case { file: file.path().clone(), block: block.addr(), ..case.clone() };
        // Only the way is asked for: what else to change in a block that nothing was found in, nobody knows.
        let asked = question(tree, &case, rules, (vec![way], Vec::new()), schemas.clone(), effort, writer);
        questions.extend(asked.ok().map(|asked| Question { rank, ..asked }));
    }
    Ok(questions)
}

fn question(
    tree: &SourceTree,
    case: &Case,
    rules: &Rules<'_>,
    (ways, found): (Vec<Way>, Vec<Way>),
    schemas: Schemas,
    effort: &Effort,
    writer: &dyn Writer,
) -> Result<Question, String> {
    let count = |text: &str| writer.count_tokens(text);
    let wish = rules.wish;
    let target = context::target(tree, &case.file, &case.block, effort.context_tokens, &count)
        .ok_or_else(|| format!("{} is no longer in {}", case.block, case.file))?;
    let dir = case.file.parent();
    let (_, block) = tree.find(&dir, &case.block).ok_or_else(|| format!("{} is no longer there", case.block))?;
    let supposed = schemas.of(&case.block).is_none();
    // What is only supposed of it is not what running the rule has shown; and others say what they want in their own words.
    let is_shown = rules.wish.is_some() && case.finding.tool == Tool::Checkov && !rules.explored.is_empty();
    let mut shown = if is_shown { crate::rules::shown(&found, WISH_CHARS) } else { String::new() };
    let scope = Scope {
        target: block,
        names: Names::of(tree, &dir),
        companion_types: may_be_new(&all_companion_types_of(case, rules, &schemas), rules.knowledge),
        schemas,
        ways,
        found,
        house: rules.house.clone(),
        knowledge: rules.knowledge.clone(),
        shapes: shapes_of(tree, case, wish),
        supposed: supposed.then(|| self::supposed(tree, case, wish)),
    };
    let grammar = grammar::compile(scope).map_err(|e| format!("no grammar: {e}"))?;
    let hinted = match (wish, case.finding.tool) {
        (Some(wish), Tool::Checkov) => wish.clone(),
        _ => crate::rules::from_hints(&case.finding),
    };
    let title = if hinted.title.is_empty() { case.finding.message.clone() } else { hinted.title.clone() };
    let related = joined(target.related.iter().map(|related| related.text.as_str()));
    let hinted = match case.subject.1.resource_type() {
        Some(ty) => hinted.for_type(ty),
        None => hinted,
    };
    let mut wish = hinted.to_prompt(WISH_CHARS);
    let ty = case.block.resource_type().unwrap_or_default();
    for note in rules.knowledge.notes(&case.finding.rule, ty) {
        wish.extend(["\n", note]);
        if !shown.is_empty() {
            shown.extend(["\n", note]);
        }
    }
    let ways = grammar.ways();
    Ok(Question {
        case: case.clone(),
        block: block.clone(),
        target,
        related,
        title,
        wish,
        shown,
        grammar,
        ways,
        rank: 0,
        never: None,
        is_guess: rules.wish.is_none(),
        more: None,
    })
}

/// Texts of blocks as one.
fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(str::trim_end).collect::<Vec<_>>().join("\n\n")
}

/// What the rule's paths and the module's blocks of the same type show of names.
fn shapes_of(tree: &SourceTree, case: &Case, wish: Option<&Wish>) -> Shapes {
    Shapes::learn(keys(case, wish), same_type(tree, case))
}

/// What they show of the type, for where there is no schema of it.
pub(super) fn supposed(tree: &SourceTree, case: &Case, wish: Option<&Wish>) -> schema::Block {
    schema::Block::supposed(same_type(tree, case), keys(case, wish).map(crate::rules::names_of))
}

/// The bodies of the module's blocks of the target's type.
fn same_type<'t>(tree: &'t SourceTree, case: &Case) -> impl Iterator<Item = &'t Body> {
    let (keyword, ty) = (case.block.keyword.clone(), case.block.labels.first().cloned());
    let blocks = tree.module(&case.file.parent()).flat_map(|file| file.body().blocks()).collect::<Vec<_>>().into_iter();
    blocks.filter(move |block| block.keyword == keyword && block.labels.first() == ty.as_ref()).map(|block| &block.body)
}

/// The attribute paths that the rule and the finding name.
fn keys<'a>(case: &'a Case, wish: Option<&'a Wish>) -> impl Iterator<Item = &'a str> {
    let ty = case.block.resource_type().unwrap_or_default();
    let hinted = case.finding.hints.evaluated_keys.iter().map(String::as_str);
    wish.and_then(|wish| wish.key_for(ty)).into_iter().chain(hinted)
}

/// The module's blocks that refer to the target, or that it refers to.
fn connected<'t>(tree: &'t SourceTree, case: &Case) -> Vec<&'t Block> {
    let dir = case.file.parent();
    let named = tree.find(&dir, &case.block).map(|(_, block)| references(block)).unwrap_or_default();
    let blocks = tree.module(&dir).flat_map(|file| file.body().blocks());
    let is = |block: &&Block| named.contains(&block.addr()) || references(block).contains(&case.block);
    blocks.filter(|block| block.addr() != case.block).filter(is).collect()
}

/// The connected blocks, and those that these are connected to in turn, as far as the rule names their types.
fn chained<'t>(tree: &'t SourceTree, case: &Case, connected: &[&'t Block], wish: Option<&Wish>) -> Vec<&'t Block> {
    let mut chained = connected.to_vec();
    let named: BTreeSet<&str> = wish.into_iter().flat_map(Wish::types_named).collect();
    let is_named = |block: &&Block| block.labels.first().is_some_and(|ty| named.contains(ty.as_str()));
    let mut others: Vec<&Block> = tree.module(&case.file.parent()).flat_map(|file| file.body().blocks()).collect();
    others.retain(|block| is_named(block) && block.addr() != case.block);
    let mut at = 0;
    while let Some(block) = chained.get(at).copied() {
        let named = references(block);
        let is_next = |other: &&Block| named.contains(&other.addr()) || references(other).contains(&block.addr());
        let is_new = |other: &&Block| !chained.iter().any(|known| known.addr() == other.addr());
        if is_named(&block) {
            let next: Vec<&Block> = others.iter().copied().filter(|other| is_new(other) && is_next(other)).collect();
            chained.extend(next);
        }
        at += 1;
    }
    chained
}

/// Why no answer adds a block that an attribute may name which the rule inspects, or that is known to do, and that the block
/// lacks.
fn never(block: &Block, case: &Case, rules: &Rules<'_>) -> Option<String> {
    let of = case.block.resource_type()?;
    let inspected = keys(case, rules.wish).map(crate::rules::names_of);
    let paths = inspected.chain(rules.explored.iter().flatten().map(|wanted| wanted.path.clone()));
    let stands: Vec<String> = block.body.by_path().into_iter().map(|(path, _)| path).collect();
    let lacking = paths.filter(|path| !stands.contains(&path.join(".")));
    let names: Vec<String> = lacking.filter_map(|mut path| path.pop()).collect();
    let mut types = rules.types.iter().filter(|ty| names.iter().any(|name| grammar::may_name(name, of, ty)));
    types.find_map(|ty| rules.knowledge.never(ty)).map(str::to_owned)
}

/// Those of the types of which a block may be added.
fn may_be_new(types: &BTreeSet<String>, knowledge: &Knowledge) -> BTreeSet<String> {
    types.iter().filter(|ty| knowledge.never(ty).is_none()).cloned().collect()
}

/// The types that companions could have: see [`grammar::companion_types`] and [`grammar::meant_types`].
fn all_companion_types_of(case: &Case, rules: &Rules<'_>, schemas: &Schemas) -> BTreeSet<String> {
    let Some(ty) = case.block.resource_type() else { return BTreeSet::new() };
    let connected: BTreeSet<String> =
        rules.wish.into_iter().flat_map(Wish::types_named).filter(|named| *named != ty).map(str::to_owned).collect();
    let keys: Vec<Vec<String>> = keys(case, rules.wish).map(crate::rules::names_of).collect();
    let found = rules.explored.iter().flatten().map(|wanted| wanted.path.as_slice());
    let paths = keys.iter().map(Vec::as_slice).chain(found);
    let meant = grammar::meant_types(schemas, &case.block, paths, &connected);
    let known = || rules.types.iter().map(String::as_str);
    let types = grammar::companion_types(ty, connected.iter().chain(&meant).map(String::as_str), known());
    // What has to stand beside those, with what that needs.
    let beside: BTreeSet<String> =
        types.iter().flat_map(|ty| rules.house.beside(ty)).map(|companion| companion.ty.clone()).collect();
    let needed = grammar::meant_types(schemas, &case.block, std::iter::empty(), &beside);
    types.into_iter().chain(beside).chain(needed).collect()
}

/// How a try's answer is chosen. Those after one that repeated an earlier answer are sampled too.
pub(super) fn sampling(this: Try, finding: &Finding, number: usize, attempts: &[Attempt], effort: &Effort) -> Sampling {
    let repeated = attempts.last().is_some_and(|attempt| attempt.verdicts.is_empty());
    if effort.temperature.is_none() && this.greedy && (this.lead != Lead::Free || !repeated) {
        return Sampling::Greedy;
    }
    let digest = Sha256::digest(format!("{}\0{}\0{number}", effort.seed, finding.id));
    let seed = digest[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    Sampling::Seeded { seed, temperature: effort.temperature.unwrap_or(TEMPERATURE), top_p: TOP_P }
}

/// What the next prompt says of the latest refused answers, and of a fix that was taken back.
pub(super) fn refusals(attempts: &[Attempt], taken_back: &[String]) -> Vec<Refusal> {
    let refused = |attempt: &Attempt| {
        let reasons: Vec<String> = attempt.verdicts.iter().flat_map(|v| v.reasons()).cloned().collect();
        let accepted_once = !attempt.verdicts.is_empty() && reasons.is_empty();
        let reasons = if accepted_once { taken_back.to_vec() } else { reasons };
        (!reasons.is_empty()).then(|| Refusal { answer: attempt.text().to_owned(), reasons })
    };
    let all: Vec<Refusal> = attempts.iter().filter_map(refused).collect();
    all[all.len().saturating_sub(SHOWN_REFUSALS)..].to_vec()
}

/// One attempt at a question.
pub(super) struct Asking<'a> {
    pub question: &'a Question,
    /// What its answer is held to.
    pub this: Try,
    /// The answers before it.
    pub earlier: &'a [Attempt],
    /// What the prompt says of refused answers.
    pub refusals: &'a [Refusal],
    /// Its number, from 1.
    pub number: usize,
    pub sampling: Sampling,
}

/// Asks once; `None` when no way is left that an answer could be held to.
pub(super) fn attempt(
    asking: &Asking<'_>,
    prompts: &Prompts,
    effort: &Effort,
    writer: &mut dyn Writer,
) -> Result<Option<Attempt>, EngineError> {
    let &Asking { question, this, earlier, refusals, number, sampling } = asking;
    let led = match this.lead {
        Lead::Free => None,
        Lead::Way(way) => question.ways.get(way).cloned(),
        Lead::More => question.more.clone(),
        Lead::Again => {
            let again = earlier
                .iter()
                .rev()
                .find(|attempt| attempt.was_accepted())
                .map(|it| question.grammar.once_more(it.text()));
            match again.transpose().map_err(WriteError::Grammar)?.flatten() {
                Some(again) => Some(again),
                None => return Ok(None),
            }
        }
        Lead::Found => {
            let gone: Vec<&str> = earlier.iter().map(|attempt| attempt.answer.as_str()).collect();
            match question.grammar.one_of_found(&gone).map_err(WriteError::Grammar)? {
                Some(left) => Some(left),
                None => return Ok(None),
            }
        }
    };
    // An answer that is held to something needs to know what that is about; one that is not, everything.
    let brief = led.as_ref().map(|led| question.target.brief(|item| led.may_write(item), |block| led.may_name(block)));
    let (target, related) = match &brief {
        Some(brief) => (brief, &joined(brief.related.iter().map(|related| related.text.as_str()))),
        None => (&question.target, &question.related),
    };
    let turns = prompts.turns(&Ask {
        rule: &question.case.finding.rule,
        title: &question.title,
        wish: if this.is_free() || question.shown.is_empty() { &question.wish } else { &question.shown },
        target: &target.text,
        related,
        rejected: refusals,
    })?;
    let mut write = |grammar: &Grammar, max_tokens: usize| {
        writer.write(&WriteRequest {
            finding: &question.case.finding.id,
            number,
            turns: &turns,
            grammar,
            language: &question.grammar,
            sampling,
            max_tokens,
        })
    };
    let first = led.as_ref().unwrap_or(&question.grammar);
    let most = if this.is_free() { effort.answer_tokens * FREE.0 / FREE.1 } else { effort.answer_tokens };
    let mut written = write(first, most)?;
    let mut grammars = vec![first.lark().to_owned()];
    while written.complete
        && let Some(grammar) = first.next(&written.text)
    {
        // Without what is missing it is no answer.
        let left = most.saturating_sub(written.stats.chosen_tokens());
        written.complete = grammars.len() <= COMPANIONS && left > 0;
        if !written.complete {
            break;
        }
        match write(&grammar, left) {
            Ok(more) => written = Written { stats: written.stats.gone_on_with(more.stats), ..more },
            Err(error) if error.is_about_request() => written.complete = false,
            Err(error) => return Err(error.into()),
        }
        grammars.push(grammar.lark().to_owned());
    }
    Ok(Some(Attempt {
        number,
        seed: match sampling {
            Sampling::Greedy => None,
            Sampling::Seeded { seed, .. } => Some(seed),
        },
        led: match this.lead {
            Lead::Free => Led::Free,
            Lead::Found => Led::Found,
            Lead::Way(_) => Led::Way,
            Lead::More => Led::More,
            Lead::Again => Led::Again,
        },
        prompt: written.prompt,
        grammars,
        answer: written.text,
        kept: None,
        complete: written.complete,
        omitted: target.omitted.clone(),
        stats: written.stats,
        verdicts: Vec::new(),
    }))
}

/// The reason that stands in the report: that of the last answer that was judged.
pub(super) fn why_unfixed(attempts: &[Attempt], none: &str) -> String {
    let refused = |attempt: &Attempt| {
        let last = attempt.verdicts.last()?;
        match &last.judgement {
            Judgement::Reject { reasons } => Some(format!("{}: {}", last.gate.name(), reasons.join("; "))),
            _ => None,
        }
    };
    match attempts.iter().rev().find_map(refused) {
        Some(reason) => reason,
        None => none.into(),
    }
}
