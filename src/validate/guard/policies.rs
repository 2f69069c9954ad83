//! Guardrails on policies, wherever they are written: as a JSON document, as the statements of a policy document that is a
//! block, or as a reference to one. No statement goes, none allows more than before, and a new one does not let in anybody.
//!
//! In: the target before and after, and the new blocks. Out: refusals, and what a person must look at: who may do what is
//! theirs to say.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::Expression;
use regex::Regex;
use serde_json::Value;

use crate::source::document::Document;
use crate::source::{Attribute, Block, BlockAddr, Body, Item, RelPath, SourceTree, references_of};

use super::{Change, Guarded};

/// The data source that is a policy.
const DOCUMENT: &str = "aws_iam_policy_document";
/// What a statement says (AWS IAM, "JSON policy elements: Statement"), and how a block of [`DOCUMENT`] calls it.
const PARTS: [(&str, &str); 4] =
    [("Action", "actions"), ("NotAction", "not_actions"), ("NotResource", "not_resources"), ("Resource", "resources")];

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    for addr in change.companions {
        let policies = of_block(change.after, &dir, addr);
        policies.values().flatten().flatten().for_each(|statement| not_wide_open(addr, statement, guarded));
    }
    let addr = change.target;
    let after = of_block(change.after, &dir, addr);
    let Some((_, block)) = change.after.find(&dir, addr) else { return };
    let before = of_block(change.before, &dir, addr);
    for (key, was) in &before {
        let was = was.as_deref().unwrap_or_default();
        match after.get(key) {
            _ if was.is_empty() => {}
            Some(Some(is)) => compared(addr, key, was, is, guarded),
            // What it is now, the code does not say.
            Some(None) => guarded.review.push(format!("{addr}: {key}: who may do what is a person's choice")),
            None if block.body.attribute(key).is_some_and(Attribute::is_literal) => {
                guarded.reasons.push(format!("{addr}: {key}: the policy is emptied"));
            }
            None if was.iter().any(|statement| statement.denies) => {
                guarded.reasons.push(format!("{addr}: {key}: what the policy denies is gone with it"));
            }
            None => {}
        }
    }
    let new = after.iter().filter(|(key, _)| !before.contains_key(*key)).flat_map(|(_, policy)| policy).flatten();
    new.for_each(|statement| not_wide_open(addr, statement, guarded));
}

/// A statement of a policy.
#[derive(Clone, Debug, PartialEq)]
struct Statement {
    denies: bool,
    /// What it says, by the names of JSON policies. Principals are told with their type, conditions as they are written.
    parts: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Statement {
    fn of_json(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let texts = |name: &str| fields.get(name).map(texts).unwrap_or_default();
        let mut parts: BTreeMap<_, _> = PARTS.iter().map(|(name, _)| (*name, texts(name))).collect();
        for name in ["NotPrincipal", "Principal"] {
            let principals = match fields.get(name) {
                Some(Value::Object(by_type)) => {
                    by_type.iter().flat_map(|(ty, of)| principals(ty, self::texts(of))).collect()
                }
                _ => texts(name),
            };
            parts.insert(name, principals);
        }
        parts.insert("Condition", fields.get("Condition").map(ToString::to_string).into_iter().collect());
        Some(Self { denies: fields.get("Effect").is_none_or(|effect| effect != "Allow"), parts })
    }

    fn of_body(body: &Body) -> Self {
        let texts = |body: &Body, name: &str| body.attribute(name).map(written).unwrap_or_default();
        let mut parts: BTreeMap<_, _> = PARTS.iter().map(|(name, key)| (*name, texts(body, key))).collect();
        for (name, keyword) in [("NotPrincipal", "not_principals"), ("Principal", "principals")] {
            let blocks = body.blocks().filter(|block| block.keyword == keyword);
            let of = blocks.flat_map(|block| {
                let ty = texts(&block.body, "type").into_iter().next().unwrap_or_default();
                principals(&ty, texts(&block.body, "identifiers"))
            });
            parts.insert(name, of.collect());
        }
        let conditions = body.blocks().filter(|block| block.keyword == "condition").map(|block| {
            let told = |name: &str| texts(&block.body, name).into_iter().collect::<Vec<_>>().join(",");
            ["test", "variable", "values"].map(told).join(" ")
        });
        parts.insert("Condition", conditions.collect());
        Self { denies: texts(body, "effect").contains("Deny"), parts }
    }

    fn part(&self, name: &str) -> &BTreeSet<String> {
        &self.parts[name]
    }

    fn allows_all(&self, name: &str) -> bool {
        self.part(name).contains("*")
    }
}

/// The policies of a block by where they stand; `None` where the code does not say what is in one.
fn of_block(tree: &SourceTree, dir: &RelPath, addr: &BlockAddr) -> BTreeMap<String, Option<Vec<Statement>>> {
    let Some((_, block)) = tree.find(dir, addr) else { return BTreeMap::new() };
    let mut policies = BTreeMap::new();
    if let Some(statements) = of_document(block) {
        policies.insert("statement".to_owned(), Some(statements));
    }
    for item in &block.body.items {
        let Item::Attribute(attribute) = item else { continue };
        if let Some(document) = attribute.text.as_deref().and_then(Document::parse) {
            if let Some(statements) = in_document(&document.value()) {
                policies.insert(attribute.key.clone(), Some(statements));
            }
        } else if !attribute.is_literal() {
            let named = references_of(&attribute.expr);
            let policy = match named.as_slice() {
                [only] => tree.find(dir, only).and_then(|(_, block)| of_document(block)),
                _ => None,
            };
            policies.insert(attribute.key.clone(), policy);
        }
    }
    policies
}

/// The statements of a policy document that is a block.
fn of_document(block: &Block) -> Option<Vec<Statement>> {
    let is_one = block.keyword == "data" && block.labels.first().is_some_and(|ty| ty == DOCUMENT);
    let statements = block.body.blocks().filter(|nested| nested.keyword == "statement");
    is_one.then(|| statements.map(|nested| Statement::of_body(&nested.body)).collect())
}

fn in_document(document: &Value) -> Option<Vec<Statement>> {
    match document.get("Statement")? {
        Value::Array(many) => Some(many.iter().filter_map(Statement::of_json).collect()),
        one => Some(Statement::of_json(one).into_iter().collect()),
    }
}

/// A policy that is another one now.
fn compared(addr: &BlockAddr, key: &str, was: &[Statement], is: &[Statement], guarded: &mut Guarded) {
    let mut left: Vec<&Statement> = is.iter().collect();
    let mut changed = Vec::new();
    for old in was {
        match left.iter().position(|new| *new == old) {
            Some(same) => drop(left.remove(same)),
            None => changed.push(old),
        }
    }
    if changed.is_empty() && left.is_empty() {
        return;
    }
    guarded.review.push(format!("{addr}: {key}: who may do what is a person's choice"));
    if left.len() < changed.len() {
        guarded.reasons.push(format!("{addr}: {key}: a statement of the policy is gone"));
    }
    let new = left.split_off(changed.len().min(left.len()));
    if changed.iter().zip(left).any(|(was, is)| allows_more(was, is)) {
        guarded.reasons.push(format!("{addr}: {key}: a statement that is changed may allow more than it did"));
    }
    new.into_iter().for_each(|statement| not_wide_open(addr, statement, guarded));
}

/// Whether more may be allowed by a statement than it was. Of one that denies, any change may do so.
fn allows_more(was: &Statement, is: &Statement) -> bool {
    if was.denies || is.denies {
        return was.denies;
    }
    let widened = |name: &str| {
        let (was, is) = (was.part(name), is.part(name));
        is.iter().any(|new| !was.iter().any(|old| covers(old, new)))
    };
    let excepted = |name: &str| was.part(name) != is.part(name);
    let (before, now) = (was.part("Condition"), is.part("Condition"));
    ["Action", "Principal", "Resource"].into_iter().any(widened)
        || ["NotAction", "NotPrincipal", "NotResource"].into_iter().any(excepted)
        || !before.iter().all(|condition| now.contains(condition))
}

/// Whether a text with wildcards stands for another one.
fn covers(pattern: &str, text: &str) -> bool {
    let parts: Vec<String> = pattern.split('*').map(|part| regex::escape(part).replace(r"\?", ".")).collect();
    pattern == text || Regex::new(&format!("(?is)^{}$", parts.join(".*"))).is_ok_and(|all| all.is_match(text))
}

/// A new statement lets in nobody in particular only under a condition, and allows everything to nobody.
fn not_wide_open(addr: &BlockAddr, statement: &Statement, guarded: &mut Guarded) {
    if statement.denies || !statement.part("Condition").is_empty() {
        return;
    }
    if statement.allows_all("Principal") || !statement.part("NotPrincipal").is_empty() {
        guarded.reasons.push(format!("{addr}: a statement of its policy opens it to anybody"));
    }
    let of_anything = statement.allows_all("Resource") && statement.part("Principal").is_empty();
    if of_anything && statement.allows_all("Action") {
        guarded.reasons.push(format!("{addr}: a statement of its policy allows everything"));
    }
}

/// The principals of a type; any account's are all there are.
fn principals(ty: &str, of: BTreeSet<String>) -> Vec<String> {
    let told = |who: String| if who == "*" { who } else { format!("{ty}:{who}") };
    of.into_iter().map(told).collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => BTreeSet::from([text.clone()]),
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        other => BTreeSet::from([other.to_string()]),
    }
}

/// The elements of a list, or what stands in its place, as they are written.
fn written(attribute: &Attribute) -> BTreeSet<String> {
    let plain = |expr: &Expression| match expr {
        Expression::String(text) => text.as_str().to_owned(),
        other => other.to_string().trim().to_owned(),
    };
    match &attribute.expr {
        Expression::Array(elements) => elements.iter().map(plain).collect(),
        other => BTreeSet::from([plain(other)]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{judged, tree};
    use super::*;

    const POLICY: &str = "<<EOT\n{\"Statement\": [\n  {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"*\", \"x\"]}, \"Action\": \"a:*\"},\n  \
                          {\"Effect\": \"Deny\", \"NotPrincipal\": \"y\", \"Action\": \"b\"}\n]}\nEOT";

    fn changed(was: &str, is: &str) -> Guarded {
        let text = |value: &str| format!("resource \"t\" \"a\" {{\n  policy = {value}\n}}\n");
        judged(&tree(&text(was)), &tree(&text(is)), &BlockAddr::resource("t", "a"), &[])
    }

    #[track_caller]
    fn refused(guarded: &Guarded, why: &str) {
        assert!(guarded.reasons.iter().any(|reason| reason.contains(why)), "{why:?} is not in {guarded:?}");
    }

    #[test]
    fn what_a_policy_allows_less_is_for_review_and_what_may_allow_more_is_refused() {
        let with = |old: &str, new: &str| changed(POLICY, &POLICY.replace(old, new));
        for (old, new) in [("\"*\", ", ""), ("a:*", "a:Get*"), ("\"a:*\"", "\"a:*\", \"Condition\": {\"x\": 1}")] {
            let less = with(old, new);
            assert!(less.reasons.is_empty() && less.review[0].contains("who may do what"), "{new}: {less:?}");
        }
        for (old, new) in [
            ("\"Action\": \"b\"", "\"Action\": \"c\""),
            ("\"NotPrincipal\": \"y\"", "\"NotPrincipal\": \"z\""),
            ("\"Deny\"", "\"Allow\""),
            ("a:*", "c:*"),
            ("\"Action\": \"a:*\"", "\"NotAction\": \"a:*\""),
        ] {
            refused(&with(old, new), "may allow more");
        }
        refused(&changed(POLICY, "jsonencode({ Statement = [] })"), "is gone");
        assert_eq!(changed(POLICY, POLICY), Guarded::default());
    }

    #[test]
    fn a_policy_may_become_a_block_that_says_no_more() {
        let text =
            |policy: &str, block: &str| tree(&format!("resource \"t\" \"a\" {{\n  policy = {policy}\n}}\n{block}"));
        let was = text("jsonencode({ Statement = [{ Effect = \"Allow\", Action = \"s3:*\", Resource = \"x\" }] })", "");
        let target = BlockAddr::resource("t", "a");
        let document = BlockAddr { keyword: "data".into(), labels: vec![DOCUMENT.into(), "a".into()] };
        let with = |statement: &str| {
            let block = format!("data \"{DOCUMENT}\" \"a\" {{\n{statement}}}\n");
            judged(&was, &text(&format!("data.{DOCUMENT}.a.json"), &block), &target, std::slice::from_ref(&document))
        };
        let narrower = with("  statement {\n    actions   = [\"s3:GetObject\"]\n    resources = [\"x\"]\n  }\n");
        assert!(narrower.reasons.is_empty() && narrower.review.iter().any(|it| it.contains("who may")), "{narrower:?}");
        refused(&with(""), "is gone");
        refused(
            &with("  statement {\n    actions   = [\"s3:*\", \"sqs:*\"]\n    resources = [\"x\"]\n  }\n"),
            "may allow more",
        );
    }

    #[test]
    fn new_statements_do_not_let_in_anybody() {
        let was = "jsonencode({ Statement = [{ Effect = \"Allow\", Principal = { AWS = \"x\" }, Action = \"a\" }] })";
        let and = |more: &str| changed(was, &was.replace("\"a\" }]", &format!("\"a\" }}, {{ {more} }}]")));
        refused(&and("Effect = \"Allow\", Principal = { AWS = [\"*\"] }, Action = \"a\""), "anybody");
        refused(&and("Effect = \"Allow\", Action = \"*\", Resource = \"*\""), "allows everything");
        for fine in [
            "Effect = \"Deny\", Principal = \"*\", Action = \"a\"",
            "Effect = \"Allow\", Principal = \"*\", Action = \"a\", Condition = { StringEquals = { \"aws:SourceAccount\" = \"x\" } }",
            "Effect = \"Allow\", Principal = { Service = \"logs.amazonaws.com\" }, Action = \"a\", Resource = \"*\"",
        ] {
            assert!(and(fine).reasons.is_empty(), "{fine}");
        }
    }
}
