//! What of a grammar's text an answer can come to.
//!
//! In: a Lark text with all the rules and terminals that there are. Out: the text with those that `start` leads to, and from
//! that, what of the module the answer's first block can hold and name.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::BlockAddr;

use super::{Going, Grammar};

impl Grammar {
    /// Whether the block that the answer changes may hold this attribute or nested block in the answer, as far as the text of
    /// the grammar tells: what it says no of, no answer holds.
    pub fn may_write(&self, item: &str) -> bool {
        // Without a schema the text names no arguments.
        self.context.schema_or_supposed(&self.context.target).is_none() || words(&self.lark, item).next().is_some()
    }

    /// Whether an answer may name this block, as far as the text of the grammar tells: what it says no of, no answer names, but
    /// in new blocks that stand behind what it names.
    pub fn may_name(&self, block: &BlockAddr) -> bool {
        // The new blocks that a way asks for have languages of their own.
        if matches!(self.held, Going::Way(index, _) if !self.context.ways[index].companions.is_empty()) {
            return true;
        }
        let labels: Vec<&str> = block.labels.iter().map(String::as_str).collect();
        let heads = |before: &str, label: &str| {
            words(&self.lark, before).any(|at| {
                let Some(rest) = self.lark[at + before.len()..].trim_start_matches('\\').strip_prefix('.') else {
                    return false;
                };
                let (places, one) = (rest.strip_prefix('('), rest);
                match places.and_then(|rest| rest.split_once(')')) {
                    Some((places, _)) => places.split('|').any(|place| place.trim_end_matches(r"\[0\]") == label),
                    None => words(one, label).next() == Some(0),
                }
            })
        };
        match (block.keyword.as_str(), labels.as_slice()) {
            ("resource" | "data", [ty, label]) => heads(ty, label),
            ("variable", [name]) => heads("var", name),
            ("local" | "module", [name]) => heads(&block.keyword, name),
            _ => words(&self.lark, "local").next().is_some(),
        }
    }
}

/// Where a word stands in a text. Words hold letters, digits, `_` and `-`.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        // An escaped line end is no letter.
        let before = text[..*at].strip_suffix(r"\n").map_or(text[..*at].chars().next_back(), |_| None);
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// The text with those rules and terminals only that `start` leads to.
pub(super) fn only_used(lark: &str) -> String {
    let mut rules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for line in lark.lines() {
        if let Some(name) = defined(line) {
            order.push(name);
        }
        if let Some(name) = order.last() {
            rules.entry(name).or_default().push(line);
        }
    }
    let mut used = BTreeSet::new();
    let mut left = vec!["start"];
    while let Some(name) = left.pop() {
        if let Some(lines) = rules.get(name)
            && used.insert(name)
        {
            left.extend(lines.iter().flat_map(|line| names(line)));
        }
    }
    let mut text = String::new();
    for line in order.iter().filter(|name| used.contains(*name)).flat_map(|name| &rules[*name]) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The rule or terminal whose definition begins with this line.
fn defined(line: &str) -> Option<&str> {
    let end = line.find(|c: char| !is_letter(c)).filter(|end| *end > 0)?;
    line[end..].starts_with(':').then(|| &line[..end])
}

/// The names in a line: what is neither in a text nor in a regular expression.
fn names(line: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| is_letter(c) || matches!(c, '"' | '/')) {
        rest = &rest[at..];
        let end = match rest.as_bytes()[0] {
            quote @ (b'"' | b'/') => closing(rest, quote),
            _ => {
                let end = rest.find(|c: char| !is_letter(c)).unwrap_or(rest.len());
                names.push(&rest[..end]);
                end
            }
        };
        rest = &rest[end..];
    }
    names
}

/// Behind the quote that closes the one that the text begins with.
fn closing(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += 1 + usize::from(bytes[at] == b'\\');
    }
    (at + 1).min(bytes.len())
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::super::tests::grammar_for;
    use super::*;

    #[test]
    fn what_nothing_leads_to_is_left_out() {
        let lark = r#"start: "A: \" C" b::0x0 T
b::_: "" %if bit_set(0)
  | "x" D b::set_bit(0)
C: /c/
D: /a\/C"C/ | E
E: "e"
T: /t/ & ~/u/
U: /u/
"#;
        let kept = lark.replace("C: /c/\n", "").replace("U: /u/\n", "");
        assert_eq!(only_used(lark), kept);
        assert_eq!(only_used(&kept), kept);
    }

    #[test]
    fn what_may_be_written_and_named_is_told() {
        let module = "resource \"aws_sns_topic\" \"t\" {\n}\nresource \"aws_kms_key\" \"main\" {\n}\n\
            resource \"aws_kms_key\" \"other-one\" {\n}\nresource \"aws_vpc\" \"main\" {\n}\nvariable \"key\" {\n}\n";
        let grammar = grammar_for(&BlockAddr::resource("aws_sns_topic", "t"), module);
        assert!(grammar.may_write("kms_master_key_id") && grammar.may_write("tags"));
        assert!(!grammar.may_write("master_key") && !grammar.may_write("ingress"));
        for name in ["main", "other-one"] {
            assert!(grammar.may_name(&BlockAddr::resource("aws_kms_key", name)), "{name}");
        }
        assert!(!grammar.may_name(&BlockAddr::resource("aws_kms_key", "other")));
        assert!(!grammar.may_name(&BlockAddr::resource("aws_sns_topic", "t")));
    }
}
