//! The ways to satisfy a rule, as far as the scanner says it in conditions or running the rule has shown it: what attributes
//! of the target, or of a block that is connected to it, must be, and which blocks must be connected to it.
//!
//! In: a [`Wish`] or alternatives that were found, the target as it stands. Out: [`Way`]s, the likeliest first. A rule's key
//! and values are one way; those of a graph rule's definition are made in `alternative.rs`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::source::{Block, BlockAddr, Body};

use super::Wish;
use super::alternative::of_graph;
use super::text::names_of;
use super::wanted::{Must, Wanted, found, least};

/// What satisfies a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// The block that has to change in place of the target: one that the rule's conditions name and that is connected to it.
    pub instead: Option<BlockAddr>,
    /// What attributes and blocks of the block that changes must be.
    pub target: Vec<Wanted>,
    /// New blocks that must be connected to it, or to one another, in order.
    pub companions: Vec<Companion>,
    /// Whether it is about other attributes than those that the rule inspects: it is taken only where no way that is about these does.
    pub is_beside: bool,
}

/// A new block that a rule asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Companion {
    /// Its resource type.
    pub ty: String,
    /// The standing block that it must be connected to; the target or another new block where there is none.
    pub to: Option<BlockAddr>,
    /// What attributes and blocks of it must be.
    pub wanted: Vec<Wanted>,
}

/// What of a module the ways depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The target as it stands.
    pub target: &'a Block,
    /// The blocks that the target refers to or that refer to it.
    pub connected: &'a [&'a Block],
    /// Those, and the ones that these are connected to in turn.
    pub chained: &'a [&'a Block],
    /// Resource types that companions may have.
    pub types: &'a BTreeSet<String>,
}

impl Wish {
    /// The ways to satisfy the rule on a target; none where the rule does not say.
    pub fn ways(&self, around: Surroundings<'_>) -> Vec<Way> {
        match &self.graph {
            Some(definition) => of_graph(definition, around),
            None => self.of_key(around.target).into_iter().collect(),
        }
    }

    fn of_key(&self, target: &Block) -> Option<Way> {
        let path = names_of(self.key_for(target.labels.first()?)?);
        let must = match self.passing() {
            Some(values) if values.is_empty() => Must::Exist,
            Some(values) => Must::Be(least(&path, values)),
            None if self.forbid_any && !found(&target.body, &path).is_empty() => Must::NotExist,
            None => return None,
        };
        Some(Way { target: vec![Wanted::new(path, must)], ..Way::default() })
    }
}

impl Way {
    /// The ways that running the rule on a target has found, each a list of changes: those that lose nothing, if there are
    /// any, those that are about what the rule inspects (`keys`) before others.
    pub fn found(alternatives: Vec<Vec<Wanted>>, target: &Block, keys: &[Vec<String>]) -> Vec<Self> {
        let way = |wanted: Vec<Wanted>| Self {
            target: wanted.into_iter().map(|wanted| wanted.kept_open(target).least()).collect(),
            ..Self::default()
        };
        let mut ways: Vec<Self> = alternatives.into_iter().map(way).collect();
        if !ways.iter().all(|way| way.loses(target)) {
            ways.retain(|way| !way.loses(target));
        }
        let inspected =
            |way: &Self| way.target.iter().all(|wanted| keys.iter().any(|key| wanted.path.starts_with(key)));
        if ways.iter().any(inspected) {
            for way in &mut ways {
                way.is_beside = !inspected(way);
            }
        }
        ways.sort_by_key(|way| (way.is_beside, way.target.len()));
        ways
    }

    /// Whether something that stands in a body would be undone by it: all that it is about, but for a value that is known to
    /// fail and makes room for another one.
    pub fn undoes(&self, body: &Body) -> bool {
        let is_room = |wanted: &Wanted| matches!(wanted.must, Must::NotBe(_));
        self.target.iter().filter(|wanted| !is_room(wanted)).any(|wanted| !found(body, &wanted.path).is_empty())
    }

    /// Whether something is lost by it: taken out, emptied, switched off, made another thing.
    pub fn loses(&self, target: &Block) -> bool {
        self.takes_out() || self.target.iter().any(|wanted| wanted.loses(target))
    }

    /// Whether the block that changes would be called otherwise by it.
    pub fn renames(&self, target: &Block) -> bool {
        self.instead.is_none() && self.target.iter().any(|wanted| wanted.renames(target))
    }

    /// Whether it is that the block has a certain name: rules leave out some blocks by theirs.
    pub(super) fn takes_name(&self) -> bool {
        self.target.iter().any(|wanted| wanted.path == ["name"] && matches!(wanted.must, Must::Be(_)))
    }

    pub(super) fn takes_out(&self) -> bool {
        self.target.iter().any(Wanted::takes_out)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::{RelPath, SourceFile};
    use serde_json::{Value, json};

    pub(in super::super) fn wanted(path: &str, must: Must) -> Wanted {
        Wanted::new(path.split('.').map(str::to_owned).collect(), must)
    }

    pub(in super::super) fn be(values: &[Value]) -> Must {
        Must::Be(values.to_vec())
    }

    pub(in super::super) const TARGET: &str =
        "resource \"t\" \"a\" {\n  mode = \"open\"\n  size = var.size\n  rule {\n    on = true\n  }\n}\n";

    #[test]
    fn a_key_with_values_is_a_way() {
        let file = SourceFile::parse(RelPath::default(), TARGET.as_bytes().to_vec()).unwrap();
        let none = BTreeSet::new();
        let around =
            Surroundings { target: file.body().blocks().next().unwrap(), connected: &[], chained: &[], types: &none };
        let wish = Wish { inspected_key: Some("rule/[0]/on".into()), ..Wish::default() };
        let ways = |wish: Wish| wish.ways(around).into_iter().flat_map(|way| way.target).collect::<Vec<_>>();
        let expected = Wish { expected: vec![json!(false)], ..wish.clone() };
        assert_eq!(ways(expected), [wanted("rule.on", be(&[json!(false)]))]);
        assert_eq!(ways(Wish { any_value: true, ..wish.clone() }), [wanted("rule.on", Must::Exist)]);
        assert_eq!(ways(Wish { forbid_any: true, ..wish.clone() }), [wanted("rule.on", Must::NotExist)]);
        assert_eq!(ways(wish), []);
    }

    #[test]
    fn of_versions_of_tls_the_earliest_is_wanted() {
        let path = |name: &str| vec!["site_config".to_owned(), name.to_owned()];
        let of = |values: Value| least(&path("min_tls_version"), values.as_array().unwrap().clone());
        assert_eq!(of(json!(["TLS1_3", "TLS1_2"])), [json!("TLS1_2")]);
        assert_eq!(of(json!(["1.2", 1.2, "1.3"])), [json!("1.2"), json!(1.2)]);
        assert_eq!(of(json!(["latest"])), [json!("latest")]);
        assert_eq!(least(&path("policy"), vec![json!("b2"), json!("a1")]).len(), 2);
    }

    #[test]
    fn what_calls_the_block_otherwise_is_told() {
        let file =
            SourceFile::parse(RelPath::default(), b"resource \"t\" \"a\" {\n  name = \"n\"\n}\n".to_vec()).unwrap();
        let target = file.body().blocks().next().unwrap();
        let way = |path: &str| Way { target: vec![wanted(path, be(&[json!("GatewaySubnet")]))], ..Way::default() };
        assert!(way("name").renames(target) && !way("mode").renames(target) && !way("rule.name").renames(target));
        let instead = Some(BlockAddr::resource("t", "b"));
        assert!(!Way { instead, ..way("name") }.renames(target), "another block changes");
    }

    #[test]
    fn of_what_was_found_that_which_loses_something_is_left_out_where_there_is_another_way() {
        let file = SourceFile::parse(RelPath::default(), TARGET.as_bytes().to_vec()).unwrap();
        let target = file.body().blocks().next().unwrap();
        let found = |alternatives: &[&[Wanted]]| {
            let ways = Way::found(alternatives.iter().map(|wanted| wanted.to_vec()).collect(), target, &[]);
            ways.into_iter().map(|way| way.target).collect::<Vec<_>>()
        };
        let (gone, empty) = (wanted("rule", Must::NotExist), wanted("names", be(&[json!([])])));
        let mode = wanted("mode", be(&[json!("closed")]));
        let two = [mode.clone(), wanted("rule.on", Must::Exist)];
        assert_eq!(
            found(&[std::slice::from_ref(&gone), &two, &[empty], std::slice::from_ref(&mode)]),
            [vec![mode], two.to_vec()]
        );
        assert_eq!(found(&[std::slice::from_ref(&gone)]), [vec![gone]]);
    }

    #[test]
    fn a_list_that_is_an_expression_is_not_replaced_by_what_it_was_evaluated_to() {
        let text = "resource \"t\" \"a\" {\n  one = [\"a\", \"b\"]\n  other = var.names\n}\n";
        let file = SourceFile::parse(RelPath::default(), text.as_bytes().to_vec()).unwrap();
        let less = |name: &str| vec![wanted(name, be(&[json!(["a"])]))];
        let ways = Way::found(vec![less("one"), less("other")], file.body().blocks().next().unwrap(), &[]);
        assert_eq!(ways[0].target, less("one"));
        assert_eq!(ways[1].target, [wanted("other", Must::Exist)]);
    }

    #[test]
    fn what_switches_off_or_makes_another_thing_comes_only_where_nothing_else_does() {
        let text = "resource \"t\" \"a\" {\n  name = \"n\"\n  caching = true\n  tags = var.tags\n}\n";
        let file = SourceFile::parse(RelPath::default(), text.as_bytes().to_vec()).unwrap();
        let target = file.body().blocks().next().unwrap();
        let found = |wanted: &[Wanted], keys: &[&str]| {
            let keys: Vec<Vec<String>> = keys.iter().map(|key| vec![(*key).to_owned()]).collect();
            let ways = Way::found(wanted.iter().map(|wanted| vec![wanted.clone()]).collect(), target, &keys);
            ways.into_iter().map(|way| way.target[0].path.join(".")).collect::<Vec<_>>()
        };
        let (off, on) = (be(&[json!(false)]), be(&[json!(true)]));
        let all = [
            wanted("name", Must::Exist),
            wanted("caching", off.clone()),
            wanted("from_port", be(&[json!(23)])),
            wanted("enabled", off),
            wanted("disabled", on.clone()),
            wanted("encrypted", on),
            wanted("other", Must::Exist),
        ];
        assert_eq!(found(&all, &[]), ["encrypted", "other"]);
        assert_eq!(found(&all, &["other"]), ["other", "encrypted"]);
        assert_eq!(found(&all[..2], &[]), ["name", "caching"]);
        // A map that is an expression is not replaced by a part of it.
        let tags = Way::found(vec![vec![wanted("tags", be(&[json!({ "a": "b" })]))]], target, &[]);
        assert_eq!(tags[0].target, [wanted("tags", Must::Exist)]);
    }
}
