//! A graph rule's condition tree (Checkov's custom policy format) as indented lines.

use serde_json::Value;

use super::text::literal;

/// Longest list of resource types or values that is written out.
const LISTED: usize = 8;

/// A condition, simplified: no empty or single-membered groups, no group in a group of its own kind.
#[derive(Debug)]
enum Node {
    Group { all: bool, members: Vec<Node> },
    Not(Box<Node>),
    Leaf(String),
}

/// The condition as lines, two spaces for each level. `reported` are the types that the rule reports on: a filter for
/// just these says nothing.
pub(super) fn lines(definition: &Value, reported: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    match simplify(definition, reported) {
        Some(Node::Leaf(text)) => lines.push(format!("- {text}")),
        Some(node) => write(&node, 0, &mut lines),
        None => {}
    }
    lines
}

/// Whether a connection to another resource is asked for.
pub(super) fn wants_connection(definition: &Value) -> bool {
    match definition {
        Value::Array(members) => members.iter().any(wants_connection),
        Value::Object(node) => {
            let connection = node.get("cond_type").is_some_and(|t| t == "connection");
            connection && node.get("operator").is_some_and(|o| o != "not_exists") || node.values().any(wants_connection)
        }
        _ => false,
    }
}

fn write(node: &Node, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match node {
        Node::Leaf(text) => lines.push(format!("{indent}- {text}")),
        Node::Not(inner) => {
            lines.push(format!("{indent}- not:"));
            write(inner, depth + 1, lines);
        }
        Node::Group { all, members } => {
            lines.push(format!("{indent}- {}:", if *all { "all of" } else { "at least one of" }));
            for member in members {
                write(member, depth + 1, lines);
            }
        }
    }
}

fn simplify(definition: &Value, reported: &[String]) -> Option<Node> {
    if let Value::Array(members) = definition {
        return group(true, members, reported);
    }
    if let Some(members) = definition.get("and").and_then(Value::as_array) {
        return group(true, members, reported);
    }
    if let Some(members) = definition.get("or").and_then(Value::as_array) {
        return group(false, members, reported);
    }
    if let Some(inner) = definition.get("not") {
        return simplify(inner, reported).map(|node| Node::Not(Box::new(node)));
    }
    leaf(definition, reported).map(Node::Leaf)
}

fn group(all: bool, members: &[Value], reported: &[String]) -> Option<Node> {
    let mut flat = Vec::new();
    for member in members.iter().filter_map(|member| simplify(member, reported)) {
        match member {
            Node::Group { all: same, members } if same == all => flat.extend(members),
            other => flat.push(other),
        }
    }
    match flat.len() {
        0 | 1 => flat.pop(),
        _ => Some(Node::Group { all, members: flat }),
    }
}

fn leaf(condition: &Value, reported: &[String]) -> Option<String> {
    let types = strings(condition.get("resource_types"));
    let operator = condition.get("operator")?.as_str()?;
    match condition.get("cond_type")?.as_str()? {
        "filter" => {
            let values = strings(condition.get("value"));
            let attribute = condition.get("attribute")?.as_str()?;
            let same = values.len() == reported.len() && reported.iter().all(|t| values.contains(t));
            match attribute {
                "resource_type" if same => None,
                "resource_type" => Some(format!("the resource is {}", one(&or(&values)))),
                _ => Some(format!("{} {}", path(attribute), test(operator, condition.get("value")))),
            }
        }
        "connection" => {
            let connected = or(&strings(condition.get("connected_resource_types")));
            let types = or(&types);
            Some(match operator {
                "not_exists" => format!("no {connected} is connected to the {types}"),
                "one_exists" => format!("exactly one {connected} is connected to the {types}"),
                _ => format!("{} is connected to the {types}", one(&connected)),
            })
        }
        _ => {
            let attribute = path(condition.get("attribute")?.as_str()?);
            Some(format!("{}: {attribute} {}", or(&types), test(operator, condition.get("value"))))
        }
    }
}

/// The operator and the value in words.
fn test(operator: &str, value: Option<&Value>) -> String {
    let value = value.map(listed).unwrap_or_default();
    match operator.strip_prefix("jsonpath_").unwrap_or(operator) {
        "equals" => format!("= {value}"),
        "equals_ignore_case" => format!("= {}", any_case(&value)),
        "not_equals" => format!("is not {value}"),
        "not_equals_ignore_case" => format!("is not {}", any_case(&value)),
        "exists" => "is set".to_owned(),
        "not_exists" => "is not set".to_owned(),
        "contains" => format!("contains {value}"),
        "not_contains" => format!("does not contain {value}"),
        "within" => format!("is one of {value}"),
        "not_within" => format!("is none of {value}"),
        "starting_with" => format!("starts with {value}"),
        "not_starting_with" => format!("does not start with {value}"),
        "ending_with" => format!("ends with {value}"),
        "not_ending_with" => format!("does not end with {value}"),
        "regex_match" => format!("matches the pattern {value}"),
        "not_regex_match" => format!("does not match the pattern {value}"),
        "greater_than" => format!("> {value}"),
        "greater_than_or_equal" => format!(">= {value}"),
        "less_than" => format!("< {value}"),
        "less_than_or_equal" => format!("<= {value}"),
        "subset" => format!("holds only values of {value}"),
        "not_subset" => format!("holds a value that is not in {value}"),
        "intersects" => format!("holds one of {value}"),
        "not_intersects" => format!("holds none of {value}"),
        "is_true" => "= true".to_owned(),
        "is_false" => "= false".to_owned(),
        "is_empty" => "is empty".to_owned(),
        "is_not_empty" => "is not empty".to_owned(),
        // Nought words or elements is the same as empty.
        "number_of_words_not_equals" | "length_greater_than" if value.trim_matches('"') == "0" => {
            "is not empty".to_owned()
        }
        "length_less_than_or_equal" if value.trim_matches('"') == "0" => "is empty".to_owned(),
        other => format!("{} {value}", other.replace('_', " ")),
    }
}

/// Flags are often compared as text.
fn any_case(value: &str) -> String {
    match value.trim_matches('"').to_lowercase().as_str() {
        flag @ ("true" | "false") => flag.to_owned(),
        _ => format!("{value} (in any case)"),
    }
}

/// `route.*.cidr_block` as a person writes it: `route.cidr_block`. JSONPath filters stay.
fn path(attribute: &str) -> String {
    attribute.trim_start_matches("$.").replace(".*.", ".").replace("[*]", "")
}

fn listed(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().take(LISTED).map(literal).collect();
            let more = if values.len() > LISTED { ", …" } else { "" };
            format!("[{}{more}]", shown.join(", "))
        }
        other => literal(other),
    }
}

pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn one(noun: &str) -> String {
    format!("{} {noun}", if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" })
}

fn or(types: &[String]) -> String {
    match types {
        [] => "resource".to_owned(),
        _ if types.len() > LISTED => format!("{} or another of {} types", types[..LISTED].join(" or "), types.len()),
        _ => types.join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn connections_and_attributes_become_lines() {
        let definition = json!({ "and": [
            { "cond_type": "filter", "attribute": "resource_type", "operator": "within", "value": ["aws_s3_bucket"] },
            { "cond_type": "connection", "resource_types": ["aws_s3_bucket"],
              "connected_resource_types": ["aws_s3_bucket_public_access_block"], "operator": "exists" },
            { "or": [
                { "cond_type": "attribute", "resource_types": ["aws_s3_bucket_public_access_block"],
                  "attribute": "block_public_acls", "operator": "equals", "value": true },
                { "and": [{ "cond_type": "attribute", "resource_types": "aws_s3_bucket", "attribute": "rule.*.name",
                  "operator": "not_within", "value": ["a", "b"] }] },
            ] },
        ] });
        assert_eq!(
            lines(&definition, &["aws_s3_bucket".into()]),
            [
                "- all of:",
                "  - an aws_s3_bucket_public_access_block is connected to the aws_s3_bucket",
                "  - at least one of:",
                "    - aws_s3_bucket_public_access_block: block_public_acls = true",
                "    - aws_s3_bucket: rule.name is none of [\"a\", \"b\"]",
            ]
        );
        assert!(wants_connection(&definition));
    }

    #[test]
    fn a_filter_for_part_of_the_types_is_told() {
        let filter =
            json!({ "cond_type": "filter", "attribute": "resource_type", "operator": "within", "value": ["a"] });
        assert_eq!(lines(&filter, &["a".into(), "b".into()]), ["- the resource is an a"]);
        assert!(lines(&filter, &["a".into()]).is_empty());
    }

    #[test]
    fn an_unknown_operator_is_told_in_its_own_words() {
        let condition = json!({ "cond_type": "attribute", "resource_types": ["a"], "attribute": "x",
            "operator": "range_includes", "value": 3 });
        assert_eq!(lines(&condition, &[]), ["- a: x range includes 3"]);
    }

    #[test]
    fn negations_keep_their_group() {
        let condition = json!({ "not": [{ "or": [
            { "cond_type": "attribute", "resource_types": ["a"], "attribute": "x", "operator": "exists" },
            { "cond_type": "connection", "resource_types": ["a"], "connected_resource_types": ["b"], "operator": "not_exists" },
        ] }] });
        assert_eq!(
            lines(&condition, &[]),
            ["- not:", "  - at least one of:", "    - a: x is set", "    - no b is connected to the a"]
        );
        assert!(!wants_connection(&condition));
    }
}
