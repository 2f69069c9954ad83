//! What a finding's turn begins with: whether it is open still, and what is to be asked about it.
//!
//! In: the finding's case, what the scanner says of its rules, the tree as it stands. Out: questions, or what became of it
//! without one.

use crate::finding::{Finding, Tool};
use crate::outcome::Resolution;
use crate::rules::{self, Alternatives, Explored, Wish};
use crate::schema::{self, Schemas};
use crate::source::RelPath;
use crate::validate::{Case, Prover};

use super::ask::{self, Question};
use super::writer::Writer;
use super::{Effort, EngineError, Inputs, abstain, locate, unfixed};

/// What a finding's turn begins with.
pub(super) enum Begun {
    /// An earlier fix closes it.
    Closed,
    /// Nothing is asked: what became of it.
    Ended(Resolution),
    /// What is to be asked.
    Asked(Vec<Question>),
}

/// What is to be asked of a finding, if anything.
///
/// # Errors
/// When it cannot be scanned or explored.
pub(super) fn begin(
    case: &Case,
    inputs: &Inputs<'_>,
    prover: &mut Prover,
    writer: &dyn Writer,
    effort: &Effort,
) -> Result<Begun, EngineError> {
    if prover.closed_by(case)?.is_some() {
        return Ok(Begun::Closed);
    }
    if !prover.shows(case)? {
        return Ok(Begun::Ended(unfixed(format!("a scan of {} alone does not show it", case.unit))));
    }
    Ok(match questions(case, inputs, prover, writer, effort)? {
        Ok(questions) => Begun::Asked(questions),
        Err(ended) => Begun::Ended(ended),
    })
}

/// What the likest rules want of the block where the second scanner found something only with a fix: that scanner does not
/// say what it wants. Nothing where one of them cannot be told.
pub(super) fn what_was_uncovered_wants(
    case: &Case,
    uncovered: &[String],
    inputs: &Inputs<'_>,
    prover: &mut Prover,
) -> Result<Vec<Alternatives>, EngineError> {
    let schemas = prover.schemas(case)?;
    let (Some(schema), Some(ty)) = (schemas.of(&case.block), case.block.resource_type()) else { return Ok(Vec::new()) };
    let mut wanted = Vec::new();
    for told in uncovered {
        let finding = Finding::new(Tool::Trivy, "", told, case.finding.location.clone(), None);
        let mut ways = Vec::new();
        for wish in rules::kin(inputs.wishes, &finding, ty).into_iter().filter(|wish| wish.graph.is_none()) {
            if ways.is_empty() {
                ways = prover.explore(case, &wish.rule, &schema)?.ways;
            }
        }
        if ways.is_empty() {
            return Ok(Vec::new());
        }
        wanted.push(ways);
    }
    Ok(wanted)
}

/// What is to be asked about a finding; `Err` is what became of it where nothing is.
fn questions(
    case: &Case,
    inputs: &Inputs<'_>,
    prover: &mut Prover,
    writer: &dyn Writer,
    effort: &Effort,
) -> Result<Result<Vec<Question>, Resolution>, EngineError> {
    let schemas = prover.schemas(case)?;
    let may_change = |path: &RelPath| inputs.job.is_in_scope(path) && !locate::is_linked(&inputs.job.tree, path);
    let own = inputs.wishes.get(&case.finding.rule);
    let mut questions = Vec::new();
    let mut ended = None;
    for (wish, explored) in sources(case, inputs, prover, &schemas) {
        // The conditions of a graph rule are told as they are.
        let rule = wish.map_or(case.finding.rule.as_str(), |wish| wish.rule.as_str());
        let explored = match explored {
            Some(explored) => explored,
            None if wish.is_some_and(|wish| wish.graph.is_none()) => {
                let schema = schemas.of(&case.block).unwrap_or_else(|| ask::supposed(prover.tree(), case, wish));
                prover.explore(case, rule, &schema)?
            }
            None => Explored::nothing(),
        };
        if let Some((_, block)) = prover.tree().find(&case.file.parent(), &case.block).filter(|_| own.is_some())
            && let Some(reason) = abstain::needed(own, &explored, block, schemas.of(&case.block).as_ref())
        {
            return Ok(Err(Resolution::Abstained { reason }));
        }
        let rules = ask::Rules {
            wish,
            explored: &explored.ways,
            house: &inputs.house,
            knowledge: &inputs.knowledge,
            types: inputs.companion_types,
            may_change: &may_change,
        };
        match ask::prepare(prover.tree(), case, &rules, schemas.clone(), effort, writer) {
            Ok(asked) => questions.push(asked),
            Err(why) => ended = ended.or(Some(why)),
        }
    }
    // One that can be asked is enough.
    Ok(match ended {
        Some(ended) if questions.is_empty() => Err(ended),
        _ => Ok(ask::in_order(questions)),
    })
}

/// Where the ways to close a finding come from: a rule's wish, and what running that rule has shown where it need not be run.
type Source<'a> = (Option<&'a Wish>, Option<Explored>);

/// Its own rule where the scanner says what it wants. Else the attribute that the finding's lines hold, the likest rules of
/// one that does, and the settings that are called as the finding's words say, in that order.
fn sources<'a>(case: &Case, inputs: &Inputs<'a>, prover: &Prover, schemas: &Schemas) -> Vec<Source<'a>> {
    let own = inputs.wishes.get(&case.finding.rule);
    if own.is_some() || case.finding.tool == Tool::Checkov {
        return vec![(own, None)];
    }
    // What is only supposed needs somebody who says whether it does.
    let can_tell = prover.can_tell(case.finding.tool);
    let dir = case.file.parent();
    let told = |ways: Alternatives| {
        (can_tell && !ways.is_empty()).then_some((None, Some(Explored { ways, is_settable: true })))
    };
    let now = prover.tree().find(&dir, &case.block);
    // Its lines are those of the tree as scanned.
    let as_scanned = inputs
        .job
        .tree
        .find(&dir, &case.subject.1)
        .filter(|(file, block)| now.is_some_and(|(now, other)| now.slice(&other.span) == file.slice(&block.span)));
    let at_lines = as_scanned.map(|(file, block)| rules::by_lines(&case.finding, file, block)).and_then(told);
    let in_words = |schema: schema::Block| Some(rules::by_words(&case.finding, now?.1, &schema));
    let in_words = schemas.of(&case.block).and_then(in_words).and_then(told);
    let mut kin: Vec<Source<'a>> = case.block.resource_type().map_or_else(Vec::new, |ty| {
        rules::kin(inputs.wishes, &case.finding, ty).into_iter().map(|wish| (Some(wish), None)).collect()
    });
    if kin.is_empty() {
        kin.push((None, None));
    }
    at_lines.into_iter().chain(kin).chain(in_words).collect()
}
