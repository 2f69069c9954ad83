//! Grammars over tokens, by llguidance: which tokens may come next, and which must.

use std::sync::Arc;

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

use super::ModelError;
use super::tokenizer::Tokenizer;

/// What a mask may cost, in llguidance's units of the lexer, at most: about 14 000 of them take a millisecond. Texts of
/// which some are left out cost more than its default allows.
const STEP_FUEL: u64 = 5_000_000;

/// What all grammars over one vocabulary share. Built once per model.
pub struct Grammars {
    factory: ParserFactory,
    end: u32,
}

impl Grammars {
    /// Tables for a vocabulary of `vocab` ids, of which `end` ends an answer.
    ///
    /// # Errors
    /// When llguidance cannot use the vocabulary.
    pub fn new(tokenizer: &Arc<Tokenizer>, end: u32, vocab: usize) -> Result<Self, ModelError> {
        let words: Vec<Vec<u8>> = (0..vocab).map(|id| word(tokenizer, id as u32)).collect();
        let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, end), &words);
        let environment: TokEnv = Arc::new(Environment { trie, tokenizer: tokenizer.clone() });
        let abilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let mut factory =
            ParserFactory::new(&environment, abilities, &SlicedBiasComputer::general_slices()).map_err(failed)?;
        factory.quiet().limits_mut().step_lexer_fuel = STEP_FUEL;
        Ok(Self { factory, end })
    }

    /// Compiles a grammar (llguidance's dialect of Lark) and stands at its start.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when it does not compile.
    pub fn start(&self, lark: &str) -> Result<Constraint, ModelError> {
        let parser = self.factory.create_parser(TopLevelGrammar::from_lark(lark.to_owned()));
        let constraint = Constraint { matcher: Matcher::new(parser), end: self.end };
        constraint.check()?;
        Ok(constraint)
    }
}

/// How far an answer has come in its grammar.
pub struct Constraint {
    matcher: Matcher,
    end: u32,
}

impl Constraint {
    /// The tokens that must come next, taken as read. Empty where there is a choice. The end token is not among them.
    ///
    /// # Errors
    /// [`ModelError::Grammar`]; the answer cannot go on then.
    pub fn take_forced(&mut self) -> Result<Vec<u32>, ModelError> {
        if self.is_done() {
            return Ok(Vec::new());
        }
        let mut forced = self.matcher.compute_ff_tokens();
        self.check()?;
        self.accept(&forced)?;
        forced.retain(|&token| token != self.end);
        Ok(forced)
    }

    /// The tokens that may come next; the end token is among them where the answer may end.
    ///
    /// # Errors
    /// [`ModelError::Grammar`]; the answer cannot go on then.
    pub fn allowed(&mut self) -> Result<Vec<u32>, ModelError> {
        let mask = self.matcher.compute_mask().map_err(failed)?;
        let mut allowed = Vec::with_capacity(mask.num_set());
        mask.iter_set_entries(|token| allowed.push(token as u32));
        match allowed.is_empty() {
            true => Err(ModelError::Grammar("no token can come next".to_owned())),
            false => Ok(allowed),
        }
    }

    /// As many of these tokens as may come next, one after the other.
    ///
    /// # Errors
    /// [`ModelError::Grammar`]; the answer cannot go on then.
    pub fn admitted<'t>(&mut self, tokens: &'t [u32]) -> Result<&'t [u32], ModelError> {
        let many = self.matcher.validate_tokens(tokens).map_err(failed)?;
        Ok(&tokens[..many.min(tokens.len())])
    }

    /// Goes on by tokens, each allowed where it stands.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] when one is not allowed.
    pub fn accept(&mut self, tokens: &[u32]) -> Result<(), ModelError> {
        self.matcher.consume_tokens(tokens).map_err(failed)?;
        self.check()
    }

    /// Whether the answer is a whole sentence of the grammar and over: by the end token, or because nothing can follow.
    pub fn is_done(&self) -> bool {
        matches!(
            self.matcher.stop_reason(),
            StopReason::EndOfSentence | StopReason::NoExtension | StopReason::NoExtensionBias
        )
    }

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// A stop for any other reason than the end of a sentence is an error: an answer is never continued without its grammar.
    fn check(&self) -> Result<(), ModelError> {
        if let Some(error) = self.matcher.get_error() {
            return Err(failed(error));
        }
        match self.matcher.stop_reason() {
            StopReason::NotStopped => Ok(()),
            _ if self.is_done() => Ok(()),
            reason => Err(ModelError::Grammar(format!("the matcher stopped: {reason}"))),
        }
    }
}

/// The bytes of a token for the trie. Special tokens have a name of their own there, behind a byte that no text has;
/// ids without a meaning have no word and can never be allowed.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    match tokenizer.special_name(id) {
        Some(name) => [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat(),
        None => tokenizer.bytes(id).to_vec(),
    }
}

/// What happened, in a line: llguidance tells its whole state after it.
fn failed(error: impl std::fmt::Display) -> ModelError {
    let told = format!("{error:#}");
    ModelError::Grammar(told.lines().next().unwrap_or_default().to_owned())
}

/// llguidance's view of a tokenizer.
struct Environment {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.tokenizer.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::written;
    use super::super::gguf::Gguf;
    use super::*;

    const END: u32 = 268;

    fn tables() -> (Grammars, Arc<Tokenizer>) {
        let (_folder, path) = written("qwen2");
        let tokenizer = Arc::new(Tokenizer::read(&Gguf::open(&path).unwrap(), 270).unwrap());
        (Grammars::new(&tokenizer, END, 270).unwrap(), tokenizer)
    }

    fn texts(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut texts: Vec<String> = ids.iter().map(|&id| tokenizer.decode(&[id])).collect();
        texts.sort();
        texts
    }

    #[test]
    fn exactly_what_the_grammar_allows_is_allowed() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r#"start: "true" | "x" | /[fg]a/"#).unwrap();
        assert!(constraint.take_forced().unwrap().is_empty());
        assert_eq!(texts(&tokenizer, &constraint.allowed().unwrap()), ["f", "fa", "g", "t", "tr", "true", "x"]);
        constraint.accept(&tokenizer.encode("f")).unwrap();
        assert!(!constraint.is_done());
        assert_eq!(texts(&tokenizer, &constraint.allowed().unwrap()), ["a"]);
        constraint.accept(&tokenizer.encode("a")).unwrap();
        assert!(constraint.is_done());
    }

    #[test]
    fn the_end_is_allowed_where_a_sentence_may_end() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r"start: /a+/").unwrap();
        assert!(!constraint.allowed().unwrap().contains(&END));
        constraint.accept(&tokenizer.encode("a")).unwrap();
        assert!(!constraint.is_done());
        assert!(constraint.allowed().unwrap().contains(&END));
        constraint.accept(&[END]).unwrap();
        assert!(constraint.is_done());
        assert!(constraint.take_forced().unwrap().is_empty());
    }

    #[test]
    fn what_must_come_is_forced_in_the_models_own_tokens() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r#"start: "xyz = true" "\n" ("a" | "b")"#).unwrap();
        let forced = constraint.take_forced().unwrap();
        assert_eq!(forced, tokenizer.encode("xyz = true\n"));
        assert_eq!(texts(&tokenizer, &constraint.allowed().unwrap()), ["a", "b"]);
        assert!(!constraint.is_done());
    }

    #[test]
    fn a_sentence_that_is_forced_to_its_end_is_done() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r#"start: "false""#).unwrap();
        let mut taken = constraint.take_forced().unwrap();
        while !constraint.is_done() {
            let allowed = constraint.allowed().unwrap();
            assert_eq!(allowed.len(), 1);
            constraint.accept(&allowed).unwrap();
            taken.extend(allowed);
        }
        assert_eq!(tokenizer.decode(&taken), "false");
    }

    #[test]
    fn what_is_admitted_is_not_taken() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r#"start: /a[bc]+d/"#).unwrap();
        let tokens: Vec<u32> = ["a", "b", "c", "z", "b"].iter().flat_map(|text| tokenizer.encode(text)).collect();
        assert_eq!(constraint.admitted(&tokens).unwrap(), &tokens[..3]);
        assert!(constraint.admitted(&tokens[1..]).unwrap().is_empty());
        constraint.accept(&tokens[..1]).unwrap();
        assert_eq!(constraint.admitted(&tokens[1..]).unwrap(), &tokens[1..3]);
    }

    #[test]
    fn a_token_that_is_not_allowed_is_an_error_for_good() {
        let (grammars, tokenizer) = tables();
        let mut constraint = grammars.start(r#"start: "a" "b"?"#).unwrap();
        assert!(matches!(constraint.accept(&tokenizer.encode("z")), Err(ModelError::Grammar(_))));
        assert!(!constraint.is_done());
        assert!(constraint.allowed().is_err());
        assert!(constraint.take_forced().is_err());
    }

    #[test]
    fn a_bad_grammar_is_an_error() {
        let (grammars, _) = tables();
        for bad in ["", "start: missing", "start: \"a", "start: /(/", "%llguidance {\"x\":"] {
            assert!(matches!(grammars.start(bad), Err(ModelError::Grammar(_))), "{bad:?}");
        }
    }

    #[test]
    fn special_and_unused_tokens_are_never_text() {
        let (grammars, _) = tables();
        let allowed = grammars.start(r"start: /(.|\n)+/").unwrap().allowed().unwrap();
        assert!(allowed.len() > 150);
        assert!(allowed.iter().all(|&id| id < 266), "{allowed:?}");
    }
}
