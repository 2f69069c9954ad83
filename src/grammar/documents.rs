//! Changes inside the JSON documents that attributes hold: the document as it stands, word for word, with what may be
//! written in the places that change.
//!
//! In: an attribute of the target, and what is wanted inside of it. Out: Lark text for its value. What stands for anybody
//! or anything in a policy is narrowed to what the module has; which actions are needed, nobody knows but who wrote it.

use serde_json::Value;

use crate::rules::{At, Must, Wanted};
use crate::source::Attribute;
use crate::source::document::{Change, Document, Part, Step};

use super::hcl::quote;
use super::references::References;

/// Whom a statement is about (AWS IAM, "JSON policy elements: Principal").
const PRINCIPAL: &str = "Principal";
/// What it allows.
const ACTIONS: [&str; 2] = ["Action", "NotAction"];
/// The module's own account, as a principal: who may then do it is up to the account's policies.
const ACCOUNT: &str = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root";

/// Writes the rule of the attribute's value with what is wanted inside its document; `None` where that cannot be.
/// `terminal` names a terminal for a regular expression.
pub(super) fn value(
    attribute: &Attribute,
    wanted: &[&Wanted],
    references: &References,
    terminal: &mut dyn FnMut(&str) -> String,
) -> Option<String> {
    let document = Document::parse(&attribute.expr.to_string())?;
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
                Must::Be(values) => one_of(values, document.is_json())?,
                _ => open(changes.get(index)?.0, document.is_json(), references, terminal)?,
            },
        });
    }
    Some(rule.join(" "))
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

/// A text that leads to something of the module's own.
fn open(
    steps: &[Step],
    json: bool,
    references: &References,
    terminal: &mut dyn FnMut(&str) -> String,
) -> Option<String> {
    let is_key =
        |keys: &[&str]| steps.iter().any(|step| matches!(step, Step::Key(key) if keys.contains(&key.as_str())));
    if is_key(&ACTIONS) {
        return None;
    }
    if is_key(&[PRINCIPAL]) {
        let roles = references.standing(&["aws_iam_role", "aws_iam_user"], "arn");
        let roles: Vec<String> = roles.map(|role| format!("\\\"\\$\\{{{role}\\}}\\\"")).collect();
        let account = quote(&format!("\"{ACCOUNT}\""));
        let whom = match roles.is_empty() {
            true => account,
            false => format!("({account} | {})", terminal(&format!("/{}/", roles.join("|")))),
        };
        // Only anybody is written without saying of what kind.
        let is_whole = matches!(steps.last(), Some(Step::Key(key)) if key == PRINCIPAL);
        return Some(match (is_whole, json) {
            (false, _) => whom,
            (true, true) => format!("\"{{\\\"AWS\\\": \" {whom} \"}}\""),
            (true, false) => format!("\"{{ AWS = \" {whom} \" }}\""),
        });
    }
    let own: Vec<String> = references.own().collect();
    (!own.is_empty()).then(|| {
        terminal(&format!(
            "/\"[^\"\\\\$%\\x00-\\x1f\\x7f]*\\$\\{{({})\\}}[^\"\\\\$%\\x00-\\x1f\\x7f]*\"/",
            own.join("|")
        ))
    })
}
