//! Who writes the answers: the local model, the audit log of an earlier run, or nobody where a grammar leaves one sentence.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::exit::{ExitStatus, Failure};
use crate::grammar::{Grammar, GrammarError};
use crate::model::{ChatTurn, Model, ModelError, Prefixes, Prompt, Request, Role, Sampling, Session, together};
use crate::outcome::{GenStats, ModelIdentity};

/// A request for one answer.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    /// Id of the finding that it is for.
    pub finding: &'a str,
    /// Which attempt, from 1.
    pub number: usize,
    /// The chat.
    pub turns: &'a [ChatTurn],
    /// The language that the answer is held to.
    pub grammar: &'a Grammar,
    /// The whole language, of which that may be a part: what was written earlier is held to it.
    pub language: &'a Grammar,
    /// Greedy or seeded.
    pub sampling: Sampling,
    /// Tokens, at most.
    pub max_tokens: usize,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Written {
    /// The prompt as the model saw it.
    pub prompt: String,
    /// The answer.
    pub text: String,
    /// Whether it ended by itself.
    pub complete: bool,
    /// Figures.
    pub stats: GenStats,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The grammar does not compile.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// An audit log cannot be replayed.
    #[error("cannot replay {path}: {message}")]
    Replay {
        /// The log.
        path: String,
        /// Why.
        message: String,
    },
}

impl WriteError {
    /// Whether only this request is at fault, and others can go on.
    pub fn is_about_request(&self) -> bool {
        match self {
            Self::Model(error) => error.is_about_request(),
            Self::Grammar(_) => true,
            Self::Replay { .. } => false,
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Model(error) => error.into(),
            WriteError::Grammar(error) => Failure::new(ExitStatus::Internal, error.to_string()),
            WriteError::Replay { .. } => Failure::new(ExitStatus::Input, error.to_string())
                .hint("--replay takes the audit.jsonl of a bundle made from the same findings"),
        }
    }
}

/// Makes the requests for one answer to a writer.
pub type Ask<'a> = Box<dyn Fn(&mut dyn Writer) + Sync + 'a>;

/// Writes answers.
pub trait Writer {
    /// Writes one answer.
    ///
    /// # Errors
    /// When the model fails. An answer that did not end within the limit is no error: it is not complete.
    fn write(&mut self, request: &WriteRequest<'_>) -> Result<Written, WriteError>;

    /// How many tokens a text takes in a prompt.
    fn count_tokens(&self, text: &str) -> usize;

    /// Who writes, for the manifest.
    fn identity(&self) -> ModelIdentity;

    /// How many requests it writes at once, at most.
    fn lanes(&self) -> usize {
        1
    }

    /// Writes ahead what these will ask for, all at once. A later request that is the same as one of theirs has its answer
    /// then; one that is another, as the module has changed meanwhile, is written as if there had been none. Errors are told
    /// to who makes the request.
    fn ahead(&mut self, _asks: &[Ask<'_>]) {}

    /// What it means that no answer came that could be judged.
    fn why_none(&self) -> &'static str {
        "no answer was whole and new"
    }
}

/// The local model with the cache of what it has read last.
pub struct LocalModel<'m> {
    model: &'m Model,
    /// Those of the last answers: the first is that of requests of their own, the others of those that were written ahead.
    sessions: Vec<Session<'m>>,
    identity: ModelIdentity,
    lanes: usize,
    /// What all prompts begin with, until it has been read.
    beginning: Option<(Vec<u32>, Prefixes)>,
    /// What was written ahead and has not been asked for yet.
    ahead: HashMap<Key, Written>,
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    prompt: String,
    grammar: String,
    /// Seed, and the bits of the temperature and the share of the likeliest; nothing where it is greedy.
    sampling: Option<(u64, u64, u64)>,
    max_tokens: usize,
}

impl Key {
    fn new(prompt: &str, request: &WriteRequest<'_>) -> Self {
        let sampling = match request.sampling {
            Sampling::Greedy => None,
            Sampling::Seeded { seed, temperature, top_p } => Some((seed, temperature.to_bits(), top_p.to_bits())),
        };
        let grammar = request.grammar.lark().to_owned();
        Self { prompt: prompt.to_owned(), grammar, sampling, max_tokens: request.max_tokens }
    }
}

impl<'m> LocalModel<'m> {
    /// A writer on a loaded model that writes up to so many answers at once.
    pub fn new(model: &'m Model, identity: ModelIdentity, lanes: usize) -> Self {
        Self { model, sessions: vec![model.session()], identity, lanes, beginning: None, ahead: HashMap::new() }
    }

    /// Tells which turns all chats open with, and where what the model makes of them is kept.
    ///
    /// # Errors
    /// When the model's template refuses them.
    pub fn opening(mut self, turns: &[ChatTurn], prefixes: Prefixes) -> Result<Self, WriteError> {
        let tokens = |question: &str| -> Result<Vec<u32>, WriteError> {
            let turns = [turns, &[ChatTurn::new(Role::User, question.to_owned())]].concat();
            Ok(self.model.tokens(&self.model.render(&turns)?))
        };
        let (mut one, other) = (tokens("The block:")?, tokens("Around it:")?);
        one.truncate(one.iter().zip(&other).take_while(|(one, other)| one == other).count());
        self.beginning = Some((one, prefixes));
        Ok(self)
    }

    /// Reads it, once.
    fn begin(&mut self) -> Result<(), WriteError> {
        if let Some((tokens, prefixes)) = &self.beginning {
            prefixes.begin(&mut self.sessions[0], tokens)?;
            self.beginning = None;
        }
        Ok(())
    }
}

impl Writer for LocalModel<'_> {
    fn write(&mut self, request: &WriteRequest<'_>) -> Result<Written, WriteError> {
        let prompt = self.model.render(request.turns)?;
        if let Some(written) = self.ahead.remove(&Key::new(&prompt, request)) {
            return Ok(written);
        }
        self.begin()?;
        // What is asked again goes on from where it was asked first.
        let tokens = self.model.tokens(&prompt);
        let common = |(_, session): &(usize, &Session<'_>)| session.common(&tokens);
        if let Some((best, _)) = self.sessions.iter().enumerate().rev().max_by_key(common) {
            self.sessions.swap(0, best);
        }
        generate(&mut self.sessions[0], prompt, request)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn ahead(&mut self, asks: &[Ask<'_>]) {
        // What goes wrong here goes wrong again when one is asked for.
        if self.begin().is_err() {
            return;
        }
        self.sessions.truncate(1);
        let forks: Result<Vec<Session<'_>>, _> = asks.iter().map(|_| self.sessions[0].fork()).collect();
        // Without room for several, they are written one by one.
        let Ok(forks) = forks else { return };
        self.sessions.extend(forks);
        let (model, identity) = (self.model, &self.identity);
        let written = together(model, &mut self.sessions[1..], |index, session| {
            let mut lane = Lane { model, session, identity, written: Vec::new() };
            asks[index](&mut lane);
            lane.written
        });
        self.ahead.extend(written.into_iter().flatten());
    }
}

/// One of several answers that are written at once.
struct Lane<'l, 's> {
    model: &'l Model,
    session: &'l mut Session<'s>,
    identity: &'l ModelIdentity,
    written: Vec<(Key, Written)>,
}

impl Writer for Lane<'_, '_> {
    fn write(&mut self, request: &WriteRequest<'_>) -> Result<Written, WriteError> {
        let prompt = self.model.render(request.turns)?;
        let key = Key::new(&prompt, request);
        let written = generate(self.session, prompt, request)?;
        self.written.push((key, written.clone()));
        Ok(written)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }
}

fn generate(session: &mut Session<'_>, prompt: String, request: &WriteRequest<'_>) -> Result<Written, WriteError> {
    let generation = session.generate(&Request {
        prompt: Prompt::Text(&prompt),
        grammar: request.grammar.lark(),
        sampling: request.sampling,
        max_tokens: request.max_tokens,
    })?;
    Ok(Written { prompt, text: generation.text, complete: generation.complete, stats: generation.stats })
}

/// No model: only what a grammar leaves no choice about is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced;

impl Writer for Forced {
    fn write(&mut self, request: &WriteRequest<'_>) -> Result<Written, WriteError> {
        let sentence = request.grammar.only_sentence()?;
        let complete = sentence.is_some();
        let text = sentence.unwrap_or_default();
        Ok(Written { prompt: turns_as_text(request.turns), text, complete, stats: GenStats::default() })
    }

    fn count_tokens(&self, text: &str) -> usize {
        about_tokens(text)
    }

    fn identity(&self) -> ModelIdentity {
        ModelIdentity { name: "none".to_owned(), ..ModelIdentity::default() }
    }

    fn why_none(&self) -> &'static str {
        "the rule leaves a choice, and there is no model to make it"
    }
}

/// The answers of an audit log, so that a run can be proven again without a model.
#[derive(Debug)]
pub struct Replay {
    answers: BTreeMap<(String, usize), String>,
    identity: ModelIdentity,
}

/// What a replay needs of a line of the log.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Run {
        #[serde(default)]
        model: Option<ModelIdentity>,
    },
    Attempt {
        finding: String,
        attempt: Answered,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Answered {
    number: usize,
    answer: String,
    #[serde(default)]
    kept: Option<Text>,
}

/// What was kept of an answer.
#[derive(Debug, Deserialize)]
struct Text {
    answer: String,
}

impl Replay {
    /// Reads a log.
    ///
    /// # Errors
    /// When it cannot be read or holds no answer.
    pub fn open(path: &Path) -> Result<Self, WriteError> {
        let fail = |message: String| WriteError::Replay { path: path.display().to_string(), message };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        if let Some(problem) = crate::output::audit::chain_problems(&text).into_iter().next() {
            return Err(fail(problem));
        }
        let mut answers = BTreeMap::new();
        let mut model = None;
        for (index, line) in text.lines().enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|e| fail(format!("line {}: {e}", index + 1)))?;
            match line {
                Line::Run { model: recorded } => model = recorded,
                Line::Attempt { finding, attempt } => {
                    let kept = attempt.kept.map(|kept| kept.answer);
                    answers.insert((finding, attempt.number), kept.unwrap_or(attempt.answer));
                }
                Line::Other => {}
            }
        }
        if answers.is_empty() {
            return Err(fail("it holds no answers".into()));
        }
        // The answers are that model's; it did not run here.
        let unknown = || ModelIdentity { name: "unknown".to_owned(), ..ModelIdentity::default() };
        let identity = ModelIdentity { device: "replay".to_owned(), ..model.unwrap_or_else(unknown) };
        Ok(Self { answers, identity })
    }
}

impl Writer for Replay {
    fn write(&mut self, request: &WriteRequest<'_>) -> Result<Written, WriteError> {
        let recorded = self.answers.get(&(request.finding.to_owned(), request.number)).cloned();
        // An answer that the grammar does not allow today is none, however it came about.
        let allowed = |answer: &str| -> Result<bool, GrammarError> {
            Ok(request.language.accepts(answer)? || request.grammar.accepts(answer)?)
        };
        let answer = match recorded {
            Some(answer) => allowed(&answer)?.then_some(answer),
            None => None,
        };
        let prompt = turns_as_text(request.turns);
        let complete = answer.is_some();
        Ok(Written { prompt, text: answer.unwrap_or_default(), complete, stats: GenStats::default() })
    }

    fn count_tokens(&self, text: &str) -> usize {
        about_tokens(text)
    }

    fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    fn why_none(&self) -> &'static str {
        "the log has no answer for it that is allowed and new"
    }
}

/// A prompt where there is no model whose template it could follow.
fn turns_as_text(turns: &[ChatTurn]) -> String {
    turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>().join("\n\n")
}

/// Tokens by the rule of thumb of four bytes each.
fn about_tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use candle_core::Device;

    use super::*;
    use crate::grammar::{Names, Scope, Shapes, compile};
    use crate::knowledge::Knowledge;
    use crate::model::fixture::written;
    use crate::rules::House;
    use crate::schema::Schemas;
    use crate::source::{RelPath, SourceFile};

    fn grammar() -> Grammar {
        let module = "resource \"aws_sqs_queue\" \"a\" {\n  name = \"orders\"\n}\n";
        let file = SourceFile::parse(RelPath::default(), module.as_bytes().to_vec()).unwrap();
        let scope = Scope {
            target: file.body().blocks().next().unwrap(),
            names: Names::default(),
            companion_types: BTreeSet::new(),
            schemas: Schemas::embedded(),
            ways: Vec::new(),
            found: Vec::new(),
            house: Arc::new(House::of(&[])),
            knowledge: Arc::new(Knowledge::default()),
            shapes: Shapes::default(),
            supposed: None,
        };
        compile(scope).unwrap()
    }

    #[test]
    fn what_was_written_ahead_is_taken_where_the_request_is_the_same() {
        let (_folder, path) = written("qwen2");
        let model = Model::load(&path, &Device::Cpu).unwrap();
        let grammar = grammar();
        let chats = ["one", "another", "a third"].map(|text| [ChatTurn::new(Role::User, text.to_owned())]);
        let request = |chat: usize, max_tokens| WriteRequest {
            finding: "f",
            number: 1,
            turns: &chats[chat],
            grammar: &grammar,
            language: &grammar,
            sampling: Sampling::Greedy,
            max_tokens,
        };
        let mut plain = LocalModel::new(&model, ModelIdentity::default(), 1);
        let alone: Vec<String> = (0..3).map(|chat| plain.write(&request(chat, 12)).unwrap().text).collect();

        let folder = tempfile::tempdir().unwrap();
        let prefixes = Prefixes::new(folder.path().to_owned(), String::new());
        let writer = LocalModel::new(&model, ModelIdentity::default(), 3);
        let mut writer = writer.opening(&[], prefixes).unwrap();
        let request = &request;
        let asks: Vec<Ask<'_>> =
            (0..2).map(|chat| Box::new(move |w: &mut dyn Writer| drop(w.write(&request(chat, 12)))) as _).collect();
        writer.ahead(&asks);
        assert_eq!(writer.ahead.len(), 2);
        writer.write(&request(0, 9)).unwrap();
        assert_eq!(writer.ahead.len(), 2, "it is another request");
        let texts: Vec<String> = (0..3).map(|chat| writer.write(&request(chat, 12)).unwrap().text).collect();
        assert_eq!(texts, alone);
        assert!(writer.ahead.is_empty(), "each is taken once");
    }
}
