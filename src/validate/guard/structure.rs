//! Guardrails on blocks: what stands must stay, what is new must be sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;
use crate::source::{Attribute, Block, BlockAddr, Body, RelPath, SourceTree, references, references_of};

use super::access::is_empty;
use super::{Change, Guarded};

/// Comments by which scanners are told to look away.
static SUPPRESSION: LazyLock<Regex> = LazyLock::new(|| {
    let marks = r"(?i)(checkov|bridgecrew|soos):skip|(tfsec|trivy):ignore|kics-scan|#ts:(skip|minseverity)|nosec|noqa";
    pattern(marks)
});

/// Calls of functions that read what is not in the code.
static READERS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(file\w*|templatefile|pathexpand)\s*\("));

/// References to the first of several instances.
static FIRST: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b((?:data\.)?[a-z][a-z0-9_]*\.[A-Za-z_][\w-]*)\[0\]"));

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    kept_and_untouched(change, guarded);
    no_suppression(change, guarded);
    no_cycle(change, guarded);
    let dir = change.file.parent();
    let declared = change.after.declared(&dir);
    let target_before = change.before.find(&dir, change.target).map(|(_, block)| block);
    let known = target_before.map(named).unwrap_or_default();
    for addr in change.companions.iter().chain([change.target]) {
        let Some((file, block)) = change.after.find(&dir, addr) else { continue };
        let before = if addr == change.target { change.before.find(&dir, addr) } else { None };
        meta_arguments(addr, block, before.map(|(_, block)| block), guarded);
        for name in named(block).difference(&known).filter(|name| !declared.contains(*name)) {
            guarded.reasons.push(format!("{addr} refers to {name}, which the module does not declare"));
        }
        let text = file.slice(&block.span);
        let old = before.map_or("", |(file, block)| file.slice(&block.span));
        let calls = |text: &str| READERS.captures_iter(text).map(|call| call[1].to_owned()).collect::<Vec<_>>();
        let (had, has) = (calls(old), calls(text));
        let count = |calls: &[String], name: &str| calls.iter().filter(|call| *call == name).count();
        if let Some(reader) = has.iter().find(|name| count(&has, name) > count(&had, name)) {
            guarded.reasons.push(format!("{addr} calls {reader}(), which reads what is not in the code"));
        }
        let firsts = |text: &str| FIRST.captures_iter(text).map(|first| first[1].to_owned()).collect::<BTreeSet<_>>();
        for first in firsts(text).difference(&firsts(old)).filter(|first| may_be_none(change.after, &dir, first)) {
            guarded.review.push(format!("{addr}: {first}[0] is there only if its count is not 0"));
        }
        for name in named(block).difference(&known).filter(|name| has_no_default(change.after, &dir, name)) {
            guarded.review.push(format!("{addr}: {name} has no default: what it is set to decides"));
        }
        if addr.keyword == "variable" {
            match block.body.attribute("default").map(Attribute::as_str) {
                None => guarded
                    .reasons
                    .push(format!("{addr} has no default, so the module could no longer be planned as it is")),
                Some(Some("")) => guarded.review.push(format!("{addr} has to be given a value: its default is empty")),
                Some(_) => {}
            }
        }
    }
    if let (Some(before), Some((_, after))) = (target_before, change.after.find(&dir, change.target)) {
        fewer_blocks(change.target, &before.body, &after.body, guarded);
    }
}

/// Whether a block's count is anything but a number.
fn may_be_none(tree: &SourceTree, dir: &RelPath, name: &str) -> bool {
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let (keyword, labels) = match name.split('.').collect::<Vec<_>>().as_slice() {
        ["data", rest @ ..] => ("data", labels(rest)),
        ["module", name] => ("module", labels(&[name])),
        rest => ("resource", labels(rest)),
    };
    let found = tree.find(dir, &BlockAddr { keyword: keyword.to_owned(), labels });
    let count = found.and_then(|(_, block)| block.body.attribute("count"));
    count.is_some_and(|count| count.expr.to_string().trim().parse::<u64>().is_ok_and(|n| n == 0) || !count.is_literal())
}

fn has_no_default(tree: &SourceTree, dir: &RelPath, name: &BlockAddr) -> bool {
    let found = tree.find(dir, name).filter(|_| name.keyword == "variable");
    found.is_some_and(|(_, block)| block.body.attribute("default").is_none())
}

fn named(block: &Block) -> BTreeSet<BlockAddr> {
    references(block).into_iter().collect()
}

/// Every block of before stands after; all but the target are the same to the byte.
fn kept_and_untouched(change: &Change<'_>, guarded: &mut Guarded) {
    let companions: BTreeSet<_> = change.companions.iter().collect();
    for (path, before) in change.before.files().filter_map(|(path, file)| Some((path, file.ok()?))) {
        let Some(after) = change.after.file(path) else {
            guarded.reasons.push(format!("{path} no longer parses"));
            continue;
        };
        if before.text() == after.text() {
            continue;
        }
        let old = texts_by_address(change.before, path);
        let mut new = texts_by_address(change.after, path);
        for (addr, texts) in &old {
            let now = new.remove(addr).unwrap_or_default();
            if now.len() < texts.len() {
                guarded.reasons.push(format!("{addr} is gone"));
            } else if !(addr == change.target && path == change.file) && now != *texts {
                guarded.reasons.push(format!("{addr} is changed, which is not the block to fix"));
            }
        }
        for addr in new.keys().filter(|addr| !companions.contains(addr)) {
            guarded.reasons.push(format!("{addr} is new, but is not declared as a companion"));
        }
    }
}

fn texts_by_address<'a>(tree: &'a SourceTree, path: &RelPath) -> BTreeMap<BlockAddr, Vec<&'a str>> {
    let mut texts = BTreeMap::<_, Vec<_>>::new();
    if let Some(file) = tree.file(path) {
        for block in file.body().blocks() {
            texts.entry(block.addr()).or_default().push(file.slice(&block.span));
        }
    }
    texts
}

fn no_suppression(change: &Change<'_>, guarded: &mut Guarded) {
    for (path, after) in change.after.files().filter_map(|(path, file)| Some((path, file.ok()?))) {
        let before = change.before.file(path).map_or("", |file| file.text());
        let count = |text: &str| SUPPRESSION.find_iter(text).count();
        if before != after.text() && count(after.text()) > count(before) {
            guarded.reasons.push(format!("{path} has a new suppression comment; hiding a finding does not close it"));
        }
    }
}

/// Terraform cannot order blocks that refer to one another in a circle.
fn no_cycle(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions.iter().chain([change.target]) {
        let circle = circle(change.after, &dir, addr);
        if !circle.is_empty() && self::circle(change.before, &dir, addr).is_empty() {
            let names: Vec<String> = circle.iter().map(ToString::to_string).collect();
            guarded.reasons.push(format!("{} refer to one another in a circle", names.join(", ")));
            return;
        }
    }
}

/// The blocks on a way from a block back to itself; empty when there is none.
fn circle(tree: &SourceTree, dir: &RelPath, start: &BlockAddr) -> Vec<BlockAddr> {
    let named = |addr: &BlockAddr| match tree.find(dir, addr) {
        Some((_, block)) if addr.keyword == "local" => {
            block.body.attribute(&addr.labels[0]).map(|local| references_of(&local.expr)).unwrap_or_default()
        }
        Some((_, block)) => references(block),
        None => Vec::new(),
    };
    let mut ways: Vec<Vec<BlockAddr>> = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in way.last().map(&named).unwrap_or_default() {
            if next == *start {
                return way;
            }
            if seen.insert(next.clone()) {
                ways.push(way.iter().cloned().chain([next]).collect());
            }
        }
    }
    Vec::new()
}

/// `count` and `for_each` stay as they are; nothing new runs or ignores things.
fn meta_arguments(addr: &BlockAddr, block: &Block, before: Option<&Block>, guarded: &mut Guarded) {
    let value = |block: &Block, key: &str| block.body.attribute(key).map(|a| a.expr.to_string().trim().to_owned());
    for key in ["count", "for_each"] {
        if value(block, key) != before.and_then(|before| value(before, key)) {
            guarded.reasons.push(format!("{addr}: `{key}` must stay as it is"));
        }
    }
    for keyword in ["provisioner", "connection", "dynamic"] {
        if blocks_of(&block.body, keyword) > before.map_or(0, |before| blocks_of(&before.body, keyword)) {
            guarded.reasons.push(format!("{addr} has a new `{keyword}` block"));
        }
    }
    let ignored = |block: &Block| {
        let lifecycle = block.body.blocks().find(|b| b.keyword == "lifecycle")?;
        Some(lifecycle.body.attribute("ignore_changes")?.expr.to_string().trim().to_owned())
    };
    if ignored(block).is_some() && ignored(block) != before.and_then(ignored) {
        guarded.reasons.push(format!("{addr}: `ignore_changes` must stay as it is"));
    }
}

/// Blocks of a type, at any depth.
fn blocks_of(body: &Body, keyword: &str) -> usize {
    body.blocks().map(|block| usize::from(block.keyword == keyword) + blocks_of(&block.body, keyword)).sum()
}

/// A new nested block in which nothing is said may do nothing.
fn empty_blocks(addr: &BlockAddr, block: &Block, guarded: &mut Guarded) {
    if block.body.items.is_empty() {
        let keyword = &block.keyword;
        guarded.review.push(format!("{addr}: `{keyword}` is empty: whether it does anything is for a person to say"));
    }
    block.body.blocks().for_each(|nested| empty_blocks(addr, nested, guarded));
}

/// What is taken out may be meant to be, but a person must see it.
fn fewer_blocks(addr: &BlockAddr, before: &Body, after: &Body, guarded: &mut Guarded) {
    for attribute in before.attributes() {
        let now = after.attribute(&attribute.key);
        if now.is_none_or(|now| is_empty(now) && !is_empty(attribute)) {
            guarded.review.push(format!("{addr}: `{}` is taken out", attribute.key));
            continue;
        }
        let Some(now) = now else { continue };
        let elements = |a: &Attribute| a.literals().unwrap_or_default();
        if elements(attribute).iter().any(|element| !elements(now).contains(element)) && now.literals().is_some() {
            guarded.review.push(format!("{addr}: `{}` has lost an element", attribute.key));
        }
        let is_fixed = |a: &Attribute| a.is_literal() || a.literals().is_some();
        if is_fixed(now) && !is_fixed(attribute) {
            guarded.review.push(format!("{addr}: `{}` was computed and is always the same now", attribute.key));
        }
        let lost = |reference: &BlockAddr| !references_of(&now.expr).contains(reference);
        if references_of(&attribute.expr).iter().any(lost) {
            guarded.review.push(format!("{addr}: `{}` no longer refers to what it did", attribute.key));
        }
    }
    let is_new = |block: &&Block| !before.blocks().any(|old| old.keyword == block.keyword);
    for block in after.blocks().filter(is_new) {
        empty_blocks(addr, block, guarded);
    }
    let keywords: BTreeSet<_> = before.blocks().map(|b| b.keyword.as_str()).collect();
    for keyword in keywords {
        let of = |body: &Body| body.blocks().filter(|b| b.keyword == keyword).count();
        let (had, has) = (of(before), of(after));
        if has < had {
            guarded.review.push(format!("{addr}: {} of {had} `{keyword}` blocks taken out", had - has));
            continue;
        }
        let named = |body: &'_ Body| body.blocks().filter(|b| b.keyword == keyword).cloned().collect::<Vec<_>>();
        for (before, after) in named(before).iter().zip(&named(after)) {
            fewer_blocks(addr, &before.body, &after.body, guarded);
        }
    }
}
