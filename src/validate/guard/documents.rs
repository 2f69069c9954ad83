//! Guardrails on JSON documents that are no policies: what is taken out of one, a person must see.

use serde_json::Value;

use crate::source::document::Document;
use crate::source::{Attribute, Body, Item};

use super::{Change, Guarded};

pub(super) fn judge(change: &Change<'_>, guarded: &mut Guarded) {
    let dir = change.file.parent();
    let blocks = change.before.find(&dir, change.target).zip(change.after.find(&dir, change.target));
    let Some(((_, before), (_, after))) = blocks else { return };
    let value = |attribute: &Attribute| Some(Document::parse(attribute.text.as_deref()?)?.value());
    for old in attributes(&before.body) {
        let now = after.body.attribute(&old.key).and_then(value);
        if value(old).zip(now).is_some_and(|(was, is)| was.get("Statement").is_none() && keys(&is) < keys(&was)) {
            guarded.review.push(format!("{}: {}: something in it is taken out", change.target, old.key));
        }
    }
}

fn attributes(body: &Body) -> impl Iterator<Item = &Attribute> {
    body.items.iter().filter_map(|item| if let Item::Attribute(attribute) = item { Some(attribute) } else { None })
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
    use super::super::tests::{judged, tree};
    use super::*;
    use crate::source::BlockAddr;

    fn changed(was: &str, is: &str) -> Guarded {
        let text = |value: &str| tree(&format!("resource \"t\" \"a\" {{\n  policy = {value}\n}}\n"));
        judged(&text(was), &text(is), &BlockAddr::resource("t", "a"), &[])
    }

    #[test]
    fn a_flag_in_a_document_is_changed_freely_and_a_key_that_is_taken_out_is_for_review() {
        let was = "jsonencode([{ name = \"a\", privileged = true }])";
        assert_eq!(changed(was, &was.replace("true", "false")), Guarded::default());
        assert!(changed(was, "jsonencode([{ name = \"a\" }])").review[0].contains("taken out"));
    }
}
