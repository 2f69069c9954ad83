//! Doors that a change opens to anybody: by another attribute, for other traffic, another family of addresses, a wildcard written
//! otherwise; and doors that it leaves as open as they were with something beside them.
//!
//! In: the target before and after, and the new blocks. Out: refusals, and what a person must look at. What stood open before
//! may stay open: the scanners judge that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::addresses::range;
use crate::pattern::pattern;
use crate::rules::{RANGES, TRAFFIC};
use crate::source::{Attribute, Block, BlockAddr, Body, Item, SourceFile};

use super::access::{BESIDE, in_pairs, is_empty};
use super::values::STRING;
use super::{Change, Guarded};

/// Attributes that say who may do something.
const MEMBERS: [&str; 8] =
    ["iam_member", "identifiers", "member", "members", "principal", "principals", "special_group", "user"];
/// What stands for anybody, beside the ranges of all addresses. Azure's own cloud is that of all its customers.
const ANYBODY: [&str; 6] = ["*", "allAuthenticatedUsers", "allUsers", "any", "AzureCloud", "internet"];
/// More than one wildcard where one would do the same, and ARNs of anything.
static WILDCARDS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[*?:]{2,}$|:\*{2,}$|:\?\*$|:\*\?$|^arn:([*?:]+|aws[a-z-]*:[*?:]+)$"));

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions.iter().chain([change.target]) {
        let Some((file, block)) = change.after.find(&dir, addr) else { continue };
        let stood = change.before.find(&dir, addr).map(|(file, block)| doors(file, block)).unwrap_or_default();
        for (door, count) in doors(file, block) {
            if count > stood.get(&door).copied().unwrap_or(0) {
                guarded.reasons.push(format!("{addr}: {} opens it to anybody", door.what));
            }
        }
    }
    peers(change, guarded);
}

/// Who is let in by each body: not anybody as before with others beside, and not nobody in particular.
fn peers(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let addr = change.target;
    let (Some((_, before)), Some((file, after))) = (change.before.find(&dir, addr), change.after.find(&dir, addr))
    else {
        return;
    };
    if is_outward(addr) {
        return;
    }
    in_pairs(&before.keyword, (&before.body, &after.body), Shut::default(), &mut |keyword, before, after, around| {
        let mut shut = around.and(after);
        shut.outward |= OUTWARD.contains(&keyword);
        if shut.out || shut.outward {
            return shut;
        }
        let text = |body: &Body, key: &str| body.attribute(key).map(|it| it.expr.to_string().trim().to_owned());
        let named = |body: &Body| {
            let keys = RANGES.iter().chain(&BESIDE);
            keys.filter(|key| body.attribute(key).is_some_and(|it| !is_empty(it))).copied().collect::<BTreeSet<_>>()
        };
        let is_open = |key: &&&str| {
            let stays = text(before, key) == text(after, key);
            stays && after.attribute(key).is_some_and(|it| lets_anybody_in(file, it))
        };
        let new: Vec<&str> = named(after).into_iter().filter(|key| text(before, key) != text(after, key)).collect();
        if let (Some(open), Some(new)) = (RANGES.iter().find(is_open), new.first()) {
            guarded
                .reasons
                .push(format!("{addr}: `{open}` lets anybody in as before: `{new}` beside it narrows nothing"));
        }
        if !named(before).is_empty() && named(after).is_empty() {
            guarded.reasons.push(format!("{addr}: who may come is not said any more, which may be anybody"));
        }
        if RANGES.iter().any(|key| before.attribute(key).is_some() && text(before, key) != text(after, key)) {
            guarded.review.push(format!("{addr}: who may come is a person's choice"));
        }
        shut
    });
}

/// Whether an attribute that says who may come says anybody.
fn lets_anybody_in(file: &SourceFile, attribute: &Attribute) -> bool {
    STRING.captures_iter(file.slice(&attribute.value)).any(|text| is_anybody(&text[1]))
}

/// Whether a text stands for anybody.
fn is_anybody(text: &str) -> bool {
    let all_addresses = range(text).is_some_and(|(_, prefix)| prefix == 0);
    // Google's may stand in a list that is written as a text.
    let called = |all: &str| all.eq_ignore_ascii_case(text) || all.starts_with("all") && text.contains(all);
    all_addresses || text.starts_with("AzureCloud.") || ANYBODY.iter().any(|all| called(all))
}

/// A door that is open to anybody.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    /// As it is written.
    what: String,
    /// What traffic it is for.
    traffic: String,
}

/// The doors of a block, and how often each is there.
fn doors(file: &SourceFile, block: &Block) -> BTreeMap<Door, usize> {
    let mut doors = BTreeMap::new();
    if !is_outward(&block.addr()) {
        walk(file, &block.body, Shut::default(), &mut |door| *doors.entry(door).or_insert(0) += 1);
    }
    doors
}

/// What traffic a body is about: its own ports and protocols, and those of what it allows.
fn traffic(file: &SourceFile, body: &Body) -> String {
    let own = body.attributes().filter(|it| TRAFFIC.contains(&it.key.as_str()));
    let mut told: Vec<String> = own.map(|it| format!("{} = {}", it.key, file.slice(&it.value).trim())).collect();
    told.extend(body.blocks().filter(|block| block.keyword == "allow").map(|block| traffic(file, &block.body)));
    told.sort();
    told.join(", ")
}

/// What a body, or one around it, says of those that it names.
#[derive(Clone, Copy, Debug, Default)]
struct Shut {
    /// They are kept out.
    out: bool,
    /// It is about what goes to them.
    outward: bool,
}

impl Shut {
    /// With what a body inside says.
    fn and(self, body: &Body) -> Self {
        let says = |key: &str, words: &[&str]| {
            let said = body.attribute(key).and_then(|attribute| attribute.as_str());
            said.is_some_and(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
        };
        let denies = ["access", "action", "effect", "rule_action"].iter().any(|key| says(key, &["deny"]));
        let goes_out = body.attribute("egress").and_then(|attribute| attribute.expr.as_bool()) == Some(true);
        let outward = says("direction", &["outbound", "egress"]) || says("type", &["egress"]) || goes_out;
        Self {
            out: self.out || denies || body.blocks().any(|block| block.keyword == "deny"),
            outward: self.outward || outward,
        }
    }
}

fn walk(file: &SourceFile, body: &Body, around: Shut, found: &mut impl FnMut(Door)) {
    let shut = around.and(body);
    for item in &body.items {
        match item {
            Item::Attribute(attribute) => {
                let key = attribute.key.as_str();
                let texts = STRING.captures_iter(file.slice(&attribute.value)).map(|text| text[1].to_owned());
                for text in texts {
                    let lets_in = !shut.out && (RANGES.contains(&key) && !shut.outward || MEMBERS.contains(&key));
                    if lets_in && is_anybody(&text) || WILDCARDS.is_match(&text) {
                        let traffic = if RANGES.contains(&key) { traffic(file, body) } else { String::new() };
                        found(Door { what: format!("`{key}`: {text:?}"), traffic });
                    }
                }
            }
            Item::Block(block) if !OUTWARD.contains(&block.keyword.as_str()) => walk(file, &block.body, shut, found),
            Item::Block(_) => {}
        }
    }
}

/// Nested blocks about where traffic goes to.
const OUTWARD: [&str; 2] = ["egress", "route"];

/// Whether a block is about what goes out, or where to.
fn is_outward(addr: &BlockAddr) -> bool {
    let routes = |ty: &str| ty.ends_with("_route") || ty.ends_with("_route_table");
    addr.resource_type().is_some_and(|ty| ty.contains("egress") || routes(ty))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{judged, tree};
    use crate::source::BlockAddr;

    #[test]
    fn who_is_gone_to_does_not_come_in() {
        let target = BlockAddr::resource("aws_security_group", "a");
        let with = |keyword: &str, to: &str| {
            tree(&format!(
                "resource \"aws_security_group\" \"a\" {{\n  {keyword} {{\n    cidr_blocks = {to}\n  }}\n}}\n"
            ))
        };
        let emptied =
            |keyword: &str| judged(&with(keyword, "[\"0.0.0.0/0\"]"), &with(keyword, "[]"), &target, &[]).reasons;
        assert!(emptied("egress").is_empty());
        assert!(emptied("ingress")[0].contains("may be anybody"));
    }

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
