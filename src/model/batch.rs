//! Several sessions at once: what they want to run is run in one pass, which reads the weights once for all of them.
//!
//! In: sessions, and what to do with each. Out: what came of it. Each session's work goes on a thread of its own; one that
//! needs a pass waits until all others need one too or have ended, and the last to come runs it for all. What a session
//! computes does not depend on the others (see [`Network::hidden_all`]), so the answers are those of one after the other.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::Tensor;

use super::generate::Session;
use super::kv::Run;
use super::network::{Cache, Network};
use super::{Model, ModelError};

/// Passes that sessions share.
pub(super) struct Batch<'m> {
    network: &'m Network,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Sessions at work.
    members: usize,
    /// What the next pass is to run.
    waiting: Vec<Waiting>,
    /// What passes gave, by ticket.
    done: BTreeMap<usize, Done>,
    tickets: usize,
    /// Whether a pass ended in a panic: what it was to give never comes.
    is_broken: bool,
}

struct Waiting {
    ticket: usize,
    tokens: Vec<u32>,
    cache: Cache,
    /// The row of which all logits are wanted.
    row: Option<usize>,
}

struct Done {
    cache: Cache,
    output: Result<Output, ModelError>,
}

/// What a pass gives for a run of tokens.
pub(super) struct Output {
    /// What the last norm makes of each, `[n, width]`.
    pub hidden: Tensor,
    /// The logits of the row that was asked for, `[1, vocab]`.
    pub logits: Option<Tensor>,
}

/// Does something with each of several sessions at once, and gives what came of it in their order.
///
/// # Panics
/// When the work does.
pub fn together<'m, T: Send>(
    model: &'m Model,
    sessions: &mut [Session<'m>],
    work: impl Fn(usize, &mut Session<'_>) -> T + Sync,
) -> Vec<T> {
    let state = State { members: sessions.len(), ..State::default() };
    let batch = Batch { network: &model.network, state: Mutex::new(state), changed: Condvar::new() };
    std::thread::scope(|scope| {
        let (batch, work) = (&batch, &work);
        let handles: Vec<_> = sessions
            .iter_mut()
            .enumerate()
            .map(|(index, session)| (index, session, Member(batch)))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(index, session, member)| {
                scope.spawn(move || {
                    let _member = member;
                    let mut joined = Session::joined(model, session.take(), batch);
                    let result = work(index, &mut joined);
                    session.put(joined.take());
                    result
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// A session at work. When it ends the others no longer wait for it.
struct Member<'b, 'm>(&'b Batch<'m>);

impl Drop for Member<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.members -= 1;
        state.is_broken |= std::thread::panicking();
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Batch<'_> {
    /// Runs tokens behind those in a cache, in one pass with what the others want to run. Where the logits of the whole
    /// vocabulary are wanted behind one of them, `row` says behind which: they take the network's largest matrix.
    ///
    /// # Errors
    /// As of [`Network::hidden`]; the cache is then as before, but after a panic of another session it is empty.
    pub(super) fn run(&self, tokens: &[u32], cache: &mut Cache, row: Option<usize>) -> Result<Output, ModelError> {
        let mut state = self.lock();
        let ticket = state.tickets;
        state.tickets += 1;
        let taken = std::mem::replace(cache, self.network.cache());
        state.waiting.push(Waiting { ticket, tokens: tokens.to_vec(), cache: taken, row });
        loop {
            if let Some(done) = state.done.remove(&ticket) {
                *cache = done.cache;
                return done.output;
            }
            if state.is_broken {
                return Err(candle_core::Error::msg("a pass for several sessions failed").into());
            }
            if state.waiting.len() == state.members {
                let waiting = std::mem::take(&mut state.waiting);
                drop(state);
                let done = self.pass(waiting);
                state = self.lock();
                state.done.extend(done);
                self.changed.notify_all();
                continue;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pass(&self, mut waiting: Vec<Waiting>) -> Vec<(usize, Done)> {
        let mut runs: Vec<_> = waiting.iter_mut().map(|Waiting { tokens, cache, .. }| Run { tokens, cache }).collect();
        let lens: Vec<usize> = runs.iter().map(|run| run.cache.len()).collect();
        let hidden = self.network.hidden_all(&mut runs);
        match hidden.and_then(|hidden| self.outputs(&waiting, &hidden)) {
            Ok(outputs) => {
                let done = |(it, output): (Waiting, Output)| (it.ticket, Done { cache: it.cache, output: Ok(output) });
                waiting.into_iter().zip(outputs).map(done).collect()
            }
            // Each gets its own error, if it has one.
            Err(_) => waiting
                .into_iter()
                .zip(lens)
                .map(|(mut it, len)| {
                    // The pass itself may have gone well, and only what came after it not.
                    it.cache.truncate(len);
                    let hidden = self.network.hidden(&it.tokens, &mut it.cache);
                    let output = hidden.and_then(|hidden| self.outputs(std::slice::from_ref(&it), &hidden));
                    let output = output.and_then(|outputs| {
                        outputs
                            .into_iter()
                            .next()
                            .ok_or_else(|| candle_core::Error::msg("a pass gave no output").into())
                    });
                    if output.is_err() {
                        it.cache.truncate(len);
                    }
                    (it.ticket, Done { cache: it.cache, output })
                })
                .collect(),
        }
    }

    /// What each of the runs of a pass gets of its outputs.
    fn outputs(&self, waiting: &[Waiting], hidden: &Tensor) -> Result<Vec<Output>, ModelError> {
        let mut first = 0;
        let (mut parts, mut rows) = (Vec::new(), Vec::new());
        for Waiting { tokens, row, .. } in waiting {
            let part = hidden.narrow(0, first, tokens.len())?;
            rows.extend(row.map(|row| part.narrow(0, row, 1)).transpose()?);
            parts.push((part, *row));
            first += tokens.len();
        }
        let logits = if rows.is_empty() { None } else { Some(self.network.head(&Tensor::cat(&rows, 0)?)?) };
        let mut at = 0;
        let output = |(hidden, row): (Tensor, Option<usize>)| {
            let logits = match (&logits, row) {
                (Some(logits), Some(_)) => {
                    at += 1;
                    Some(logits.narrow(0, at - 1, 1)?)
                }
                _ => None,
            };
            Ok(Output { hidden, logits })
        };
        parts.into_iter().map(output).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::fixture::written;
    use super::super::{Generation, Prompt, Request, Sampling};
    use super::*;

    const GRAMMAR: &str = r#"start: "answer = " WORD ("," WORD){2,20} "\n"
WORD: /[a-z]{2,5}/
"#;

    fn ask(session: &mut Session<'_>, prompt: &str, seed: u64) -> Result<Generation, ModelError> {
        let sampling = Sampling::Seeded { seed, temperature: 30.0, top_p: 0.98 };
        session.generate(&Request { prompt: Prompt::Text(prompt), grammar: GRAMMAR, sampling, max_tokens: 60 })
    }

    #[test]
    fn answers_are_those_of_one_after_the_other() {
        for architecture in ["qwen2", "llama"] {
            let (_folder, path) = written(architecture);
            let model = Model::load(&path, &Device::Cpu).unwrap();
            let mut first = model.session();
            first.prefill("what all begin with, and ").unwrap();
            // They are of different lengths, and so are their answers.
            let prompts: Vec<String> =
                (1..6).map(|n| format!("what all begin with, and {}", "more and ".repeat(n * n))).collect();
            let alone: Vec<String> = prompts
                .iter()
                .zip(0..)
                .map(|(prompt, seed)| ask(&mut first.fork().unwrap(), prompt, seed).unwrap().text)
                .collect();
            let mut sessions: Vec<_> = prompts.iter().map(|_| first.fork().unwrap()).collect();
            let answers = together(&model, &mut sessions, |index, session| {
                let answer = ask(session, &prompts[index], index as u64).unwrap();
                assert!(answer.stats.cached_tokens >= "what all begin".len() / 2, "{:?}", answer.stats);
                answer.text
            });
            assert_eq!(answers, alone);
            for (session, prompt) in sessions.iter().zip(&prompts) {
                let tokens = model.tokens(prompt);
                assert_eq!(session.common(&tokens), tokens.len(), "it can be gone on with");
            }
        }
    }

    #[test]
    fn what_one_runs_into_is_no_matter_of_the_others() {
        let (_folder, path) = written("llama");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let mut sessions: Vec<_> = (0..3).map(|_| model.session()).collect();
        let too_long = "word ".repeat(700);
        let prompts = ["one", too_long.as_str(), "three"];
        let answers = together(&model, &mut sessions, |index, session| ask(session, prompts[index], 1));
        assert!(matches!(answers[1], Err(ModelError::TooLong { .. })));
        for at in [0, 2] {
            assert_eq!(answers[at].as_ref().unwrap().text, ask(&mut model.session(), prompts[at], 1).unwrap().text);
        }
    }

    #[test]
    fn a_panic_of_one_is_none_that_all_wait_for() {
        let (_folder, path) = written("llama");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let mut sessions: Vec<_> = (0..3).map(|_| model.session()).collect();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            together(&model, &mut sessions, |index, session| {
                assert!(index != 1, "on purpose");
                drop(ask(session, "one", 1));
            })
        }));
        assert!(caught.is_err());
    }
}
