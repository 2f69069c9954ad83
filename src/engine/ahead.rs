//! Answers that are written before their finding's turn, several at once: a pass of the model over several costs little more
//! than over one.
//!
//! In: the findings that are to come. Out: nothing but what the writer then knows. The order of the findings stays what it is,
//! and so does every outcome: when its turn comes, a finding asks as ever, and only where that is the same question as was asked
//! ahead its answer is there already.

use std::collections::BTreeSet;

use crate::source::{BlockAddr, RelPath};
use crate::validate::Prover;

use super::ask::{self, Asking, Question};
use super::writer::{Ask, Writer};
use super::{Begun, Effort, EngineError, Inputs, Work, begin};

/// Which findings were asked about ahead of their turn.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    asked: BTreeSet<String>,
}

impl Ahead {
    /// Has the first answers to the next findings written, where that of the first of them is not there yet.
    ///
    /// # Errors
    /// When a finding cannot be prepared. What the writer runs into is told when a finding's turn comes.
    pub(super) fn look(
        &mut self,
        work: &[Work],
        inputs: &Inputs<'_>,
        prover: &mut Prover,
        writer: &mut dyn Writer,
        effort: &Effort,
    ) -> Result<(), EngineError> {
        let lanes = writer.lanes();
        let is_asked = |item: &Work| self.asked.contains(&item.located.finding.id) || !item.attempts.is_empty();
        if lanes < 2 || work.first().is_none_or(is_asked) {
            return Ok(());
        }
        let mut blocks: BTreeSet<(RelPath, BlockAddr)> = BTreeSet::new();
        let mut questions: Vec<Vec<Question>> = Vec::new();
        let mut ids = Vec::new();
        for item in work.iter().filter(|item| item.is_open() && !is_asked(item)) {
            if questions.len() == lanes {
                break;
            }
            let Ok(case) = &item.located.case else { continue };
            // What is asked of a block next depends on what became of it before.
            if !blocks.insert((case.file.clone(), case.block.clone())) {
                continue;
            }
            if let Begun::Asked(asked) = begin(case, inputs, prover, &*writer, effort)? {
                questions.push(asked);
                ids.push(item.located.finding.id.clone());
            }
        }
        self.asked.extend(ids);
        if questions.len() > 1 {
            let asks: Vec<Ask<'_>> = questions.iter().map(|asked| first(asked, inputs, effort)).collect();
            writer.ahead(&asks);
        }
        Ok(())
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
