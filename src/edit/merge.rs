//! Merges the model's override into the source.
//!
//! The answer is the target's block, same header, with only what changes, then new blocks (companions):
//! - an attribute that the target has gets the new value, one that it has not is added, `null` takes it out;
//! - an object literal over an object literal is merged by key, at every depth (`null` takes a key out); lists and all
//!   other values are replaced whole;
//! - a nested block is merged like the target: one over one; of several, each over the one that it means
//!   (see [`super::matching`]); others are added. `name = null` takes out all nested blocks of that name;
//! - companions (`resource`, `data`, `variable`, `locals`) follow the target, a blank line before each.
//!
//! Only bytes of what changes are edited. Comments of the answer are dropped.

use std::collections::BTreeSet;

use crate::schema::{self, NestedBlock, most};
use crate::source::{Block, BlockAddr, Body, RelPath, SourceFile, SourceTree, local_addr};

use super::canonical::{canonical, without_comments};
use super::changeset::apply_edits;
use super::draft::{BodyPath, Draft, is_null};
use super::format::format;
use super::insert::Addition;
use super::matching::match_blocks;

use super::style::{Lines, Style};
use super::{Changeset, FileChange, TextEdit};

/// Blocks that an answer may add.
const COMPANIONS: [&str; 4] = ["resource", "data", "variable", "locals"];

/// An answer that cannot be merged. The message goes into the next prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The answer is no HCL, or the merged block is none.
    #[error("the answer does not parse: {0}")]
    Parse(String),
    /// The answer has no block for the target and no companion, or says what is there already.
    #[error("the answer changes nothing")]
    Empty,
    /// The answer would change another block of the module.
    #[error("the answer touches {0}, which is not the target")]
    Foreign(BlockAddr),
    /// The answer declares a block twice.
    #[error("the answer declares {0} more than once")]
    Twice(BlockAddr),
    /// An item cannot be matched with what stands in the block.
    #[error("{0}")]
    Ambiguous(String),
    /// The file has no such block.
    #[error("there is no {0} in the file")]
    NoTarget(BlockAddr),
}

/// What a merge gave.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The edits, against the tree's present texts.
    pub changeset: Changeset,
    /// The blocks that the answer adds.
    pub companions: Vec<BlockAddr>,
}

/// Merges `answer` over the block `target` of `file`; companions are appended after it. Merged a second time, the same
/// answer is [`MergeError::Empty`]. The target's schema, if there is one, says of which nested blocks there is one at most.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(
    tree: &SourceTree,
    file: &RelPath,
    target: &BlockAddr,
    schema: Option<&schema::Block>,
    answer: &str,
) -> Result<Merged, MergeError> {
    let no_target = || MergeError::NoTarget(target.clone());
    let file = tree.file(file).ok_or_else(no_target)?;
    let block = file.find(target).ok_or_else(no_target)?;
    let answer = parse_answer(answer)?;
    let style = Style::of(file.text());

    let mut edits = Vec::new();
    if let Some(over) = override_of(&answer, target)? {
        let start = start_of_line(file.text(), block.span.start);
        let mut draft = Draft::new(&style, &file.text()[start..block.span.end])?;
        merge_body(&mut draft, &BodyPath::new(), schema, &answer, &over.body)?;
        let shifted = draft
            .finish()?
            .into_iter()
            .map(|edit| TextEdit { range: edit.range.start + start..edit.range.end + start, insert: edit.insert });
        edits.extend(shifted);
    }
    let companions = companions(tree, file, target, &answer)?;
    if !companions.is_empty() {
        let lines = Lines::of(file.text());
        let at = lines.lines[lines.at(block.span.end.saturating_sub(1))].span.end;
        let indent = lines.indent(lines.at(block.span.start));
        let texts = companions.iter().map(|companion| {
            let text = format(answer.slice(&companion.span), &style, indent);
            format!("{0}{0}{indent}{text}", style.newline)
        });
        edits.push(TextEdit::insert(at, texts.collect::<String>()));
    }
    if edits.is_empty() {
        return Err(MergeError::Empty);
    }
    let damaged = |message: String| MergeError::Parse(format!("after the merge: {message}"));
    let merged = apply_edits(file.text(), &edits).map_err(|at| damaged(format!("unsound edit at byte {at}")))?;
    SourceFile::parse(file.path().clone(), merged.into_bytes()).map_err(|error| damaged(error.to_string()))?;
    let change = FileChange::new(file.text(), edits);
    Ok(Merged {
        changeset: Changeset { files: [(file.path().clone(), change)].into() },
        companions: companions.iter().map(|companion| companion.addr()).collect(),
    })
}

fn parse_answer(answer: &str) -> Result<SourceFile, MergeError> {
    let text = without_comments(answer).replace("\r\n", "\n");
    let file = SourceFile::parse(RelPath::default(), text.into_bytes()).map_err(|error| {
        MergeError::Parse(format!("line {}, column {}: {}", error.line, error.column, error.message))
    })?;
    if let Some(attribute) = file.body().attributes().next() {
        return Err(MergeError::Parse(format!("`{}` stands outside of a block", attribute.key)));
    }
    Ok(file)
}

fn override_of<'a>(answer: &'a SourceFile, target: &BlockAddr) -> Result<Option<&'a Block>, MergeError> {
    let mut found = answer.body().blocks().filter(|block| block.addr() == *target);
    let first = found.next();
    match found.next() {
        Some(_) => Err(MergeError::Twice(target.clone())),
        None => Ok(first),
    }
}

/// The companions that are new. One that is there already, the same in effect, is left out.
fn companions<'a>(
    tree: &SourceTree,
    file: &SourceFile,
    target: &BlockAddr,
    answer: &'a SourceFile,
) -> Result<Vec<&'a Block>, MergeError> {
    let dir = file.path().parent();
    let declared = tree.declared(&dir);
    let mut seen = BTreeSet::new();
    let mut new = Vec::new();
    for block in answer.body().blocks().filter(|block| block.addr() != *target) {
        let names: Vec<BlockAddr> = match block.keyword.as_str() {
            "locals" => block.body.attributes().map(|attribute| local_addr(&attribute.key)).collect(),
            _ => vec![block.addr()],
        };
        if let Some(twice) = names.iter().find(|name| !seen.insert((*name).clone())) {
            return Err(MergeError::Twice(twice.clone()));
        }
        if !COMPANIONS.contains(&block.keyword.as_str()) {
            return Err(MergeError::Foreign(block.addr()));
        }
        match names.iter().find(|name| declared.contains(name)) {
            None if names.is_empty() => {}
            None => new.push(block),
            Some(known) => {
                if !names.iter().all(|name| same_in_effect(tree, &dir, name, answer, block)) {
                    return Err(MergeError::Foreign(known.clone()));
                }
            }
        }
    }
    Ok(new)
}

fn same_in_effect(tree: &SourceTree, dir: &RelPath, name: &BlockAddr, answer: &SourceFile, block: &Block) -> bool {
    let Some((file, present)) = tree.find(dir, name) else { return false };
    let (old, new) = match name.keyword.as_str() {
        "local" => match (present.body.attribute(&name.labels[0]), block.body.attribute(&name.labels[0])) {
            (Some(old), Some(new)) => (&old.value, &new.value),
            _ => return false,
        },
        _ => (&present.span, &block.span),
    };
    // As it would have been written.
    let new = format(answer.slice(new), &Style::of(""), "");
    canonical(file.slice(old)) == canonical(&new)
}

fn merge_body(
    draft: &mut Draft,
    path: &BodyPath,
    schema: Option<&schema::Block>,
    answer: &SourceFile,
    over: &Body,
) -> Result<(), MergeError> {
    let mut additions = Vec::new();
    let mut removals = Vec::new();
    for attribute in over.attributes() {
        let Some(body) = draft.body(path) else { return Ok(()) };
        let value = answer.slice(&attribute.value);
        let key = attribute.key.as_str();
        if is_null(answer, attribute) {
            removals.push(key);
        } else if body.attribute(key).is_some() {
            draft.set(path, key, value)?;
        } else if body.blocks().any(|block| block.keyword == key) {
            return Err(MergeError::Ambiguous(format!("`{key}` is a nested block here: write `{key} {{ … }}`")));
        } else {
            additions.push(Addition { key: key.to_owned(), value: value.to_owned() });
        }
    }
    let new_blocks = merge_blocks(draft, path, schema, answer, over)?;
    for name in removals {
        draft.remove(path, name)?;
    }
    draft.add(path, &additions)?;
    for block in new_blocks {
        draft.add_block(path, &block.keyword, answer.slice(&block.span))?;
    }
    Ok(())
}

/// Merges the nested blocks that the target has, and gives back those that are new.
fn merge_blocks<'a>(
    draft: &mut Draft,
    path: &BodyPath,
    schema: Option<&schema::Block>,
    answer: &SourceFile,
    over: &'a Body,
) -> Result<Vec<&'a Block>, MergeError> {
    let mut new = Vec::new();
    let mut done: Vec<BlockAddr> = Vec::new();
    for header in over.blocks().map(Block::addr) {
        if done.contains(&header) {
            continue;
        }
        done.push(header.clone());
        let group: Vec<&Block> = over.blocks().filter(|block| block.addr() == header).collect();
        let nested = schema.and_then(|schema| schema.blocks.get(&header.keyword));
        let written = draft.body(path).and_then(|body| body.attribute(&header.keyword));
        if nested.is_some() && written.is_some_and(|attribute| attribute.expr.is_object()) {
            draft.make_block(path, &header.keyword)?;
        }
        let matched = match_group(draft, path, nested, answer, &header, &group)?;
        for (block, position) in group.into_iter().zip(matched) {
            let Some(position) = position else {
                new.push(block);
                continue;
            };
            let path = [path.as_slice(), &[position]].concat();
            merge_body(draft, &path, nested.map(|nested| &nested.block), answer, &block.body)?;
        }
    }
    Ok(new)
}

/// For each override block of one header, the position of the one that it means among all blocks of the body.
fn match_group(
    draft: &Draft,
    path: &BodyPath,
    schema: Option<&NestedBlock>,
    answer: &SourceFile,
    header: &BlockAddr,
    group: &[&Block],
) -> Result<Vec<Option<usize>>, MergeError> {
    let keyword = &header.keyword;
    let Some(body) = draft.body(path) else { return Ok(vec![None; group.len()]) };
    if body.attribute(keyword).is_some() {
        return Err(MergeError::Ambiguous(format!("`{keyword}` is an attribute here: write `{keyword} = …`")));
    }
    let dynamic = |block: &Block| block.keyword == "dynamic" && block.labels == [keyword.as_str()];
    if body.blocks().any(dynamic) {
        return Err(MergeError::Ambiguous(format!(
            "the `{keyword}` blocks come from `dynamic \"{keyword}\"`: change that block, by its `content`"
        )));
    }
    let (positions, blocks): (Vec<usize>, Vec<&Block>) =
        body.blocks().enumerate().filter(|(_, block)| block.addr() == *header).unzip();
    if let ([position], [_]) = (&positions[..], group)
        && schema.is_some_and(|nested| most(nested) == 1)
    {
        return Ok(vec![Some(*position)]);
    }
    let matched = match_blocks(draft.file(), &blocks, answer, group)?;
    Ok(matched.into_iter().map(|at| at.map(|at| positions[at])).collect())
}

/// The start of the line that a byte is on, if only white space stands before it, else the byte.
fn start_of_line(text: &str, at: usize) -> usize {
    at - (text[..at].len() - text[..at].trim_end_matches([' ', '\t']).len())
}
