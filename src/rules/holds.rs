//! Whether a condition holds for what is written in a body, and what must be for it to hold.

use serde_json::Value;

use crate::source::{Body, Item};

use super::conditions::{Condition, Test};
use super::wanted::{Must, Place, Wanted, found};

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).to_lowercase()
}

impl Condition {
    /// What must be for it to hold, where it does not; where nobody can tell, if `undecided` says so. `None` when nothing
    /// that can be written makes it hold.
    pub(super) fn lacking(&self, body: &Body, undecided: bool) -> Option<Option<Wanted>> {
        let must = match (&self.test, self.holds(body)) {
            (_, Some(true)) => return Some(None),
            (_, None) if !undecided => return Some(None),
            // More than nothing is no bound to go by.
            (Test::AtLeast, _) if self.values.first().and_then(Value::as_f64).is_some_and(|least| least <= 1.0) => {
                Must::Exist
            }
            (Test::Is | Test::AtLeast | Test::AtMost, _) => Must::Be(self.values.clone()),
            (Test::Exists | Test::Like, _) => Must::Exist,
            // Another value has to be found for it, or none.
            (Test::IsNot, None) => return Some(None),
            (Test::IsNot, _) => match (self.values.as_slice(), self.rest_of_list(body)) {
                ([Value::Bool(bad)], _) => Must::Be(vec![Value::Bool(!bad)]),
                (_, Some(rest)) => Must::Be(vec![Value::Array(rest)]),
                _ => Must::NotBe(self.failing(body)),
            },
            (Test::NotExists, _) if self.path.is_empty() => return None,
            (Test::NotExists, _) => Must::NotExist,
        };
        Some(Some(Wanted::new(self.path.clone(), must)))
    }

    /// The elements of the list that the path leads to that are none of the values; `None` where none is left, or where it
    /// leads to no list, or to several.
    fn rest_of_list(&self, body: &Body) -> Option<Vec<Value>> {
        let found = found(body, &self.path);
        let [Place::Item(Item::Attribute(attribute))] = found.as_slice() else { return None };
        let rest: Vec<Value> = attribute.literals()?.into_iter().filter(|value| !self.is_one(&bare(value))).collect();
        (!rest.is_empty()).then_some(rest)
    }

    /// The values, and what stands in the body that holds one.
    fn failing(&self, body: &Body) -> Vec<Value> {
        let mut failing = self.values.clone();
        for place in found(body, &self.path) {
            let Place::Item(Item::Attribute(attribute)) = place else { continue };
            let text = attribute.expr.as_str().map(|text| vec![Value::from(text)]);
            let standing = text.or_else(|| attribute.literals()).unwrap_or_default();
            failing
                .extend(standing.into_iter().filter(|value| !self.values.contains(value) && self.is_one(&bare(value))));
        }
        failing
    }

    /// Whether a literal is, or holds, one of the values.
    fn is_one(&self, literal: &str) -> bool {
        self.values.iter().map(bare).any(|value| literal == value || self.in_text && literal.contains(&value))
    }

    /// Whether it holds for what is written in a body; `None` when that must be evaluated.
    pub(super) fn holds(&self, body: &Body) -> Option<bool> {
        let found = found(body, &self.path);
        match self.test {
            Test::Exists => return Some(!found.is_empty()),
            Test::NotExists => return Some(found.is_empty()),
            Test::Is | Test::Like | Test::AtLeast | Test::AtMost if found.is_empty() => return Some(false),
            Test::IsNot if found.is_empty() => return Some(true),
            _ => {}
        }
        let mut literals = Vec::new();
        for place in found {
            match place {
                Place::Item(Item::Attribute(attribute)) if attribute.is_literal() => {
                    literals.push(attribute.expr.to_string().trim().trim_matches('"').to_lowercase());
                }
                // One of the elements is asked about.
                Place::Item(Item::Attribute(attribute)) if self.test == Test::IsNot => {
                    literals.extend(attribute.literals()?.iter().map(bare));
                }
                _ => return None,
            }
        }
        let bound = self.values.first().and_then(Value::as_f64);
        let all = |holds: &dyn Fn(f64, f64) -> bool| {
            let numbers: Option<Vec<f64>> = literals.iter().map(|literal| literal.parse().ok()).collect();
            bound.zip(numbers).map(|(bound, numbers)| numbers.iter().all(|&number| holds(number, bound)))
        };
        match self.test {
            Test::AtLeast => all(&|number, bound| number >= bound),
            Test::AtMost => all(&|number, bound| number <= bound),
            Test::Is => Some(literals.iter().all(|literal| self.is_one(literal))),
            Test::IsNot => Some(!literals.iter().any(|literal| self.is_one(literal))),
            _ => None,
        }
    }
}
