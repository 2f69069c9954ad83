//! What new blocks must hold, whatever rule they are written for: each would be a new finding otherwise.
//!
//! In: all rules' wishes, and what running them on new blocks has shown. Out: for each resource type, what a block of it must
//! hold, and which blocks must stand beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::source::Block;

use super::alternative::holds;
use super::{Alternatives, Companion, Surroundings, Wanted, Way, Wish};

/// What is wanted of new blocks, by resource type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct House {
    by_type: BTreeMap<String, Vec<Wanted>>,
    beside: BTreeMap<String, Vec<Companion>>,
}

impl House {
    /// What all these rules want.
    pub fn of<'a>(wishes: impl IntoIterator<Item = &'a Wish>) -> Self {
        let mut house = Self::default();
        // Where code decides, values that are told still have to be; that there is one at all may not do.
        let tells = |wish: &&Wish| !wish.absent_passes && (!wish.code || !wish.expected.is_empty());
        for wish in wishes.into_iter().filter(tells) {
            for ty in &wish.resource_types {
                let wanted = of_new(wish, ty);
                if !wanted.is_empty() {
                    let known = house.by_type.entry(ty.clone()).or_default();
                    wanted.into_iter().for_each(|wanted| wanted.join(known));
                }
                let known = house.beside.entry(ty.clone()).or_default();
                for companion in beside(wish, ty) {
                    if !known.contains(&companion) {
                        known.push(companion);
                    }
                }
            }
        }
        house.beside.retain(|_, companions| !companions.is_empty());
        house
    }

    /// With what running the rules on new blocks has shown, by type: for each rule that fails on one, the alternatives.
    #[must_use]
    pub fn with_found(mut self, found: BTreeMap<String, Vec<Alternatives>>) -> Self {
        for (ty, rules) in found {
            for alternatives in rules {
                // Where there is a choice, that is for who writes the block.
                let mut ways = Way::found(alternatives, &new_block(&ty), &[]);
                let known = self.by_type.entry(ty.clone()).or_default();
                match ways.pop() {
                    Some(way) if ways.is_empty() && !way.loses(&new_block(&ty)) => {
                        way.target.into_iter().for_each(|wanted| wanted.join(known));
                    }
                    _ => {}
                }
            }
        }
        self
    }

    /// What is wanted of new blocks of a type.
    pub fn wants_of(&self, ty: &str) -> &[Wanted] {
        self.by_type.get(ty).map(Vec::as_slice).unwrap_or_default()
    }

    /// The blocks that must be connected to a new block of a type.
    pub fn beside(&self, ty: &str) -> &[Companion] {
        self.beside.get(ty).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What a rule wants of a new block itself; nothing where other blocks would do as well, or have to.
fn of_new(wish: &Wish, ty: &str) -> Vec<Wanted> {
    let none = BTreeSet::new();
    let block = new_block(ty);
    let ways = wish.ways(Surroundings { target: &block, connected: &[], chained: &[], types: &none });
    match ways.into_iter().find(|way| !way.takes_name()) {
        Some(way) if way.companions.is_empty() => way.target,
        _ => Vec::new(),
    }
}

/// What a rule wants beside a new block: where nothing that the block holds would do.
fn beside(wish: &Wish, ty: &str) -> Vec<Companion> {
    let block = new_block(ty);
    let bare = Surroundings { target: &block, connected: &[], chained: &[], types: &BTreeSet::new() };
    let Some(definition) = &wish.graph else { return Vec::new() };
    if holds(definition, bare) || wish.ways(bare).iter().any(|way| !way.takes_name()) {
        return Vec::new();
    }
    let named: BTreeSet<String> =
        wish.types_named().into_iter().filter(|named| *named != ty).map(str::to_owned).collect();
    match wish.ways(Surroundings { types: &named, ..bare }).into_iter().find(|way| !way.takes_name()) {
        Some(way) if way.target.is_empty() => way.companions,
        _ => Vec::new(),
    }
}

fn new_block(ty: &str) -> Block {
    Block {
        keyword: "resource".to_owned(),
        labels: vec![ty.to_owned(), String::new()],
        span: 0..0,
        body: crate::source::Body::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Must;
    use super::*;
    use serde_json::json;

    fn keyed(key: &str, expected: serde_json::Value) -> Wish {
        Wish {
            resource_types: vec!["t".into()],
            inspected_key: Some(key.into()),
            expected: expected.as_array().unwrap().clone(),
            ..Wish::default()
        }
    }

    #[test]
    fn no_new_block_takes_a_name_that_a_rule_leaves_out() {
        let graph = json!({ "or": [
            { "cond_type": "attribute", "resource_types": ["t"], "attribute": "name", "operator": "within", "value": ["Gateway"] },
            { "cond_type": "connection", "resource_types": ["t"], "connected_resource_types": ["t_guard"], "operator": "exists" },
        ] });
        let house = House::of(&[Wish { graph: Some(graph), resource_types: vec!["t".into()], ..Wish::default() }]);
        assert_eq!(house.wants_of("t"), []);
        assert_eq!(house.beside("t").iter().map(|it| it.ty.as_str()).collect::<Vec<_>>(), ["t_guard"]);
    }

    #[test]
    fn what_several_rules_want_of_a_type_is_wanted_together() {
        let any = Wish { any_value: true, ..keyed("days", json!([])) };
        let graph = json!({ "or": [
            { "cond_type": "attribute", "resource_types": ["t"], "attribute": "policy", "operator": "exists" },
            { "cond_type": "connection", "resource_types": ["t"], "connected_resource_types": ["t_policy"], "operator": "exists" },
        ] });
        let rules = [
            keyed("days", json!([30, 90])),
            any,
            keyed("days", json!([90, 365])),
            keyed("rule/[0]/on", json!([true])),
            Wish { graph: Some(graph), resource_types: vec!["t".into()], ..Wish::default() },
            // It need not be there.
            Wish { absent_passes: true, ..keyed("size", json!([1])) },
            // Its code says what else it must be.
            Wish { code: true, any_value: true, ..keyed("name", json!([])) },
            Wish { code: true, ..keyed("rotate", json!([true])) },
        ];
        let house = House::of(&rules);
        let wanted = |path: &[&str], must| Wanted::new(path.iter().map(|p| (*p).to_owned()).collect(), must);
        assert_eq!(
            house.wants_of("t"),
            [
                wanted(&["days"], Must::Be(vec![json!(90)])),
                wanted(&["rule", "on"], Must::Be(vec![json!(true)])),
                wanted(&["policy"], Must::Exist),
                wanted(&["rotate"], Must::Be(vec![json!(true)])),
            ]
        );
        assert!(house.wants_of("u").is_empty());
    }

    #[test]
    fn what_running_the_rules_has_shown_is_wanted_where_it_leaves_no_choice() {
        let wanted = |name: &str, must| Wanted::new(vec![name.to_owned()], must);
        let found = [
            vec![vec![wanted("description", Must::Exist)]],
            vec![vec![wanted("a", Must::Exist)], vec![wanted("b", Must::Exist)]],
            vec![vec![wanted("policy", Must::NotExist)]],
            vec![],
        ];
        let house = House::default().with_found([("t".to_owned(), found.to_vec())].into());
        assert_eq!(house.wants_of("t"), [wanted("description", Must::Exist)]);
    }

    #[test]
    fn what_must_stand_beside_a_new_block_is_told_where_nothing_in_it_would_do() {
        let connected = |ty: &str| json!({ "cond_type": "connection", "resource_types": ["t"], "connected_resource_types": [ty], "operator": "exists" });
        let on = json!({ "cond_type": "attribute", "resource_types": ["t_lock"], "attribute": "on", "operator": "equals", "value": true });
        let own =
            json!({ "cond_type": "attribute", "resource_types": ["t"], "attribute": "policy", "operator": "exists" });
        let rule = |graph| Wish { graph: Some(graph), resource_types: vec!["t".into()], ..Wish::default() };
        let house = House::of(&[
            rule(json!({ "and": [connected("t_lock"), on] })),
            rule(json!({ "or": [own, connected("t_policy")] })),
            // It is well without any.
            rule(json!({ "or": [
                { "cond_type": "connection", "resource_types": ["t"], "connected_resource_types": ["t_member"], "operator": "not_exists" },
                { "and": [connected("t_member"), { "cond_type": "attribute", "resource_types": ["t_member"], "attribute": "who",
                    "operator": "not_equals", "value": "all" }] },
            ] })),
        ]);
        let beside = house.beside("t");
        assert_eq!(beside.len(), 1, "{beside:?}");
        assert_eq!((beside[0].ty.as_str(), beside[0].wanted.len()), ("t_lock", 1));
        assert!(house.beside("t_lock").is_empty());
    }
}
