//! Generation: a prompt and a grammar in, a sentence of that grammar out.

use std::io::{self, Read, Write};
use std::time::Instant;

use candle_core::Tensor;

use super::batch::Batch;
use super::constraint::Constraint;
use super::draft::Drafter;
use super::network::Cache;
use super::sampler::Sampler;
use super::{ChatTurn, Model, ModelError, Sampling};
use crate::interrupt;
use crate::outcome::GenStats;

/// Tokens of a prompt that are run in one pass: between passes an interrupt is noticed.
const CHUNK: usize = 256;

/// Up to this many tokens a pass is widened by a draft. Fewer than [`CHUNK`], so that it stays one pass.
const WIDE: usize = 32;

/// Up to this many allowed tokens their logits are computed one by one instead of with the whole vocabulary's. The vocabulary of
/// the unit tests' models is small, and both ways are to be taken there.
const FEW: usize = if cfg!(test) { 20 } else { 2048 };

/// What the answer follows.
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'a> {
    /// Text as the model sees it, template applied; names of special tokens in it are those tokens.
    Text(&'a str),
    /// Turns, to which the model's template is applied.
    Turns(&'a [ChatTurn]),
}

/// One generation.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the answer follows.
    pub prompt: Prompt<'a>,
    /// The language of the allowed answers, in llguidance's dialect of Lark.
    pub grammar: &'a str,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer is cut when it has this many tokens; a run of forced ones is not torn apart for it.
    pub max_tokens: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The answer. Without its end token.
    pub text: String,
    /// Whether it is a whole sentence of the grammar: not cut at the limit.
    pub complete: bool,
    /// Mean natural log-probability of the tokens that were chosen, each among those allowed in its place; 0 when all
    /// were forced.
    pub mean_log_probability: f64,
    /// Figures.
    pub stats: GenStats,
}

/// A model with a cache: prompts that begin as the one before pay only for the rest.
pub struct Session<'m> {
    model: &'m Model,
    memory: Memory,
    /// Where its passes are run together with those of others.
    batch: Option<&'m Batch<'m>>,
}

/// What a session keeps.
pub(super) struct Memory {
    cache: Cache,
    /// The tokens that the cache stands for.
    tokens: Vec<u32>,
    /// Outputs for the last of these tokens, as many as the tensor has rows.
    outputs: Option<Tensor>,
    /// The logits of the whole vocabulary for the first of the outputs, where they came along.
    logits: Option<Tensor>,
}

impl Memory {
    fn new(model: &Model) -> Self {
        Self { cache: model.network.cache(), tokens: Vec::new(), outputs: None, logits: None }
    }
}

impl<'m> Session<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        Self { model, memory: Memory::new(model), batch: None }
    }

    /// One that runs its passes together with others.
    pub(super) fn joined(model: &'m Model, memory: Memory, batch: &'m Batch<'m>) -> Self {
        Self { model, memory, batch: Some(batch) }
    }

    /// Takes out what it keeps: it is then as a new one.
    pub(super) fn take(&mut self) -> Memory {
        std::mem::replace(&mut self.memory, Memory::new(self.model))
    }

    /// Gives it something to keep.
    pub(super) fn put(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// Whether its model runs on the CPU's own kernels.
    pub(super) fn is_packed(&self) -> bool {
        self.model.is_packed()
    }

    /// How many of these tokens it has run already, from the first on.
    pub fn common(&self, tokens: &[u32]) -> usize {
        self.memory.tokens.iter().zip(tokens).take_while(|(run, token)| run == token).count()
    }

    /// A session that goes on from here by itself.
    ///
    /// # Errors
    /// When the device has no room for its cache.
    pub fn fork(&self) -> Result<Self, ModelError> {
        let Memory { cache, tokens, .. } = &self.memory;
        let memory = Memory { cache: cache.fork()?, tokens: tokens.clone(), outputs: None, logits: None };
        Ok(Self { model: self.model, memory, batch: self.batch })
    }

    /// Runs the prompt's beginning ahead of time, so that requests which start with it find it in the cache.
    /// Gives how many of its tokens were there already.
    ///
    /// # Errors
    /// When the prompt is too long, the computation fails, or the user stops it.
    pub fn prefill(&mut self, prompt: &str) -> Result<usize, ModelError> {
        self.prefill_tokens(&self.model.tokenizer.encode_prompt(prompt))
    }

    /// The same for tokens.
    pub(super) fn prefill_tokens(&mut self, tokens: &[u32]) -> Result<usize, ModelError> {
        let cached = self.keep_common(tokens, tokens.len());
        self.run(&tokens[cached..], 1, false)?;
        Ok(cached)
    }

    /// Begins with a cache that stands for these tokens.
    pub(super) fn begin(&mut self, cache: Cache, tokens: &[u32]) {
        self.memory = Memory { cache, tokens: tokens.to_vec(), outputs: None, logits: None };
    }

    /// Its cache, alone.
    pub(super) fn into_cache(self) -> Cache {
        self.memory.cache
    }

    /// Writes the cache's first positions.
    pub(super) fn write_to(&self, positions: usize, out: &mut dyn Write) -> io::Result<()> {
        self.memory.cache.write_to(positions, out)
    }

    /// Reads what was written of so many positions.
    pub(super) fn read_cache(&self, positions: usize, from: &mut dyn Read) -> io::Result<Cache> {
        self.model.network.read_cache(positions, from)
    }

    /// Writes an answer under the grammar.
    ///
    /// Where the grammar leaves one way on, its tokens are taken without asking the model, and run together with what
    /// follows. Where the same words stood before, what followed them is run ahead (see [`Drafter`]). The same request gives
    /// the same answer in a session with the same past.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when the grammar does not compile or fails on the way, [`ModelError::TooLong`] when prompt and
    /// answer exceed the context, [`ModelError::Interrupted`], or when the computation fails. The session stays usable.
    pub fn generate(&mut self, request: &Request) -> Result<Generation, ModelError> {
        let mut constraint = self.model.grammars.start(request.grammar)?;
        let mut sampler = Sampler::new(request.sampling);
        let mut drafter = Drafter::new();
        // The prompt and the answer so far.
        let mut known = match request.prompt {
            Prompt::Text(text) => self.model.tokenizer.encode_prompt(text),
            Prompt::Turns(turns) => self.model.tokenizer.encode_prompt(&self.model.render(turns)?),
        };
        let prompt = known.len();
        let mut stats = GenStats { prompt_tokens: prompt, ..GenStats::default() };
        // What every answer begins with is known before anything is run; it may be in the cache as well.
        known.extend(constraint.take_forced()?);
        stats.forced_tokens = known.len() - prompt;
        let context = self.model.config().context;
        if known.len() >= context {
            return Err(ModelError::TooLong { tokens: known.len() + 1, context });
        }
        stats.cached_tokens = self.keep_common(&known, known.len().saturating_sub(1)).min(prompt);

        // What is forced is no choice of the model's that could go on and on; the context bounds it.
        let is_enough = |known: &[u32], stats: &GenStats| {
            known.len() - prompt - stats.forced_tokens >= request.max_tokens || known.len() >= context
        };
        let mut chosen = 0usize;
        let mut log_probability = 0.0;
        let started = Instant::now();
        while !constraint.is_done() && !is_enough(&known, &stats) {
            let forced = constraint.take_forced()?;
            stats.forced_tokens += forced.len();
            known.extend(&forced);
            if constraint.is_done() || is_enough(&known, &stats) {
                break;
            }
            let allowed = constraint.allowed()?;
            let token = match allowed.as_slice() {
                &[only] => {
                    stats.forced_tokens += usize::from(only != constraint.end());
                    only
                }
                _ => {
                    let all = allowed.len() > FEW;
                    let output = self.output_behind(&known, all, &mut constraint, &mut drafter, &mut stats)?;
                    let logits = self.logits(&output, &allowed)?;
                    if chosen == 0 {
                        stats.prefill_s = started.elapsed().as_secs_f64();
                    }
                    let choice = sampler.choose(&logits)?;
                    chosen += 1;
                    log_probability += choice.log_probability;
                    allowed.get(choice.index).copied().unwrap_or(constraint.end())
                }
            };
            constraint.accept(&[token])?;
            if token == constraint.end() {
                break;
            }
            known.push(token);
        }
        self.judge(&known, &mut stats);
        let answer = &known[prompt..];
        stats.answer_tokens = answer.len();
        stats.decode_s = started.elapsed().as_secs_f64() - stats.prefill_s;
        let mean_log_probability = if chosen == 0 { 0.0 } else { log_probability / chosen as f64 };
        let text = self.model.tokenizer.decode(answer);
        Ok(Generation { text, complete: constraint.is_done(), mean_log_probability, stats })
    }

    /// The output for the last of `known`: that of an earlier pass, when its draft was right up to there, or
    /// that of a new one. `all` says that the logits of the whole vocabulary will be asked for.
    fn output_behind(
        &mut self,
        known: &[u32],
        all: bool,
        constraint: &mut Constraint,
        drafter: &mut Drafter,
        stats: &mut GenStats,
    ) -> Result<Behind, ModelError> {
        let (first, right) = self.ahead(known);
        if let (Some(outputs), true) = (&self.memory.outputs, first + right == known.len() && right > 0) {
            let logits = self.memory.logits.clone().filter(|_| right == 1);
            return Ok(Behind { output: outputs.narrow(0, right - 1, 1)?.contiguous()?, logits });
        }
        let (drafted, right) = self.judge(known, stats);
        drafter.learn(drafted, right);
        let cached = self.keep_common(known, known.len().saturating_sub(1));
        let room = self.model.config().context.saturating_sub(known.len());
        // Behind a long prompt the pass is wide enough already.
        let draft = match known.len() - cached <= WIDE {
            true => constraint.admitted(drafter.draft(known))?,
            false => &[],
        };
        let draft = &draft[..draft.len().min(room)];
        self.run(&[&known[cached..], draft].concat(), 1 + draft.len(), all)?;
        let logits = self.memory.logits.clone();
        match &self.memory.outputs {
            Some(outputs) => Ok(Behind { output: outputs.narrow(0, 0, 1)?.contiguous()?, logits }),
            None => Err(candle_core::Error::msg("a pass gave no output").into()),
        }
    }

    /// Counts the guesses of the latest pass, and those that came true.
    fn judge(&self, known: &[u32], stats: &mut GenStats) -> (usize, usize) {
        let (first, right) = self.ahead(known);
        // The first output was for what was known then, all others are for guesses.
        let drafted = (self.memory.tokens.len() - first).saturating_sub(1);
        let right = right.saturating_sub(1);
        stats.drafted_tokens += drafted;
        stats.accepted_tokens += right;
        (drafted, right)
    }

    /// Where the tokens begin that there are outputs for, and how many of these are as they turned out to be.
    fn ahead(&self, known: &[u32]) -> (usize, usize) {
        let outputs = self.memory.outputs.as_ref().map_or(0, |outputs| outputs.dims()[0]);
        let first = self.memory.tokens.len().saturating_sub(outputs);
        let pairs = self.memory.tokens.iter().zip(known).skip(first);
        (first, pairs.take_while(|(run, known)| run == known).count())
    }

    /// Cuts the cache back to what it has in common with `tokens`, at most `most` of them.
    fn keep_common(&mut self, tokens: &[u32], most: usize) -> usize {
        let common = self.common(tokens).min(most);
        self.memory.tokens.truncate(common);
        self.memory.cache.truncate(common);
        self.memory.outputs = None;
        self.memory.logits = None;
        common
    }

    /// Runs tokens behind those in the cache, and keeps the outputs of the last ones, as many as are asked for and were run in
    /// one pass. Where passes are shared, `all` has the logits for the first of them computed along.
    fn run(&mut self, tokens: &[u32], outputs: usize, all: bool) -> Result<(), ModelError> {
        self.memory.outputs = None;
        self.memory.logits = None;
        let mut left = tokens.len();
        for chunk in tokens.chunks(CHUNK) {
            interrupt::check()?;
            left -= chunk.len();
            let rows = outputs.min(chunk.len());
            let first = chunk.len() - rows;
            let cache = &mut self.memory.cache;
            let hidden = match self.batch {
                None => self.model.network.hidden(chunk, cache)?,
                Some(batch) => {
                    let output = batch.run(chunk, cache, (all && left == 0).then_some(first));
                    // After another session's panic the cache is empty.
                    self.memory.tokens.truncate(self.memory.cache.len());
                    let output = output?;
                    self.memory.logits = output.logits;
                    output.hidden
                }
            };
            self.memory.tokens.extend(chunk);
            self.memory.outputs = Some(hidden.narrow(0, first, rows)?);
        }
        Ok(())
    }

    fn logits(&self, behind: &Behind, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let network = &self.model.network;
        if tokens.len() <= FEW {
            return Ok(network.head_of(&behind.output, tokens)?.squeeze(0)?.to_vec1()?);
        }
        let all = match &behind.logits {
            Some(logits) => logits.clone(),
            None => network.head(&behind.output)?,
        };
        let all: Vec<f32> = all.squeeze(0)?.to_vec1()?;
        let logit = |&token: &u32| all.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Ok(tokens.iter().map(logit).collect())
    }
}

/// What the network makes of the last token that is known.
struct Behind {
    /// `[1, width]`
    output: Tensor,
    /// The logits of the whole vocabulary, `[1, vocab]`, where they came along.
    logits: Option<Tensor>,
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::fixture::written;
    use super::*;

    const GRAMMAR: &str = r#"start: "answer = " (value | list) "\n"
value: WORD | "<" STRING ">"
list: "[" value ("," value)* "]"
WORD: /[a-z]{2,5}/
STRING: /"[a-z ]{0,12}"/
"#;

    fn model() -> Model {
        let (_folder, path) = written("qwen2");
        Model::load(&path, &Device::Cpu).unwrap()
    }

    fn request(sampling: Sampling, prompt: &str) -> Request<'_> {
        Request { prompt: Prompt::Text(prompt), grammar: GRAMMAR, sampling, max_tokens: 200 }
    }

    fn seeded(seed: u64) -> Sampling {
        Sampling::Seeded { seed, temperature: 60.0, top_p: 0.98 }
    }

    fn is_sentence(text: &str) -> bool {
        let value = r#"([a-z]{2,5}|<"[a-z ]{0,12}">)"#;
        let sentence = format!(r"^answer = ({value}|\[{value}(,{value})*\])\n$");
        regex::Regex::new(&sentence).unwrap().is_match(text)
    }

    #[test]
    fn random_weights_write_sentences_of_the_grammar() {
        let model = model();
        let mut session = model.session();
        let mut answers = std::collections::HashSet::new();
        for seed in 0..20 {
            let answer = session.generate(&request(seeded(seed), "What is it?")).unwrap();
            assert!(!answer.complete || is_sentence(&answer.text), "{answer:?}");
            assert!(answer.text.starts_with("answer = "));
            assert!(answer.mean_log_probability < 0.0 && answer.mean_log_probability.is_finite());
            answers.insert(answer.text);
        }
        assert!(answers.len() > 10, "seeds differ: {answers:?}");
        assert!(answers.iter().filter(|answer| is_sentence(answer)).count() > 10, "{answers:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_with_and_without_cache() {
        let model = model();
        for sampling in [Sampling::Greedy, seeded(11)] {
            let mut session = model.session();
            let first = session.generate(&request(sampling, "one two three")).unwrap();
            session.generate(&request(seeded(5), "one two four")).unwrap();
            let again = session.generate(&request(sampling, "one two three")).unwrap();
            assert_eq!(first.text, again.text);
            assert_eq!(first.stats.cached_tokens, 0);
            assert!(again.stats.cached_tokens >= "one two ".len(), "{:?}", again.stats);
        }
    }

    #[test]
    fn a_prefix_is_run_once() {
        let model = model();
        let mut session = model.session();
        assert_eq!(session.prefill("a shared beginning").unwrap(), 0);
        assert_eq!(session.prefill("a shared beginning").unwrap(), model.count_tokens("a shared beginning"));
        let stats = session.generate(&request(Sampling::Greedy, "a shared beginning")).unwrap().stats;
        assert_eq!(stats.cached_tokens, stats.prompt_tokens);
    }

    #[test]
    fn forced_tokens_are_not_asked_for() {
        let model = model();
        let grammar = r#"start: "resource x y {\n  on = " ("true" | "false") "\n}\n""#;
        let request = Request { prompt: Prompt::Text("?"), grammar, sampling: Sampling::Greedy, max_tokens: 100 };
        let answer = model.session().generate(&request).unwrap();
        assert!(answer.complete);
        assert!(answer.stats.answer_tokens - answer.stats.forced_tokens <= 5, "{:?}", answer.stats);
        let request = Request { grammar: r#"start: "only this""#, ..request };
        let answer = model.session().generate(&request).unwrap();
        assert_eq!(answer.text, "only this");
        assert_eq!(answer.stats.forced_tokens, answer.stats.answer_tokens);
        assert_eq!(answer.mean_log_probability, 0.0);
    }

    /// Drafts are taken from the prompt, in which sentences of the grammar stand.
    #[test]
    fn drafts_change_no_answer_and_some_come_true() {
        let model = model();
        let grammar = r#"start: ("ab cd ef gh " | "ij kl mn op ")+ "end""#;
        let prompt = "ab cd ef gh ab cd ef gh ij kl mn op ij kl mn op ";
        let network = &model.network;
        let mut accepted = 0;
        for sampling in [Sampling::Greedy, seeded(1), seeded(2), seeded(3)] {
            let request = Request { prompt: Prompt::Text(prompt), grammar, sampling, max_tokens: 120 };
            let answer = model.session().generate(&request).unwrap();
            assert!(answer.stats.accepted_tokens <= answer.stats.drafted_tokens);
            accepted += answer.stats.accepted_tokens;
            // The same choices, each by a pass of its own.
            let mut constraint = model.grammars.start(grammar).unwrap();
            let mut sampler = Sampler::new(sampling);
            let mut known = model.tokenizer.encode_prompt(prompt);
            let start = known.len();
            while !constraint.is_done() && known.len() - start < answer.stats.answer_tokens {
                let allowed = constraint.allowed().unwrap();
                let index = match allowed.len() {
                    1 => 0,
                    _ => {
                        let hidden = network.hidden(&known, &mut network.cache()).unwrap();
                        let hidden = hidden.narrow(0, known.len() - 1, 1).unwrap().contiguous().unwrap();
                        let logits: Vec<f32> =
                            network.head_of(&hidden, &allowed).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
                        sampler.choose(&logits).unwrap().index
                    }
                };
                constraint.accept(&[allowed[index]]).unwrap();
                if allowed[index] != constraint.end() {
                    known.push(allowed[index]);
                }
            }
            assert_eq!(answer.text, model.tokenizer.decode(&known[start..]));
        }
        assert!(accepted > 0);
    }

    #[test]
    fn the_limit_cuts_and_says_so() {
        let model = model();
        let request = Request {
            prompt: Prompt::Text("?"),
            grammar: r"start: /[a-z]{50}/",
            sampling: Sampling::Greedy,
            max_tokens: 7,
        };
        let answer = model.session().generate(&request).unwrap();
        assert!(!answer.complete);
        assert_eq!(answer.stats.answer_tokens, 7);
    }

    #[test]
    fn a_bad_request_leaves_the_session_usable() {
        let model = model();
        let mut session = model.session();
        let bad = Request { grammar: "start: nowhere", ..request(Sampling::Greedy, "hello") };
        assert!(session.generate(&bad).unwrap_err().is_about_request());
        let long = "x ".repeat(700);
        assert!(matches!(session.generate(&request(Sampling::Greedy, &long)), Err(ModelError::TooLong { .. })));
        assert!(is_sentence(&session.generate(&request(seeded(1), "hello")).unwrap().text));
    }

    #[test]
    fn turns_are_rendered() {
        let model = model();
        let turns = [ChatTurn::new(super::super::Role::User, "hello")];
        let by_turns = Request { prompt: Prompt::Turns(&turns), ..request(seeded(2), "") };
        let text = model.render(&turns).unwrap();
        assert_eq!(
            model.session().generate(&by_turns).unwrap().text,
            model.session().generate(&request(seeded(2), &text)).unwrap().text
        );
    }
}
