//! Guardrails on JSON documents: no statement of a policy goes, and what it denies or allows but for something stays.
//!
//! In: attributes that held a document before. Out: refusals, and what a person must look at: who may do what is theirs to say.

use serde_json::{Map, Value};

use crate::source::document::Document;
use crate::source::{Attribute, Body, Item};

use super::{Change, Guarded};

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let blocks = change.before.find(&dir, change.target).zip(change.after.find(&dir, change.target));
    let Some(((_, before), (_, after))) = blocks else { return };
    let addr = change.target;
    for old in attributes(&before.body) {
        let Some(was) = old.text.as_deref().and_then(Document::parse).map(|document| document.value()) else {
            continue;
        };
        let new = after.body.attribute(&old.key);
        if !statements(&was).is_empty()
            && new.is_some_and(|new| new.is_literal() && Document::parse(new.as_str().unwrap_or_default()).is_none())
        {
            guarded.reasons.push(format!("{addr}: {}: the policy is emptied", old.key));
        }
        let Some(is) = new.and_then(|new| Document::parse(new.text.as_deref()?)).map(|document| document.value())
        else {
            // One that is gone, or is no document any more, is judged by other guardrails.
            continue;
        };
        if is == was {
            continue;
        }
        match (statements(&was), statements(&is)) {
            (old_ones, new_ones) if old_ones.len() > new_ones.len() => {
                guarded.reasons.push(format!("{addr}: {}: a statement of the policy is gone", old.key));
            }
            (old_ones, new_ones) if !old_ones.is_empty() => {
                if old_ones.iter().zip(&new_ones).any(|(was, is)| allows_more(was, is)) {
                    let why = "what a statement denies, or leaves out, is changed: that may allow more";
                    guarded.reasons.push(format!("{addr}: {}: {why}", old.key));
                }
                guarded.review.push(format!("{addr}: {}: who may do what is a person's choice", old.key));
            }
            _ if keys(&is) < keys(&was) => {
                guarded.review.push(format!("{addr}: {}: something in it is taken out", old.key));
            }
            _ => {}
        }
    }
}

fn attributes(body: &Body) -> impl Iterator<Item = &Attribute> {
    body.items.iter().filter_map(|item| if let Item::Attribute(attribute) = item { Some(attribute) } else { None })
}

/// A policy's statements (AWS IAM, "JSON policy elements: Statement").
fn statements(document: &Value) -> Vec<&Map<String, Value>> {
    match document.get("Statement") {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_object).collect(),
        Some(Value::Object(one)) => vec![one],
        _ => Vec::new(),
    }
}

/// Whether a statement that denies, or allows but for something, is another one now.
fn allows_more(was: &Map<String, Value>, is: &Map<String, Value>) -> bool {
    let denies = was.get("Effect").and_then(Value::as_str).is_none_or(|effect| effect != "Allow");
    let kept = |key: &String| key == "Effect" || key == "Condition" || key.starts_with("Not");
    let all = || was.keys().chain(is.keys());
    (denies && was != is) || all().filter(|key| kept(key)).any(|key| was.get(key) != is.get(key))
}

/// How many keys and elements there are in all.
fn keys(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.iter().map(|element| 1 + keys(element)).sum(),
        Value::Object(entries) => entries.values().map(|entry| 1 + keys(entry)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;
    use crate::source::{BlockAddr, RelPath};

    const POLICY: &str = "<<EOT\n{\"Statement\": [\n  {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"*\", \"x\"]}, \"Action\": \"a\"},\n  \
                          {\"Effect\": \"Deny\", \"NotPrincipal\": \"y\", \"Action\": \"b\"}\n]}\nEOT";

    fn judged(was: &str, is: &str) -> Guarded {
        let text = |value: &str| format!("resource \"t\" \"a\" {{\n  policy = {value}\n}}\n");
        let (before, after) = (tree(&text(was)), tree(&text(is)));
        let (file, target) = (RelPath::new("main.tf").unwrap(), BlockAddr::resource("t", "a"));
        let mut guarded = Guarded::default();
        let change =
            Change { before: &before, after: &after, file: &file, target: &target, companions: &[], given: &[] };
        judge(&change, &mut guarded);
        guarded
    }

    #[test]
    fn what_a_policy_allows_less_is_for_review_and_what_may_allow_more_is_refused() {
        let with = |old: &str, new: &str| judged(POLICY, &POLICY.replace(old, new));
        let less = with("\"*\", ", "");
        assert!(less.reasons.is_empty() && less.review[0].contains("who may do what"), "{less:?}");
        for (old, new) in [
            ("\"Action\": \"b\"", "\"Action\": \"c\""),
            ("\"NotPrincipal\": \"y\"", "\"NotPrincipal\": \"z\""),
            ("\"Deny\"", "\"Allow\""),
        ] {
            assert!(with(old, new).reasons[0].contains("may allow more"), "{new}");
        }
        let emptied = judged(POLICY, "jsonencode({ Statement = [] })");
        assert!(emptied.reasons[0].contains("is gone"), "{emptied:?}");
        assert_eq!(judged(POLICY, POLICY), Guarded::default());
    }

    #[test]
    fn a_flag_in_a_document_is_changed_freely_and_a_key_that_is_taken_out_is_for_review() {
        let was = "jsonencode([{ name = \"a\", privileged = true }])";
        assert_eq!(judged(was, &was.replace("true", "false")), Guarded::default());
        assert!(judged(was, "jsonencode([{ name = \"a\" }])").review[0].contains("taken out"));
    }
}
