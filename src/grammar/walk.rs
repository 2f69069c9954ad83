//! Random walks through the languages of answers, for tests: what no model had a hand in must be sound as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};

use super::{Grammar, Names, Scope, Shapes, companion_types, compile, provider_of};
use crate::schema::{Kind, Schemas};
use crate::source::{BlockAddr, RelPath, SourceFile, SourceTree};

/// What modules have beside the blocks that are walked to.
const AROUND: &str = r#"
variable "name" {
  type    = string
  default = "a"
}
variable "on" {
  type    = bool
  default = true
}
locals {
  tags = { a = "b" }
}
resource "aws_kms_key" "main" {
  count = 1
}
resource "google_service_account" "main" {
  account_id = "main"
}
resource "azurerm_resource_group" "main" {
  name     = "main"
  location = "westeurope"
}
"#;

/// Letters and ends by chance (xorshift64*, Marsaglia 2003): the same seed, the same walk.
pub(crate) struct Walker {
    state: u64,
}

impl Walker {
    /// `CAULK_WALK_SEED` takes other ways.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("CAULK_WALK_SEED").ok().and_then(|seed| seed.parse().ok());
        Self { state: seed.unwrap_or(0x9E37_79B9_7F4A_7C15_u64) | 1 }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// Writes one stage of an answer, byte by byte; any byte that the mask allows may come, but strings and lists end soon.
    fn stage(&mut self, grammar: &Grammar) -> Option<String> {
        let env = ApproximateTokEnv::single_byte_env();
        let mut factory = ParserFactory::new_simple(&env).unwrap();
        let lark = TopLevelGrammar::from_lark(grammar.lark().to_owned());
        let mut matcher = Matcher::new(factory.quiet().create_parser(lark));
        assert_eq!(matcher.get_error(), None, "{}", grammar.lark());
        let mut text = Vec::new();
        while !matcher.is_stopped() {
            let forced = matcher.compute_ff_tokens();
            if !forced.is_empty() {
                matcher.consume_tokens(&forced).unwrap();
                text.extend(forced.iter().filter_map(|&token| u8::try_from(token).ok()));
                continue;
            }
            if matcher.is_accepting().unwrap() && self.one_in(2) {
                break;
            }
            let mask = matcher.compute_mask().unwrap();
            let mut allowed: Vec<u8> = Vec::new();
            mask.iter_set_entries(|token| allowed.extend(u8::try_from(token).ok().filter(u8::is_ascii)));
            let is_end = |byte: &u8| matches!(byte, b'"' | b']' | b'}' | b')' | b'\n');
            let ends: Vec<u8> = allowed.iter().copied().filter(is_end).collect();
            let from = if ends.is_empty() || self.one_in(4) { &allowed } else { &ends };
            let Some(&byte) = from.get(self.next() as usize % from.len().max(1)) else { break };
            matcher.consume_token(u32::from(byte)).unwrap();
            text.push(byte);
            if text.len() > 6000 {
                return None;
            }
        }
        assert!(matcher.is_accepting().unwrap() || matcher.is_stopped(), "{}", String::from_utf8_lossy(&text));
        Some(String::from_utf8(text).unwrap())
    }

    /// A whole answer from a first stage, unless it goes on for too long.
    pub(crate) fn answer(&mut self, first: &Grammar) -> Option<String> {
        let mut text = self.stage(first)?;
        for _ in 0..12 {
            let Some(grammar) = first.next(&text) else { return Some(text) };
            text = self.stage(&grammar)?;
        }
        None
    }

    /// A new block of a type, called `x`, as a companion of a block of that name may be, with both and all that it names.
    pub(crate) fn block(&mut self, schemas: &Schemas, ty: &str, name: &str) -> Option<String> {
        let (anchor, body) = match provider_of(ty) {
            "aws" => ("aws_kms_key", ""),
            "azurerm" => ("azurerm_resource_group", "  name = \"a\"\n  location = \"b\"\n"),
            "google" => ("google_service_account", "  account_id = \"a\"\n"),
            _ => ("kubernetes_namespace", "  metadata {\n    name = \"a\"\n  }\n"),
        };
        let target = format!("resource \"{anchor}\" \"{name}\" {{\n{body}}}\n");
        let base = tree(around(&target));
        let grammar = grammar(schemas, &base, &BlockAddr::resource(anchor, name));
        let blocks = self.answer(&grammar.next(&format!("resource \"{ty}\" \"x\" {{\n"))?)?;
        Some(format!("{target}\n{blocks}\n"))
    }
}

/// A module of one file.
pub(crate) fn tree(text: String) -> SourceTree {
    let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into_bytes()).unwrap();
    SourceTree::from_files("/", [file])
}

/// The language of answers for a block of a module.
pub(crate) fn grammar(schemas: &Schemas, tree: &SourceTree, target: &BlockAddr) -> Grammar {
    let dir = RelPath::default();
    let ty = target.resource_type().unwrap();
    let known: BTreeSet<String> = types(schemas).collect();
    compile(Scope {
        target: tree.find(&dir, target).unwrap().1,
        names: Names::of(tree, &dir),
        schemas: schemas.clone(),
        companion_types: companion_types(ty, [], known.iter().map(String::as_str)),
        ways: Vec::new(),
        found: Vec::new(),
        house: Arc::default(),
        knowledge: Arc::default(),
        shapes: Shapes::default(),
        supposed: None,
    })
    .unwrap()
}

fn types(schemas: &Schemas) -> impl Iterator<Item = String> + use<'_> {
    let types: BTreeSet<_> = schemas.packs().flat_map(|(_, pack)| pack.types()).collect();
    let resources = types.into_iter().filter(|(kind, _)| *kind == Kind::Resource).map(|(_, ty)| ty.to_owned());
    // Those cannot be served.
    resources.filter(|ty| schemas.get(Kind::Resource, ty).is_some_and(|(block, _)| block.open_in_set().is_none()))
}

/// So many resource types, evenly spread over all packs.
pub(crate) fn sample(schemas: &Schemas, count: usize) -> Vec<String> {
    let all: Vec<String> = types(schemas).collect();
    let step = (all.len() / count).max(1);
    all.into_iter().step_by(step).take(count).collect()
}

/// A module around blocks.
pub(crate) fn around(blocks: &str) -> String {
    format!("{blocks}\n{AROUND}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::merge::{MergeError, merge};
    use crate::schema::problems;
    use crate::source::references;

    /// What is wrong with the blocks of a module, by its providers' schemas, and with what they refer to.
    fn wrong(schemas: &Schemas, tree: &SourceTree) -> BTreeSet<String> {
        let dir = RelPath::default();
        let declared = tree.declared(&dir);
        let mut wrong = BTreeSet::new();
        for block in tree.module(&dir).flat_map(|file| file.body().blocks()) {
            let kind = Kind::of(&block.keyword);
            if let Some((schema, _)) = kind.and_then(|kind| schemas.get(kind, &block.labels[0])) {
                let problems = problems(&block.body, &schema);
                wrong.extend(problems.into_iter().map(|problem| format!("{}: {problem}", block.addr())));
            }
            let dangling = references(block).into_iter().filter(|addr| !declared.contains(addr));
            wrong.extend(dangling.map(|addr| format!("{} refers to {addr}", block.addr())));
        }
        wrong
    }

    #[test]
    fn what_a_random_walk_writes_is_sound() {
        let (schemas, dir, file) = (Schemas::embedded(), RelPath::default(), RelPath::new("main.tf").unwrap());
        let mut walker = Walker::new();
        let mut whole = 0;
        for ty in sample(&schemas, 24) {
            let target = BlockAddr::resource(&ty, "x");
            let before = tree(around(&format!("resource \"{ty}\" \"x\" {{\n}}")));
            let grammar = grammar(&schemas, &before, &target);
            let Some(answer) = walker.answer(&grammar) else { continue };
            whole += 1;
            assert!(grammar.accepts(&answer).unwrap(), "{answer}");
            let merged = match merge(&before, &file, &target, schemas.of(&target).as_ref(), &answer) {
                Ok(merged) => merged,
                Err(MergeError::Empty) => continue,
                // Keys of an object can be anything, so they may come twice.
                Err(MergeError::Parse(why)) if why.contains("redefined object key") => continue,
                Err(error) => panic!("{error}:\n{answer}"),
            };
            let after = merged.changeset.apply(&before).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
            let (was, is) = (wrong(&schemas, &before), wrong(&schemas, &after));
            assert!(is.is_subset(&was), "{:#?}\n{answer}", is.difference(&was).collect::<Vec<_>>());
            let written = SourceFile::parse(RelPath::default(), answer.clone().into_bytes()).unwrap();
            assert!(written.body().blocks().all(|block| after.find(&dir, &block.addr()).is_some()), "{answer}");
        }
        assert!(whole >= 16, "{whole} answers");
    }
}
