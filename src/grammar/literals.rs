//! Values that rules name as HCL literals in a grammar: those that are wanted, and those that are known to fail.

use serde_json::Value;

use crate::rules::Must;
use crate::schema::{Block, NestedBlock, Type};
use crate::source::Body;

/// Values as literals of a type, each once; `None` when none of them is of it.
pub(super) fn literals(values: &[Value], ty: &Type, depth: usize) -> Option<String> {
    let mut literals: Vec<String> = Vec::new();
    for literal in values.iter().filter_map(|value| literal(value, ty, depth)) {
        if !literals.contains(&literal) {
            literals.push(literal);
        }
    }
    // Where it says nothing of an entry but that there is to be one, any text may stand.
    let quoted = |literal: &String| literal.split(ANY).map(super::hcl::quote).collect::<Vec<_>>().join(" STRING ");
    let quoted = literals.iter().map(quoted).collect::<Vec<_>>().join(" | ");
    (!quoted.is_empty()).then_some(quoted)
}

/// Stands for any text in a literal.
const ANY: char = '\u{1}';

fn literal(value: &Value, ty: &Type, depth: usize) -> Option<String> {
    if value.is_null() && *ty == Type::String {
        return Some(ANY.to_string());
    }
    let bare = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) | Value::Null => String::new(),
    };
    match (ty, value) {
        (Type::List(inner) | Type::Set(inner), Value::Array(elements)) => {
            let elements: Option<Vec<String>> =
                elements.iter().map(|element| literal(element, inner, depth + 1)).collect();
            Some(format!("[{}]", elements?.join(", ")))
        }
        (Type::Map(inner), Value::Object(entries)) => {
            let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
            let entry = |(key, value): (&String, &Value)| {
                let key = if super::is_name(key) { key.clone() } else { super::hcl::quote(key) };
                Some(format!("{deeper}{key} = {}\n", literal(value, inner, depth + 1)?))
            };
            let entries: Option<String> = entries.iter().map(entry).collect();
            Some(format!("{{\n{}{pad}}}", entries?))
        }
        _ if bare.is_empty() => None,
        // It would be evaluated.
        (Type::String, _) if bare.contains("${") || bare.contains("%{") => None,
        (Type::String, _) => Some(super::hcl::quote(&bare)),
        (Type::Bool, _) => Some(bare.to_lowercase()).filter(|bare| matches!(bare.as_str(), "true" | "false")),
        (Type::Number, _) => bare.parse::<f64>().is_ok().then_some(bare),
        (Type::Any, Value::Bool(_) | Value::Number(_)) => Some(bare),
        (Type::Any, Value::String(_)) => literal(value, &Type::String, depth),
        (Type::Any, Value::Array(_)) => literal(value, &Type::List(Box::new(Type::Any)), depth),
        (Type::Any, Value::Object(_)) => literal(value, &Type::Map(Box::new(Type::Any)), depth),
        _ => None,
    }
}

/// Values as nested blocks of a name, each an object or a list of them; `None` when none of them is as the schema has it.
pub(super) fn blocks(name: &str, values: &[Value], nested: &NestedBlock, depth: usize) -> Option<String> {
    let one_of = |value: &Value| {
        let several = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        let texts: Option<Vec<String>> = several.iter().map(|one| block(name, one, &nested.block, depth)).collect();
        Some(super::hcl::quote(&texts?.concat()))
    };
    let texts: Vec<String> = values.iter().filter_map(one_of).collect();
    (!texts.is_empty()).then(|| format!("({})", texts.join(" | ")))
}

fn block(name: &str, value: &Value, schema: &Block, depth: usize) -> Option<String> {
    let pad = "  ".repeat(depth);
    let entries = value.as_object()?;
    if entries.is_empty() {
        return Some(format!("{pad}{name} {{}}\n"));
    }
    let deeper = "  ".repeat(depth + 1);
    let mut attributes = String::new();
    let mut blocks = String::new();
    for (key, value) in entries {
        match (schema.attributes.get(key), schema.blocks.get(key)) {
            (Some(attribute), _) => {
                attributes += &format!("{deeper}{key} = {}\n", literal(value, &attribute.ty, depth + 1)?);
            }
            (None, Some(nested)) => blocks += &block(key, value, &nested.block, depth + 1)?,
            (None, None) => return None,
        }
    }
    Some(format!("{pad}{name} {{\n{attributes}{blocks}{pad}}}\n"))
}

/// Values of an attribute, or elements of it, that are known to fail: those that the rule names, and what it is now.
pub(super) fn failing(must_be: Option<&Must>, name: &str, over: Option<&Body>) -> Vec<String> {
    let named = match must_be {
        Some(Must::NotBe(values)) => values.as_slice(),
        _ => &[],
    };
    let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let now = over.and_then(|body| body.attribute(name)).filter(|attribute| attribute.is_literal());
    let now = now.map(|attribute| {
        attribute.as_str().map_or_else(|| attribute.expr.to_string().trim().to_owned(), str::to_owned)
    });
    let mut failing: Vec<String> = named.iter().map(bare).collect();
    failing.extend(now.filter(|now| !failing.contains(now)));
    failing
}

/// A text as a regular expression between slashes. What needs no escape gets none: `\<` is the start of a word.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        if r"\.+*?()|[]{}^$#&-~/".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_text_is_the_only_word_of_its_expression() {
        for text in ["<nw>/0", "0.0.0.0/0", "*", "a+b?(c)|[d]{e}^$", "x\\y", "tls-1_2 & ~#"] {
            let expression = regex::Regex::new(&format!("^(?:{})$", escape(text))).unwrap();
            assert!(expression.is_match(text), "{text}");
            assert!(!expression.is_match(&format!("{text}x")), "{text}");
        }
    }
}
