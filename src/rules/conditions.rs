//! A graph rule's definition as alternatives, each a list of conditions that must all hold.
//!
//! In: the condition tree of Checkov's custom policy format: `and`, `or`, `not`, and conditions of the types `attribute`,
//! `connection` and `filter`. Out: its disjunctive normal form, operators brought down to a few.

use std::collections::BTreeSet;

use serde_json::Value;

use super::graph::strings;

/// Longest list of types that is looked at.
const LISTED: usize = 8;
/// Alternatives that are looked at, at most: the normal form can be exponentially longer than the tree.
const ALTERNATIVES: usize = 64;

/// A condition without others in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaf {
    /// What the rule looks at: others are left out of it.
    Filter(Condition),
    /// An attribute of blocks of these types; of all types where there is none.
    Attribute(Vec<String>, Condition),
    /// A connection.
    Connection(Connection),
    /// What is not understood.
    Unknown,
}

/// A condition on an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    /// The names that lead to the attribute; positions are dropped, and what lies behind a JSONPath filter.
    pub path: Vec<String>,
    pub test: Test,
    /// What it is tested against; of an attribute's value itself for [`Test::Is`] and [`Test::IsNot`].
    pub values: Vec<Value>,
    /// Whether a text that holds one of the values will do for it.
    pub in_text: bool,
}

/// What is asked of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// One of the values.
    Is,
    /// None of the values.
    IsNot,
    /// A number that is not below the value.
    AtLeast,
    /// A number that is not above it.
    AtMost,
    /// Something that values alone do not say.
    Like,
    Exists,
    NotExists,
}

/// Whether blocks refer to one another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Connection {
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub exists: bool,
}

/// The alternatives of a definition.
pub(super) fn alternatives(definition: &Value) -> Vec<Vec<Leaf>> {
    normal(definition, false)
}

/// The resource types of a definition's conditions, but for those of long lists.
pub(super) fn types_named<'a>(node: &'a Value, types: &mut BTreeSet<&'a str>) {
    match node {
        Value::Array(members) => members.iter().for_each(|member| types_named(member, types)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("resource_types" | "connected_resource_types", Value::String(one)) => drop(types.insert(one)),
                    ("resource_types" | "connected_resource_types", Value::Array(many)) if many.len() <= LISTED => {
                        types.extend(many.iter().filter_map(Value::as_str));
                    }
                    _ => types_named(value, types),
                }
            }
        }
        _ => {}
    }
}

/// The attributes that a definition's conditions are about, as they are written there.
pub(super) fn attributes(node: &Value) -> Vec<&str> {
    match node {
        Value::Array(members) => members.iter().flat_map(attributes).collect(),
        Value::Object(members) => {
            let own = members.get("attribute").and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(attributes)).collect()
        }
        _ => Vec::new(),
    }
}

fn normal(node: &Value, negated: bool) -> Vec<Vec<Leaf>> {
    let members = |key: &str| node.get(key).and_then(Value::as_array);
    match (node.as_array(), members("and"), members("or"), node.get("not")) {
        (Some(all), ..) | (_, Some(all), ..) if !negated => every(all, negated),
        (_, _, Some(any), _) if negated => every(any, negated),
        (Some(members), ..) | (_, Some(members), ..) | (_, _, Some(members), _) => {
            members.iter().flat_map(|member| normal(member, negated)).take(ALTERNATIVES).collect()
        }
        (.., Some(inner)) => normal(inner, !negated),
        _ => vec![vec![leaf(node, negated)]],
    }
}

/// All members must hold: each alternative of one with each of the others.
fn every(members: &[Value], negated: bool) -> Vec<Vec<Leaf>> {
    let mut alternatives = vec![Vec::new()];
    for member in members {
        let own = normal(member, negated);
        let with =
            alternatives.iter().flat_map(|before| own.iter().map(move |more| [before.as_slice(), more].concat()));
        alternatives = with.take(ALTERNATIVES).collect();
    }
    alternatives
}

fn leaf(node: &Value, negated: bool) -> Leaf {
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let condition = || condition(text("attribute")?, text("operator")?, node.get("value"), negated);
    let read = match text("cond_type") {
        Some("filter") => condition().map(Leaf::Filter),
        Some("attribute") => {
            let types = strings(node.get("resource_types")).into_iter().filter(|ty| ty != "all").collect();
            condition().map(|condition| Leaf::Attribute(types, condition))
        }
        Some("connection") => text("operator").map(|operator| {
            let exists = (operator != "not_exists") != negated;
            let (from, to) = (strings(node.get("resource_types")), strings(node.get("connected_resource_types")));
            Leaf::Connection(Connection { from, to, exists })
        }),
        _ => None,
    };
    read.unwrap_or(Leaf::Unknown)
}

fn condition(attribute: &str, operator: &str, value: Option<&Value>, negated: bool) -> Option<Condition> {
    let path = names(attribute);
    let value = value.filter(|value| !value.is_null());
    let values = match value {
        Some(Value::Array(values)) => values.clone(),
        value => value.into_iter().cloned().collect(),
    };
    // What is asked of a filter's match is nothing that values of the attribute itself say.
    let inside = attribute.contains('?');
    let bare = operator.strip_prefix("jsonpath_").unwrap_or(operator);
    let (positive, is_not) = match bare.strip_prefix("not_") {
        Some(rest) => (rest, true),
        None => (bare, false),
    };
    let number = |by: i64| {
        Some(vec![Value::from(values.first()?.as_i64().or_else(|| values.first()?.as_str()?.parse().ok())? + by)])
    };
    let (test, values) = match positive {
        "exists" | "is_not_empty" => (Test::Exists, Vec::new()),
        "is_empty" => (Test::NotExists, Vec::new()),
        "is_true" => (Test::Is, vec![Value::Bool(true)]),
        "is_false" => (Test::Is, vec![Value::Bool(false)]),
        // Nothing there is the same as nothing in it.
        "equals" if matches!(values.as_slice(), [Value::String(text)] if text.is_empty()) => {
            (Test::NotExists, Vec::new())
        }
        "equals" | "equals_ignore_case" | "within" | "contains" if !inside => (Test::Is, values),
        "greater_than_or_equal" => (Test::AtLeast, number(0)?),
        "less_than_or_equal" => (Test::AtMost, number(0)?),
        "greater_than" => (Test::AtLeast, number(1)?),
        "less_than" => (Test::AtMost, number(-1)?),
        _ => (Test::Like, values),
    };
    let test = match (test, is_not != negated) {
        (test, false) => test,
        (Test::Is, true) => Test::IsNot,
        (Test::IsNot, true) => Test::Is,
        (Test::Exists, true) => Test::NotExists,
        (Test::NotExists, true) => Test::Exists,
        (Test::Like | Test::AtLeast | Test::AtMost, true) => Test::Like,
    };
    Some(Condition { path, test, values, in_text: positive == "contains" })
}

/// The names of an attribute's path: `rule.*.name`, `$.rule[0].name`, `policy.Statement[?(@.Effect == Allow)].Action`.
fn names(attribute: &str) -> Vec<String> {
    let plain = attribute.split("[?").next().unwrap_or_default().trim_start_matches("$.");
    let parts = plain.split('.').map(|part| part.split('[').next().unwrap_or_default());
    parts.filter(|part| !part.is_empty() && *part != "*" && part.parse::<usize>().is_err()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(attribute: &str, operator: &str, value: Value) -> (Vec<String>, Test, Vec<Value>) {
        let condition = condition(attribute, operator, Some(&value), false).unwrap();
        (condition.path, condition.test, condition.values)
    }

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn operators_come_down_to_a_few() {
        assert_eq!(of("a", "within", json!(["x", "y"])), (path(&["a"]), Test::Is, vec![json!("x"), json!("y")]));
        assert_eq!(of("a.*.b", "not_equals", json!("x")), (path(&["a", "b"]), Test::IsNot, vec![json!("x")]));
        assert_eq!(of("a[0].b", "greater_than", json!(89)), (path(&["a", "b"]), Test::AtLeast, vec![json!(90)]));
        assert_eq!(of("a", "not_exists", json!(null)), (path(&["a"]), Test::NotExists, vec![]));
        assert_eq!(of("a", "equals", json!("")), (path(&["a"]), Test::NotExists, vec![]));
        assert_eq!(of("a", "starting_with", json!("x")).1, Test::Like);
        let inside = of("$.policy.Statement[?(@.Effect == Allow)].Action[*]", "jsonpath_not_equals", json!("*"));
        assert_eq!((inside.0, inside.1), (path(&["policy", "Statement"]), Test::Like));
    }

    #[test]
    fn a_tree_becomes_alternatives() {
        let leaf = |name: &str| json!({ "cond_type": "attribute", "resource_types": "t", "attribute": name, "operator": "exists" });
        let names = |definition: Value| -> Vec<Vec<(String, Test)>> {
            let of = |leaf: Leaf| match leaf {
                Leaf::Attribute(types, condition) if types == ["t"] => (condition.path.join("."), condition.test),
                other => panic!("{other:?}"),
            };
            alternatives(&definition).into_iter().map(|all| all.into_iter().map(of).collect()).collect()
        };
        let is = |name: &str| (name.to_owned(), Test::Exists);
        let is_not = |name: &str| (name.to_owned(), Test::NotExists);
        let definition = json!([leaf("a"), { "or": [leaf("b"), { "and": [leaf("c"), leaf("d")] }] }]);
        assert_eq!(names(definition.clone()), [vec![is("a"), is("b")], vec![is("a"), is("c"), is("d")]]);
        assert_eq!(
            names(json!({ "not": { "or": [leaf("a"), { "and": [leaf("b"), leaf("c")] }] } })),
            [vec![is_not("a"), is_not("b")], vec![is_not("a"), is_not("c")]]
        );
        let wide: Vec<Value> =
            (0..20).map(|n| json!({ "or": [leaf(&format!("x{n}")), leaf(&format!("y{n}"))] })).collect();
        assert_eq!(alternatives(&json!({ "and": wide })).len(), ALTERNATIVES);
    }

    #[test]
    fn types_are_named_in_any_role_but_not_in_long_lists() {
        let many: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
        let definition = json!({ "or": [
            { "cond_type": "connection", "resource_types": ["a"], "connected_resource_types": "b", "operator": "exists" },
            { "not": { "cond_type": "connection", "resource_types": many, "connected_resource_types": ["c"] } },
        ] });
        let mut types = BTreeSet::new();
        types_named(&definition, &mut types);
        assert_eq!(types.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        assert_eq!(alternatives(&json!({ "cond_type": "resource" })), [[Leaf::Unknown]]);
    }
}
