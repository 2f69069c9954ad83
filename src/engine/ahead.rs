//! Answers that are written before their finding's turn, several at once: a pass of the model over several costs little more
//! than over one.
//!
//! In: the findings that are to come, of which the first of each module is taken. Out: which of them were asked about; the rest
//! is what the writer then knows. The order of the findings stays what it is, and so does every outcome: when its turn comes, a
//! finding asks as ever, and only where that is the same question as was asked ahead its answer is there already.

use std::collections::BTreeSet;

use crate::interrupt;
use crate::validate::{Case, Prover};

use super::ask::{self, Asking, Question};
use super::begin::{Begun, begin};
use super::writer::{Ask, Writer};
use super::{Effort, EngineError, Inputs, Work};

/// Which findings were asked about ahead of their turn.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    asked: BTreeSet<String>,
}

impl Ahead {
    /// Has the first answers to the next findings of different modules written, where that of the first of them is not there
    /// yet. Gives the ids of the findings that were asked about.
    ///
    /// # Errors
    /// When the user asks to stop. What else goes wrong is told when a finding's turn comes, if it does so then.
    pub(super) fn look(
        &mut self,
        work: &[Work],
        inputs: &Inputs<'_>,
        prover: &mut Prover,
        writer: &mut dyn Writer,
        effort: &Effort,
    ) -> Result<Vec<String>, EngineError> {
        let lanes = writer.lanes();
        let is_asked = |item: &Work| self.asked.contains(&item.located.finding.id) || !item.attempts.is_empty();
        if lanes < 2 || work.first().is_none_or(is_asked) {
            return Ok(Vec::new());
        }
        // What is asked next in a module depends on what became of it before: a fix may add blocks that others then name.
        let mut modules = BTreeSet::new();
        let open = work.iter().filter(|item| item.is_open());
        let cases = open.filter_map(|item| Some((item, item.located.case.as_ref().ok()?)));
        let first_ones = cases.filter(|(_, case)| modules.insert(case.file.parent()));
        let new = first_ones.filter(|(item, _)| !is_asked(item)).map(|(_, case)| case);
        let cases: Vec<&Case> = new.take(lanes).collect();
        let ids: Vec<String> = cases.iter().map(|case| case.finding.id.clone()).collect();
        let mut questions: Vec<Vec<Question>> = Vec::new();
        for case in cases.into_iter().filter(|_| ids.len() > 1) {
            let begun = begin(case, inputs, prover, &*writer, effort);
            interrupt::check()?;
            if let Ok(Begun::Asked(asked)) = begun {
                questions.push(asked);
            }
        }
        self.asked.extend(ids.iter().cloned());
        if questions.len() > 1 {
            let asks: Vec<Ask<'_>> = questions.iter().map(|asked| first(asked, inputs, effort)).collect();
            writer.ahead(&asks);
        }
        Ok(ids)
    }
}

/// The first attempt at a finding.
fn first<'a>(questions: &'a [Question], inputs: &'a Inputs<'_>, effort: &'a Effort) -> Ask<'a> {
    let (prompts, this) = (inputs.prompts, ask::tries(questions, effort, true).into_iter().next());
    Box::new(move |writer| {
        let Some(this) = this else { return };
        let question = &questions[this.question];
        let sampling = ask::sampling(this, &question.case.finding, 1, &[], effort);
        let asking = Asking { question, this, earlier: &[], refusals: &[], number: 1, sampling };
        // Whatever goes wrong goes wrong again when it is its turn.
        drop(ask::attempt(&asking, prompts, effort, writer));
    })
}
