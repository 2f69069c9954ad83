//! What stands stays the thing that it is, and what is led elsewhere does not lead back.

use crate::naming;
use crate::source::{BlockAddr, Body, references_of};

use super::{Change, Guarded};

/// What arguments and blocks are called by which something goes elsewhere; and of these, those by which it would be no good
/// at all where it came from.
const ELSEWHERE: [&str; 5] = ["destination", "replica", "dead_letter", "target", "log"];
const NEVER_BACK: usize = 3;

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let find = |addr: &BlockAddr| change.after.find(&dir, addr).map(|(_, block)| block);
    if let (Some((_, before)), Some(after)) = (change.before.find(&dir, change.target), find(change.target)) {
        renamed(change, &before.body, &after.body, guarded);
    }
    for addr in change.companions {
        if let Some(block) = find(addr) {
            led_back(addr, &block.body, guarded);
        }
    }
}

/// With another name it is another thing: what had the old one goes, with all that it holds.
fn renamed(change: &Change<'_>, before: &Body, after: &Body, guarded: &mut Guarded) {
    let ty = change.target.resource_type().unwrap_or_default();
    let own = |name: &str| naming::holds_name(name) && !naming::names_another(ty, true, name);
    for attribute in before.attributes().filter(|attribute| own(&attribute.key)) {
        let now = after.attribute(&attribute.key).map(|now| now.expr.to_string().trim().to_owned());
        let is_inspected = change.inspected.contains(&attribute.key);
        if !is_inspected && now.as_deref() != Some(attribute.expr.to_string().trim()) {
            let target = change.target;
            guarded.reasons.push(format!(
                "{target}: {}: with another name it is another thing, and the rule does not look at the name",
                attribute.key
            ));
        }
    }
}

/// A new block that connects a thing with itself.
fn led_back(addr: &BlockAddr, body: &Body, guarded: &mut Guarded) {
    let elsewhere = |path: &str| {
        ELSEWHERE.iter().position(|word| {
            path.split('.')
                .any(|part| part == *word || part.strip_prefix(word).is_some_and(|rest| rest.starts_with('_')))
        })
    };
    let leaves = body.by_path();
    let from = leaves.iter().filter(|(path, _)| elsewhere(path).is_none());
    let from: Vec<BlockAddr> = from.flat_map(|(_, attribute)| references_of(&attribute.expr)).collect();
    for (path, attribute) in &leaves {
        let Some(kind) = elsewhere(path) else { continue };
        let back =
            references_of(&attribute.expr).into_iter().find(|to| to.resource_type().is_some() && from.contains(to));
        match back {
            Some(back) if kind < NEVER_BACK => {
                guarded.reasons.push(format!("{addr}: {path} leads back to {back}, where it comes from"));
            }
            Some(back) => {
                guarded.review.push(format!("{addr}: {path} leads back to {back}: name another one if there is one"))
            }
            None => {}
        }
    }
}
