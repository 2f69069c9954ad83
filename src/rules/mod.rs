//! What a rule wants, by the word of the scanner that has it: [`Wish`].
//!
//! In: rules that failed. Out: wishes, from the installed Checkov through its worker ([`wishes`], cached by version), or
//! from what another scanner's finding says about the way out ([`from_hints`]). [`Wish::to_prompt`] puts one into words,
//! [`Wish::ways`] into what an answer must hold, [`House`] into what new blocks must hold whatever rule they are for.

mod alternative;
mod cache;
mod conditions;
mod graph;
mod holds;
mod house;
mod kin;
mod text;
mod told;
mod wanted;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Finding;

pub use cache::{WishesError, house, wishes};
pub use house::House;
pub use kin::kin;
pub use text::{names_of, shown};
pub use told::{by_keys, by_lines, by_words};
pub use wanted::{Alternatives, At, ENDS, Explored, Must, RANGES, TRAFFIC, Wanted};
pub use ways::{Companion, Surroundings, Way};

/// What a rule wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// The rule's id.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// Resource types that it looks at.
    pub resource_types: Vec<String>,
    /// The attribute path that it inspects, `/`-separated, list positions as `[0]`: `versioning/[0]/enabled`.
    pub inspected_key: Option<String>,
    /// The path for each resource type, where it is not the same for all.
    pub keys_by_type: BTreeMap<String, String>,
    /// Values that pass.
    pub expected: Vec<Value>,
    /// Whether any value passes.
    pub any_value: bool,
    /// Values that fail.
    pub forbidden: Vec<Value>,
    /// Whether any value fails: the attribute must not be set.
    pub forbid_any: bool,
    /// Whether the rule passes where the attribute is not set.
    pub absent_passes: bool,
    /// A graph rule's definition: conditions on attributes and connections.
    pub graph: Option<Value>,
    /// Whether the rule is decided by its own code: key and values, if there, are then only part of it.
    pub code: bool,
    /// The rule's own source text, shortened by the worker: constants, parameters, the method that scans, then others.
    /// `None` where key and values or the graph say everything.
    pub source: Option<String>,
    /// The scanner's resolution text.
    pub resolution: Option<String>,
}

impl Wish {
    /// The attribute path that is inspected in resources of a type.
    pub fn key_for(&self, resource_type: &str) -> Option<&str> {
        self.keys_by_type.get(resource_type).map(String::as_str).or(self.inspected_key.as_deref())
    }

    /// The values of the inspected attribute that pass, where the rule lists them; none where any does. `None` where the
    /// rule says nothing of what the attribute must be.
    pub fn passing(&self) -> Option<Vec<Value>> {
        match (self.expected.as_slice(), self.forbidden.as_slice()) {
            _ if self.any_value => Some(Vec::new()),
            ([], [Value::Bool(bad)]) => Some(vec![Value::Bool(!bad)]),
            ([], _) => None,
            (expected, _) => Some(expected.to_vec()),
        }
    }

    /// The resource types that the rule names, in whatever role. Lists of more types than a few are left out: they say that
    /// anything would do.
    pub fn types_named(&self) -> BTreeSet<&str> {
        let mut types: BTreeSet<&str> = self.resource_types.iter().map(String::as_str).collect();
        if let Some(definition) = &self.graph {
            conditions::types_named(definition, &mut types);
        }
        types
    }

    /// Whether its conditions are about which actions a policy allows.
    pub fn is_about_actions(&self) -> bool {
        let names = |path: &str| path.split(['.', '[']).any(|name| matches!(name, "Action" | "actions"));
        self.graph.as_ref().is_some_and(|definition| conditions::attributes(definition).into_iter().any(names))
    }

    /// The same wish with the attribute path of one resource type.
    #[must_use]
    pub fn for_type(mut self, resource_type: &str) -> Self {
        if let Some(key) = self.keys_by_type.remove(resource_type) {
            self.inspected_key = Some(key);
        }
        self.keys_by_type.clear();
        self
    }
}

/// The wish of a rule that only its finding speaks of: resolution, expected and actual text.
pub fn from_hints(finding: &Finding) -> Wish {
    let hints = &finding.hints;
    let expected = hints.expected.as_ref().map(|text| format!("Expected: {}", text.trim()));
    let actual = hints.actual.as_ref().map(|text| format!("Found: {}", text.trim()));
    let lines: Vec<String> =
        hints.resolution.iter().map(|text| text.trim().to_owned()).chain(expected).chain(actual).collect();
    let address = finding.address.as_ref();
    Wish {
        rule: finding.rule.clone(),
        title: finding.message.clone(),
        resource_types: address.and_then(|a| a.block.resource_type()).map(str::to_owned).into_iter().collect(),
        resolution: (!lines.is_empty()).then(|| lines.join("\n")),
        ..Wish::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Hints, Location, Tool};
    use crate::source::RelPath;

    #[test]
    fn the_key_depends_on_the_type() {
        let wish = Wish {
            inspected_key: Some("a".into()),
            keys_by_type: [("t1".into(), "a".into()), ("t2".into(), "b/[0]/c".into())].into(),
            ..Wish::default()
        };
        assert_eq!(wish.key_for("t2"), Some("b/[0]/c"));
        assert_eq!(wish.key_for("t3"), Some("a"));
        let wish = wish.for_type("t2");
        assert_eq!((wish.inspected_key.as_deref(), wish.keys_by_type.len()), (Some("b/[0]/c"), 0));
    }

    #[test]
    fn what_passes_is_what_the_rule_lists() {
        let json = |values: Value| values.as_array().unwrap().clone();
        let expecting = Wish { expected: json(serde_json::json!(["a", "b"])), ..Wish::default() };
        assert_eq!(expecting.passing(), Some(json(serde_json::json!(["a", "b"]))));
        assert_eq!(Wish { any_value: true, ..expecting }.passing(), Some(Vec::new()));
        let forbidding = |values: Value| Wish { forbidden: json(values), ..Wish::default() }.passing();
        assert_eq!(forbidding(serde_json::json!([true])), Some(json(serde_json::json!([false]))));
        assert_eq!(forbidding(serde_json::json!(["x"])), None);
        assert_eq!(Wish::default().passing(), None);
    }

    #[test]
    fn a_finding_of_another_scanner_speaks_for_its_rule() {
        let location = Location { file: RelPath::new("main.tf").unwrap(), start_line: 1, end_line: 2 };
        let mut finding = Finding::new(Tool::Kics, "q", "Bucket is public", location, "aws_s3_bucket.b".parse().ok());
        finding.hints =
            Hints { expected: Some("acl is private".into()), actual: Some("acl is public".into()), ..Hints::default() };
        let wish = from_hints(&finding);
        assert_eq!(wish.resource_types, ["aws_s3_bucket"]);
        assert_eq!(wish.resolution.as_deref(), Some("Expected: acl is private\nFound: acl is public"));
    }
}
