//! Fixes that close a finding and not the gap: what does nothing any more, what lets others do the same, what shuts out those
//! who were meant to come in.

use std::collections::BTreeSet;

use crate::rules::{RANGES, TRAFFIC};
use crate::source::{Attribute, Block, BlockAddr, Body, Item};

use super::{Change, Guarded};

/// Attributes by which others are let in beside the addresses of [`RANGES`].
pub(super) const BESIDE: [&str; 9] = [
    "prefix_list_id",
    "prefix_list_ids",
    "referenced_security_group_id",
    "security_groups",
    "source_application_security_group_ids",
    "source_security_group_id",
    "source_security_group_ids",
    "source_service_accounts",
    "source_tags",
];
/// Attributes by which a rule says whether it lets in or keeps out.
const TURNS: [&str; 4] = ["access", "action", "effect", "rule_action"];

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let addr = change.target;
    let (Some((_, before)), Some((_, after))) = (change.before.find(&dir, addr), change.after.find(&dir, addr)) else {
        return;
    };
    not_switched_off(addr, &before.body, &after.body, guarded);
    in_pairs(&before.keyword, (&before.body, &after.body), false, &mut |_, before, after, outer| {
        let is_about_peers = outer || names_peers(before);
        for key in changed(before, after) {
            let turned = || {
                let said = |body: &Body| body.attribute(key).and_then(|it| it.as_str()).map(str::to_lowercase);
                said(after).is_some_and(|now| now == "deny") && said(before).is_some()
            };
            if TRAFFIC.contains(&key) && is_about_peers {
                // Other traffic leaves open what the finding was about, or cuts off what the rule was there for.
                guarded.reasons.push(format!("{addr}: `{key}` is another one: change who may come, not what for"));
            } else if TRAFFIC.contains(&key) {
                guarded.review.push(format!("{addr}: `{key}` is another one"));
            } else if TURNS.contains(&key) && turned() {
                guarded.review.push(format!("{addr}: `{key}` keeps out those whom it let in"));
            }
        }
        is_about_peers
    });
}

/// Whether a body itself says who comes or goes.
fn names_peers(body: &Body) -> bool {
    RANGES.iter().chain(&BESIDE).any(|key| body.attribute(key).is_some())
}

/// A block that does nothing any more closes findings, and whatever it was there for is gone.
fn not_switched_off(addr: &BlockAddr, before: &Body, after: &Body, guarded: &mut Guarded) {
    for (key, off) in [("enabled", false), ("disabled", true)] {
        let is_off = |body: &Body| body.attribute(key).and_then(|a| a.expr.as_bool()) == Some(off);
        if is_off(after) && !is_off(before) {
            guarded.reasons.push(format!("{addr}: `{key} = {off}` switches it off; that closes nothing"));
        }
    }
}

/// The attributes of a body that are another one, new or gone.
fn changed<'a>(before: &'a Body, after: &'a Body) -> impl Iterator<Item = &'a str> {
    let text = |body: &Body, key: &str| body.attribute(key).map(|a| a.expr.to_string().trim().to_owned());
    let gone = before.attributes().filter(|a| after.attribute(&a.key).is_none());
    let all = after.attributes().chain(gone).map(|attribute| attribute.key.as_str());
    all.filter(move |key| text(before, key) != text(after, key))
}

/// Calls `each` for a body and all bodies in it with their keywords, what they were before, and what it said of the one around.
/// Nested blocks of a type are compared in their order, but those that stay the same with themselves; one that is new, with
/// nothing.
pub(super) fn in_pairs<T: Copy>(
    keyword: &str,
    (before, after): (&Body, &Body),
    around: T,
    each: &mut impl FnMut(&str, &Body, &Body, T) -> T,
) {
    let here = each(keyword, before, after, around);
    let nothing = Body::default();
    let keywords: BTreeSet<&str> = after.blocks().map(|block| block.keyword.as_str()).collect();
    for keyword in keywords {
        let of = |body: &'_ Body| body.blocks().filter(|block| block.keyword == keyword).cloned().collect::<Vec<_>>();
        let (mut old, mut new) = (of(before), of(after));
        // Those that stay as they are, whatever goes or comes before them.
        new.retain(|block| match old.iter().position(|old| is_same(old, block)) {
            Some(same) => {
                old.remove(same);
                false
            }
            None => true,
        });
        for (at, block) in new.iter().enumerate() {
            let before = old.get(at).map_or(&nothing, |old| &old.body);
            in_pairs(keyword, (before, &block.body), here, each);
        }
    }
}

/// Whether two nested blocks say the same.
fn is_same(one: &Block, other: &Block) -> bool {
    let same = |pair: (&Item, &Item)| match pair {
        (Item::Attribute(a), Item::Attribute(b)) => {
            a.key == b.key && a.expr.to_string().trim() == b.expr.to_string().trim()
        }
        (Item::Block(a), Item::Block(b)) => a.keyword == b.keyword && is_same(a, b),
        _ => false,
    };
    one.body.items.len() == other.body.items.len() && one.body.items.iter().zip(&other.body.items).all(same)
}

/// Whether there is nothing in a list or map.
pub(super) fn is_empty(attribute: &Attribute) -> bool {
    matches!(attribute.expr.to_string().split_whitespace().collect::<String>().as_str(), "[]" | "{}" | "\"\"" | "null")
}
