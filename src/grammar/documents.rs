//! Changes inside the JSON documents that attributes hold: the document as it stands, word for word, with what may be
//! written in the places that change.
//!
//! In: an attribute of the target, and what is wanted inside of it. Out: Lark text for its value. Anybody, in a policy, is
//! narrowed to the module's own account; which actions and resources are needed, nobody knows but who wrote it.

use serde_json::Value;

use crate::rules::{At, Must, Wanted};
use crate::source::Attribute;
use crate::source::document::{Change, Document, Part, Step};

use super::hcl::quote;
use super::references::References;

/// Whom a statement is about (AWS IAM, "JSON policy elements: Principal").
const PRINCIPAL: &str = "Principal";
/// The module's own account, as a principal: who may then do it is up to the account's policies.
const ACCOUNT: &str =
    "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root";
/// In an ARN: in any account.
const ANYWHERE: &str = "::*:";
/// The module's own account.
const OWN: &str = "data.aws_caller_identity.current.account_id";
/// What of a statement is never written anew.
const STATED: [&str; 4] = [PRINCIPAL, "Action", "Resource", "Condition"];

/// Writes the rule of the attribute's value with what is wanted inside its document; `None` where that cannot be.
/// `terminal` names a terminal for a regular expression.
pub(super) fn value(
    attribute: &Attribute,
    wanted: &[&Wanted],
    references: &References,
    terminal: &mut dyn FnMut(&str) -> String,
) -> Option<String> {
    let document = Document::of(attribute)?;
    let mut changes: Vec<(&[Step], Change)> = Vec::new();
    for wanted in wanted {
        let At::Inside(steps) = &wanted.at else { return None };
        let change = if wanted.must == Must::NotExist { Change::Remove } else { Change::Write };
        changes.push((steps, change));
    }
    let mut rule = Vec::new();
    for part in document.changed(&changes)? {
        rule.push(match part {
            Part::Text(text) => quote(&text),
            Part::Hole(index) => match &wanted.get(index)?.must {
                Must::Be(_) if is_stated(changes.get(index)?.0) => return None,
                Must::Be(values) => one_of(values, document.is_json())?,
                _ => open(&document, changes.get(index)?.0, references, terminal)?,
            },
        });
    }
    Some(rule.join(" "))
}

fn is_stated(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Key(key) if STATED.contains(&key.as_str())))
}

/// One of some values, as JSON or HCL has them.
fn one_of(values: &[Value], json: bool) -> Option<String> {
    let literal = |value: &Value| match value {
        // It would be evaluated.
        Value::String(text) if text.contains("${") || text.contains("%{") => None,
        Value::String(text) if !json => Some(quote(&super::hcl::quote(text))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(quote(&value.to_string())),
        _ => None,
    };
    let literals: Vec<String> = values.iter().filter_map(literal).collect();
    (!literals.is_empty()).then(|| format!("({})", literals.join(" | ")))
}

/// Whom a statement is about, where it was anybody: the module's own account, or one of its roles and users. What else is
/// open, nobody can fill in.
fn open(
    document: &Document,
    steps: &[Step],
    references: &References,
    terminal: &mut dyn FnMut(&str) -> String,
) -> Option<String> {
    let keys: Vec<&str> =
        steps.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).collect();
    let is_whole = match keys.as_slice() {
        [.., PRINCIPAL] => true,
        [.., PRINCIPAL, "AWS"] => false,
        _ => return None,
    };
    // In any account: in its own.
    if let Some(text) = document.text_at(steps).filter(|text| text.contains(ANYWHERE)) {
        let own = format!("::${{{OWN}}}:");
        return Some(quote(&text.replace(ANYWHERE, &own)));
    }
    let known: Vec<String> = references.of_types(&["aws_iam_role", "aws_iam_user"], "arn").collect();
    let known: Vec<String> = known.iter().map(|head| format!("\\\"\\$\\{{{head}\\}}\\\"")).collect();
    let account = quote(&format!("\"{ACCOUNT}\""));
    let whom = match known.is_empty() {
        true => account,
        false => format!("({account} | {})", terminal(&format!("/{}/", known.join("|")))),
    };
    // Only anybody is written without saying of what kind.
    Some(match (is_whole, document.is_json()) {
        (false, _) => whom,
        (true, true) => format!("\"{{\\\"AWS\\\": \" {whom} \"}}\""),
        (true, false) => format!("\"{{ AWS = \" {whom} \" }}\""),
    })
}
