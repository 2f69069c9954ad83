//! Doors that a change opens to anybody: by another attribute, another family of addresses, a wildcard written otherwise.
//!
//! In: the target before and after, and the new blocks. Out: refusals. What stood open before may stay open: the scanners judge
//! that.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::source::{Block, BlockAddr, Body, Item, SourceFile};

use super::access::PEERS;
use super::values::STRING;
use super::{Change, Guarded, pattern};

/// Attributes that say who may do something.
const MEMBERS: [&str; 8] =
    ["iam_member", "identifiers", "member", "members", "principal", "principals", "special_group", "user"];
/// What stands for anybody.
const ANYBODY: [&str; 7] = ["*", "0.0.0.0/0", "::/0", "allAuthenticatedUsers", "allUsers", "any", "internet"];

/// More than one wildcard where one would do the same.
static WILDCARDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[*?:]{2,}$|:\*{2,}$|:\?\*$|:\*\?$"));

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions.iter().chain([change.target]) {
        let Some((file, block)) = change.after.find(&dir, addr) else { continue };
        let stood = change.before.find(&dir, addr).map(|(file, block)| doors(file, block)).unwrap_or_default();
        for (door, count) in doors(file, block) {
            if count > stood.get(&door).copied().unwrap_or(0) {
                guarded.reasons.push(format!("{addr}: {door} opens it to anybody"));
            }
        }
    }
}

/// What lets anybody in, as it is written, and how often.
fn doors(file: &SourceFile, block: &Block) -> BTreeMap<String, usize> {
    let mut doors = BTreeMap::new();
    if !is_outward(&block.addr()) {
        walk(file, &block.body, Shut::default(), &mut |text| *doors.entry(text).or_insert(0) += 1);
    }
    doors
}

/// What a body, or one around it, says of those that it names.
#[derive(Clone, Copy, Debug, Default)]
struct Shut {
    /// They are kept out.
    out: bool,
    /// It is about what goes to them.
    outward: bool,
}

fn walk(file: &SourceFile, body: &Body, around: Shut, found: &mut impl FnMut(String)) {
    let says = |key: &str, words: &[&str]| {
        let said = body.attribute(key).and_then(|attribute| attribute.as_str());
        said.is_some_and(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
    };
    let denies = ["access", "action", "effect"].iter().any(|key| says(key, &["deny"]));
    let shut = Shut {
        out: around.out || denies || body.blocks().any(|block| block.keyword == "deny"),
        outward: around.outward || says("direction", &["outbound", "egress"]) || says("type", &["egress"]),
    };
    for item in &body.items {
        match item {
            Item::Attribute(attribute) => {
                let key = attribute.key.as_str();
                let texts = STRING.captures_iter(file.slice(&attribute.value)).map(|text| text[1].to_owned());
                for text in texts {
                    let lets_in = !shut.out && (PEERS.contains(&key) && !shut.outward || MEMBERS.contains(&key));
                    // Google's may stand in a list that is written as a text.
                    let is_anybody = ANYBODY
                        .iter()
                        .any(|all| all.eq_ignore_ascii_case(&text) || all.starts_with("all") && text.contains(all));
                    if lets_in && is_anybody || WILDCARDS.is_match(&text) {
                        found(format!("`{key}`: {text:?}"));
                    }
                }
            }
            Item::Block(block) if block.keyword != "egress" => walk(file, &block.body, shut, found),
            Item::Block(_) => {}
        }
    }
}

/// Whether a block is about what goes out.
fn is_outward(addr: &BlockAddr) -> bool {
    addr.resource_type().is_some_and(|ty| ty.contains("egress"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{judged, tree};
    use crate::source::BlockAddr;

    #[test]
    fn who_is_kept_out_is_not_let_in() {
        let target = BlockAddr { keyword: "data".into(), labels: vec!["aws_iam_policy_document".into(), "a".into()] };
        let statement = |effect: &str| {
            format!(
                "  statement {{\n    effect = \"{effect}\"\n    principals {{\n      identifiers = [\"*\"]\n    }}\n  }}\n"
            )
        };
        let with = |text: &str| tree(&format!("data \"aws_iam_policy_document\" \"a\" {{\n{text}}}\n"));
        let refused = |effect: &str| judged(&with(""), &with(&statement(effect)), &target, &[]).reasons;
        assert!(refused("Deny").is_empty());
        assert!(refused("Allow")[0].contains("opens it to anybody"));
    }
}
