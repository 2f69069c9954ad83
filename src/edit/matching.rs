//! Which nested block of the target each one of the override means.

use std::collections::BTreeSet;

use crate::source::{Block, SourceFile};

use super::canonical::canonical;
use super::merge::MergeError;

/// Attributes that tell blocks of one type apart. A new value of one of them means a new block.
const NAMES: [&str; 8] = ["name", "id", "rule_id", "sid", "key", "device_name", "priority", "rule_number"];
/// Of these, those that are never changed: where there is one block of a type, another value of such means a second one.
const KEPT_NAMES: usize = 6;
/// Attributes that may tell blocks apart, but change as well.
const HINTS: [&str; 8] = ["type", "port", "from_port", "protocol", "path", "host", "role", "description"];

/// For each block of the override, the position (among the target's blocks of that header) of the one that it means;
/// `None` for a new one. One and one are the same block, unless the override's holds all and has another name. Several are
/// matched by an attribute that names them, else in their order when the override has them all.
///
/// # Errors
/// When it cannot be told which one is meant.
pub fn match_blocks(
    source: &SourceFile,
    target: &[&Block],
    answer: &SourceFile,
    over: &[&Block],
) -> Result<Vec<Option<usize>>, MergeError> {
    let sides = Sides { source, target, answer, over };
    if target.is_empty() {
        return Ok(vec![None; over.len()]);
    }
    if let ([one], [other]) = (target, over) {
        let named = |key: &&str| literal(source, one, key).zip(literal(answer, other, key));
        let different = NAMES[..KEPT_NAMES].iter().filter_map(named).any(|(one, other)| one != other);
        // One that holds only what changes is no block of its own.
        let whole = one.body.attributes().all(|attribute| other.body.attribute(&attribute.key).is_some());
        return Ok(vec![(!different || !whole).then_some(0)]);
    }
    if let Some(matched) = NAMES.iter().find_map(|key| sides.by_name(key)) {
        return Ok(matched);
    }
    if let Some(matched) = HINTS.iter().find_map(|key| sides.by_hint(key)) {
        return Ok(matched);
    }
    if over.len() >= target.len() {
        return Ok((0..over.len()).map(|at| (at < target.len()).then_some(at)).collect());
    }
    sides.one_by_one().ok_or_else(|| sides.ambiguous())
}

struct Sides<'a> {
    source: &'a SourceFile,
    target: &'a [&'a Block],
    answer: &'a SourceFile,
    over: &'a [&'a Block],
}

impl Sides<'_> {
    /// All blocks of both sides carry the name, no two of a side the same.
    fn by_name(&self, key: &str) -> Option<Vec<Option<usize>>> {
        let target = distinct(self.source, self.target, key)?;
        let over = distinct(self.answer, self.over, key)?;
        let matched: Vec<_> = over.iter().map(|name| target.iter().position(|other| other == name)).collect();
        // As many as there are, none by its name: they were renamed, in order.
        let renamed = over.len() == target.len() && matched.iter().filter(|m| m.is_none()).count() * 2 > target.len();
        (!renamed).then_some(matched)
    }

    /// Each block of the override has the same value as exactly one of the target.
    fn by_hint(&self, key: &str) -> Option<Vec<Option<usize>>> {
        let target = distinct(self.source, self.target, key)?;
        let over = distinct(self.answer, self.over, key)?;
        let found = over.iter().map(|value| target.iter().position(|other| other == value));
        found.map(|at| at.map(Some)).collect()
    }

    /// Each block of the override shares a literal with exactly one of the target, and no two with the same.
    fn one_by_one(&self) -> Option<Vec<Option<usize>>> {
        let mut taken = BTreeSet::new();
        self.over.iter().map(|block| self.only(block).filter(|at| taken.insert(*at)).map(Some)).collect()
    }

    fn only(&self, over: &Block) -> Option<usize> {
        over.body.attributes().find_map(|attribute| {
            let value = literal(self.answer, over, &attribute.key)?;
            let same = |block: &&Block| literal(self.source, block, &attribute.key).as_ref() == Some(&value);
            let mut found = (0..self.target.len()).filter(|at| same(&self.target[*at]));
            found.next().filter(|_| found.next().is_none())
        })
    }

    fn ambiguous(&self) -> MergeError {
        let (count, keyword) = (self.target.len(), &self.target[0].keyword);
        let key = NAMES.iter().chain(&HINTS).find(|key| distinct(self.source, self.target, key).is_some());
        let way = match key {
            Some(key) => format!(", or repeat the `{key}` of the one that changes"),
            None => String::new(),
        };
        MergeError::Ambiguous(format!(
            "the block has {count} `{keyword}` blocks and the answer {}: write all {count} in their order{way}",
            self.over.len()
        ))
    }
}

/// The literal values of an attribute, if every block has one and no two the same.
fn distinct(file: &SourceFile, blocks: &[&Block], key: &str) -> Option<Vec<Vec<String>>> {
    let values: Option<Vec<_>> = blocks.iter().map(|block| literal(file, block, key)).collect();
    values.filter(|values| values.iter().collect::<BTreeSet<_>>().len() == values.len())
}

fn literal(file: &SourceFile, block: &Block, key: &str) -> Option<Vec<String>> {
    let attribute = block.body.attribute(key)?;
    attribute.is_literal().then(|| canonical(file.slice(&attribute.value)))
}
