//! Random walks through the languages of answers: what no model had a hand in must be sound as well.

use std::collections::BTreeSet;

use caulk::edit::merge::{MergeError, merge};
use caulk::grammar::{Grammar, Names, Scope, Shapes, companion_types, compile};
use caulk::schema::{Kind, Schemas, problems};
use caulk::source::{Block, BlockAddr, RelPath, SourceFile, SourceTree, references};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};

/// What every module of these tests has beside the target.
const AROUND: &str = r#"
variable "name" {
  type = string
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

/// The next of a row of numbers that look random (xorshift64*, Marsaglia 2003).
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// Writes one stage of an answer, byte by byte; any byte that the mask allows may come, but strings and lists end soon.
fn write(grammar: &Grammar, written: &str, state: &mut u64) -> Option<String> {
    let env = ApproximateTokEnv::single_byte_env();
    let mut factory = ParserFactory::new_simple(&env).unwrap();
    let mut matcher =
        Matcher::new(factory.quiet().create_parser(TopLevelGrammar::from_lark(grammar.lark().to_owned())));
    assert_eq!(matcher.get_error(), None, "{}", grammar.lark());
    let mut text: Vec<u8> = written.as_bytes().to_vec();
    matcher.consume_tokens(&text.iter().map(|&byte| u32::from(byte)).collect::<Vec<_>>()).unwrap();
    while !matcher.is_stopped() {
        if matcher.is_accepting().unwrap() && next(state).is_multiple_of(2) {
            break;
        }
        let mask = matcher.compute_mask().unwrap();
        let mut allowed: Vec<u8> = Vec::new();
        mask.iter_set_entries(|token| allowed.extend(u8::try_from(token).ok().filter(|byte| *byte < 0x80)));
        let ends = allowed.iter().copied().filter(|byte| matches!(byte, b'"' | b']' | b'}' | b')' | b'\n'));
        let ends: Vec<u8> = ends.collect();
        let from = if !ends.is_empty() && !next(state).is_multiple_of(4) { &ends } else { &allowed };
        let Some(&byte) = from.get(next(state) as usize % from.len().max(1)) else { break };
        matcher.consume_token(u32::from(byte)).unwrap();
        text.push(byte);
        if text.len() > 6000 {
            return None;
        }
    }
    assert!(matcher.is_accepting().unwrap() || matcher.is_stopped(), "{}", String::from_utf8_lossy(&text));
    Some(String::from_utf8(text).unwrap())
}

/// A whole answer, unless it goes on for too long.
fn answer(first: &Grammar, state: &mut u64) -> Option<String> {
    let mut text = write(first, "", state)?;
    for _ in 0..12 {
        let Some(grammar) = first.next(&text) else { return Some(text) };
        // What is forced comes first.
        text = write(&grammar, "", state)?;
    }
    None
}

/// What is wrong with the blocks of a module, by its providers' schemas, and with what they refer to.
fn wrong(schemas: &Schemas, tree: &SourceTree) -> BTreeSet<String> {
    let dir = RelPath::default();
    let declared = tree.declared(&dir);
    let mut wrong = BTreeSet::new();
    for block in tree.module(&dir).flat_map(|file| file.body().blocks()) {
        let kind = Kind::of(&block.keyword);
        if let Some((schema, _)) = kind.and_then(|kind| schemas.get(kind, &block.labels[0])) {
            wrong.extend(
                problems(&block.body, &schema).into_iter().map(|problem| format!("{}: {problem}", block.addr())),
            );
        }
        let dangling = references(block).into_iter().filter(|addr| !declared.contains(addr));
        wrong.extend(dangling.map(|addr| format!("{} refers to {addr}", block.addr())));
    }
    wrong
}

fn tree(text: String) -> SourceTree {
    let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into_bytes()).unwrap();
    SourceTree::from_files("/", [file])
}

/// Walks through the language of answers for a type. Gives how many whole answers there were.
fn walk(schemas: &Schemas, ty: &str, known: &[String], walks: usize, state: &mut u64) -> usize {
    let target = BlockAddr::resource(ty, "x");
    let before = tree(format!("resource \"{ty}\" \"x\" {{\n}}\n{AROUND}"));
    let dir = RelPath::default();
    let file = RelPath::new("main.tf").unwrap();
    let grammar = compile(Scope {
        target: before.find(&dir, &target).unwrap().1,
        names: Names::of(&before, &dir),
        schemas: schemas.clone(),
        companion_types: companion_types(ty, [], known.iter().map(String::as_str)),
        wanted: None,
        shapes: Shapes::default(),
    })
    .unwrap();
    let was_wrong = wrong(schemas, &before);
    let mut whole = 0;
    for _ in 0..walks {
        let Some(answer) = answer(&grammar, state) else { continue };
        whole += 1;
        let merged = match merge(&before, &file, &target, &answer) {
            Ok(merged) => merged,
            Err(MergeError::Empty) => continue,
            Err(error) => panic!("{error}:\n{answer}"),
        };
        let after = merged.changeset.apply(&before).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        let new: Vec<String> = wrong(schemas, &after).difference(&was_wrong).cloned().collect();
        assert!(new.is_empty(), "{new:#?}\n{answer}");
        let has = |block: &Block| after.find(&dir, &block.addr()).is_some();
        let written = SourceFile::parse(RelPath::default(), answer.clone().into_bytes()).unwrap();
        assert!(written.body().blocks().all(has), "{answer}");
    }
    whole
}

/// Types of all packs, evenly spread.
fn sample(schemas: &Schemas, count: usize) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for (_, pack) in schemas.packs() {
        let resources: Vec<&str> = pack.types().filter(|(kind, _)| *kind == Kind::Resource).map(|(_, ty)| ty).collect();
        let step = (resources.len() / (count / 4)).max(1);
        types.extend(resources.into_iter().step_by(step).map(str::to_owned));
    }
    types
}

#[test]
fn what_a_random_walk_writes_is_sound() {
    let schemas = Schemas::embedded();
    let count: usize = std::env::var("CAULK_WALK_TYPES").ok().and_then(|count| count.parse().ok()).unwrap_or(12);
    let known: Vec<String> = schemas.packs().flat_map(|(_, pack)| pack.types()).map(|(_, ty)| ty.to_owned()).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let (mut types, mut whole) = (0, 0);
    for ty in sample(&schemas, count) {
        types += 1;
        whole += walk(&schemas, &ty, &known, 2, &mut state);
    }
    assert!(types >= count && whole >= types, "{types} types, {whole} answers");
}
