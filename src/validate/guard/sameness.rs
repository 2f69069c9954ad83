//! What stands stays the thing that it is and goes on to do what it does, and what is led elsewhere does not lead back.

use std::collections::BTreeMap;

use crate::naming;
use crate::source::{Attribute, BlockAddr, Body, SourceTree, references_of};

use super::{Change, Guarded};

/// What arguments and blocks are called by which something goes elsewhere; and of these, those by which it would be no good
/// at all where it came from.
const ELSEWHERE: [&str; 5] = ["destination", "replica", "dead_letter", "target", "log"];
const NEVER_BACK: usize = 3;
/// Within one network there is traffic both ways.
const OF_TRAFFIC: [&str; 5] = ["address", "cidr", "port", "prefix", "range"];

/// The text of nothing.
const NOTHING: &str = "\"\"";

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let find = |tree: &'_ SourceTree, addr: &BlockAddr| tree.find(&dir, addr).map(|(_, block)| block.body.clone());
    let before = find(change.before, change.target);
    if let (Some(before), Some(after)) = (&before, find(change.after, change.target)) {
        let (before, after) = (written(before), written(&after));
        renamed(change, &before, &after, guarded);
        emptied(change, &before, &after, guarded);
    }
    for addr in change.companions.iter().chain([change.target]) {
        let stood = if addr == change.target { before.as_ref() } else { None };
        if let Some(body) = find(change.after, addr) {
            led_back(change, addr, &body, stood, guarded);
        }
    }
}

/// With another name it is another thing: what had the old one goes, with all that it holds.
fn renamed(change: &Change<'_>, before: &Written, after: &Written, guarded: &mut Guarded) {
    let target = change.target;
    let ty = target.resource_type().unwrap_or_default();
    for (path, was) in before.iter().filter(|(path, _)| naming::is_own_name(ty, path)) {
        if after.get(path) == Some(was) {
            continue;
        }
        match change.inspected {
            Some(inspected) if !inspected.contains(path) => guarded.reasons.push(format!(
                "{target}: {path}: with another name it is another thing, and the rule does not look at the name"
            )),
            _ => guarded.review.push(format!("{target}: a new `{path}` may make terraform replace what is deployed")),
        }
    }
}

/// A text that is made nothing no longer does what it was there for.
fn emptied(change: &Change<'_>, before: &Written, after: &Written, guarded: &mut Guarded) {
    let is_text = |value: &str| value.starts_with(['"', '<']) && value != NOTHING;
    for (path, _) in before.iter().filter(|(_, was)| is_text(was)) {
        if after.get(path).is_some_and(|now| now == NOTHING) {
            guarded.reasons.push(format!("{}: {path} is emptied, and what it was there for is gone", change.target));
        }
    }
}

/// Values by path, as they are written.
type Written = BTreeMap<String, String>;

/// What is written in a body.
fn written(body: &Body) -> Written {
    let text = |attribute: &Attribute| attribute.expr.to_string().trim().to_owned();
    body.by_path().into_iter().map(|(path, attribute)| (path, text(attribute))).collect()
}

/// A block that connects a thing with itself, by what is new in it.
fn led_back(change: &Change<'_>, addr: &BlockAddr, body: &Body, stood: Option<&Body>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let elsewhere = |path: &str| {
        let is_called =
            |part: &str, word: &str| part == word || part.strip_prefix(word).is_some_and(|rest| rest.starts_with('_'));
        ELSEWHERE.iter().position(|word| path.split('.').any(|part| is_called(part, word)))
    };
    // Of several instances, one may lead to another.
    let is_one = |to: &BlockAddr| {
        let block = change.after.find(&dir, to).map(|(_, block)| block);
        to.resource_type().is_some()
            && !block.is_some_and(|it| ["count", "for_each"].iter().any(|many| it.body.attribute(many).is_some()))
    };
    let stood = stood.map(written).unwrap_or_default();
    let leaves = body.by_path();
    let from = leaves.iter().filter(|(path, _)| elsewhere(path).is_none());
    let from: Vec<BlockAddr> = from.flat_map(|(_, attribute)| references_of(&attribute.expr)).filter(is_one).collect();
    for (path, attribute) in &leaves {
        let is_traffic = OF_TRAFFIC.iter().any(|word| path.contains(word));
        let Some(kind) = elsewhere(path).filter(|_| !is_traffic) else { continue };
        if stood.get(path).is_some_and(|was| was == attribute.expr.to_string().trim()) {
            continue;
        }
        match references_of(&attribute.expr).into_iter().find(|to| from.contains(to)) {
            Some(back) if kind < NEVER_BACK => {
                guarded.reasons.push(format!("{addr}: {path} leads back to {back}, where it comes from"));
            }
            Some(back) => {
                guarded.review.push(format!("{addr}: {path} leads back to {back}: name another one if there is one"));
            }
            None => {}
        }
    }
}
