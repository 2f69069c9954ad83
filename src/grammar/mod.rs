//! Compiles, for one finding, the language of allowed answers: overrides of the target and its companions.
//!
//! In: the target, what its module declares, the providers' schemas, the ways to satisfy the rule, the types that a
//! companion may have. Out: [`Grammar`], a Lark text for llguidance, and after it those of the blocks that an answer goes
//! on to add, see [`Grammar::next`].
//!
//! By construction there are no comments, so no skip comments; no `count`, `for_each`, `provisioner`, `connection` or
//! `ignore_changes`; no function that reads files; no argument that the type does not have, none twice, no value of
//! another type, and in new blocks none missing; no reference to a block that is neither in the module nor in the answer,
//! to an attribute that its type does not have, or in a circle.

mod companions;
mod documents;
mod fit;
mod hcl;
mod hollow;
mod literals;
mod meaning;
mod names;
mod permutation;
mod places;
mod references;
mod secrets;
mod shapes;
mod stage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_found;
#[cfg(test)]
mod tests_given;
#[cfg(test)]
mod tests_new;
mod typed;
mod used;
#[cfg(test)]
pub(crate) mod walk;
mod ways;
mod who;

use std::collections::BTreeSet;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};

use crate::knowledge::Knowledge;
use crate::rules::{House, Way};
use crate::schema::{self, Schemas};
use crate::source::{Block, BlockAddr};

pub use companions::{SECURING, companion_types, may_name, meant_types};
pub use names::{Names, Repetition};
pub use shapes::Shapes;

/// A compiled language: of answers, or of those that begin with what has been written so far.
#[derive(Clone, Debug)]
pub struct Grammar {
    lark: String,
    context: Arc<stage::Context>,
    /// What the answer is held to.
    held: Going,
}

/// How an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// As it likes.
    Freely,
    /// One of the ways that running the rule has found: with what it names.
    AsFound,
    /// A way of the rule's own, by its position: with the blocks that it asks for, and what they name.
    Way(usize, Asked),
}

/// What the blocks that a rule asks for hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// What is required and known to be wanted.
    Narrowly,
    /// What else they may.
    Loosely,
}

impl Grammar {
    /// The grammar in llguidance's Lark syntax.
    pub fn lark(&self) -> &str {
        &self.lark
    }

    /// Whether a text is an answer, over all stages. For texts that no model wrote under it; byte by byte, so not fast.
    ///
    /// # Errors
    /// When a stage does not compile.
    pub fn accepts(&self, text: &str) -> Result<bool, GrammarError> {
        let mut matcher = self.matcher()?;
        // As far as it is a sentence of this stage: what follows may begin like another one of it.
        let mut sentence = None;
        for (at, byte) in text.bytes().enumerate() {
            if matcher.is_stopped() || matcher.consume_token(u32::from(byte)).is_err() {
                break;
            }
            if matcher.is_accepting().is_ok_and(|accepting| accepting) {
                sentence = Some(&text[..=at]);
            }
        }
        match sentence {
            None => Ok(false),
            Some(written) => match self.next(written) {
                Some(next) => next.accepts(text),
                None => Ok(written.len() == text.len()),
            },
        }
    }

    /// The sentence of this stage, where there is only one.
    ///
    /// # Errors
    /// When the grammar does not compile.
    pub fn only_sentence(&self) -> Result<Option<String>, GrammarError> {
        let mut matcher = self.matcher()?;
        let mut sentence = Vec::new();
        loop {
            let forced = matcher.compute_ff_bytes();
            if forced.is_empty() || matcher.is_stopped() {
                break;
            }
            for byte in &forced {
                matcher.consume_token(u32::from(*byte)).map_err(|e| GrammarError::Broken(format!("{e:#}")))?;
            }
            sentence.extend(forced);
        }
        let is_over = matcher.is_stopped() && !matcher.is_error();
        Ok(String::from_utf8(sentence).ok().filter(|_| is_over))
    }

    /// Its automaton, over bytes.
    fn matcher(&self) -> Result<Matcher, GrammarError> {
        let env = ApproximateTokEnv::single_byte_env();
        let mut factory = ParserFactory::new_simple(&env).map_err(|e| GrammarError::Broken(e.to_string()))?;
        let parser = factory.quiet().create_parser(TopLevelGrammar::from_lark(self.lark.clone()));
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(GrammarError::Broken(error)),
            None => Ok(matcher),
        }
    }
}

/// What an answer is about, and what it may name.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The block that the answer overrides.
    pub target: &'a Block,
    /// What the module declares.
    pub names: Names,
    /// Providers' schemas.
    pub schemas: Schemas,
    /// Resource types that a companion may have, see [`companion_types`].
    pub companion_types: BTreeSet<String>,
    /// The ways to satisfy the rule, as far as it says.
    pub ways: Vec<Way>,
    /// The ways that running the rule has found.
    pub found: Vec<Way>,
    /// What new blocks must hold.
    pub house: Arc<House>,
    /// What people know.
    pub knowledge: Arc<Knowledge>,
    /// Names that are known to be nested blocks, or attributes, where there is no schema.
    pub shapes: Shapes,
    /// What the target's type may consist of, where there is no schema: only ways are held to it.
    pub supposed: Option<schema::Block>,
}

/// A finding for which no grammar can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// A label that cannot be written in a grammar as it stands.
    #[error("{0} has a label that is no plain name; rename it")]
    Label(BlockAddr),
    /// What was compiled is no grammar.
    #[error("the grammar does not compile: {0}")]
    Broken(String),
    /// A block that caulk does not write overrides for.
    #[error("a `{0}` block cannot be overridden")]
    Keyword(String),
}

/// Compiles the language of answers for one target.
///
/// # Errors
/// When the target is of a kind, or has a name, that no answer can be written for.
pub fn compile(scope: Scope<'_>) -> Result<Grammar, GrammarError> {
    let target = scope.target.addr();
    if !matches!(target.keyword.as_str(), "resource" | "data" | "module" | "provider") {
        return Err(GrammarError::Keyword(target.keyword));
    }
    if !target.labels.iter().all(|label| is_name(label)) {
        return Err(GrammarError::Label(target));
    }
    let Scope {
        target: block,
        names,
        schemas,
        companion_types: types,
        ways,
        found,
        house,
        knowledge,
        shapes,
        supposed,
    } = scope;
    let body = block.body.clone();
    let context =
        stage::Context { target, body, names, schemas, types, ways, found, house, knowledge, shapes, supposed };
    Ok(stage::first(Arc::new(context.with_ways_that_fit())))
}

/// The provider's local name by convention: what stands before the first `_` of a type.
pub fn provider_of(ty: &str) -> &str {
    ty.split_once('_').map_or(ty, |(provider, _)| provider)
}

/// The clouds, and what types of them begin with.
const CLOUDS: [(&str, &str); 12] = [
    ("alicloud", "alicloud"),
    ("aws", "aws"),
    ("awscc", "aws"),
    ("azapi", "azure"),
    ("azuread", "azure"),
    ("azurerm", "azure"),
    ("digitalocean", "digitalocean"),
    ("google", "google"),
    ("ibm", "ibm"),
    ("oci", "oci"),
    ("tencentcloud", "tencentcloud"),
    ("yandex", "yandex"),
];

/// Whether two types are of different clouds: what one calls a security group is nothing to the other.
fn are_of_two_clouds(one: &str, other: &str) -> bool {
    let cloud = |ty: &str| CLOUDS.iter().find(|(prefix, _)| *prefix == provider_of(ty)).map(|(_, cloud)| *cloud);
    cloud(one).zip(cloud(other)).is_some_and(|(one, other)| one != other)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
