//! What is lacking for an alternative of a graph rule's conditions to hold, as a way to satisfy the rule.
//!
//! In: a definition, the target and the blocks around it. Out: [`Way`]s, the likeliest first: the definition (Checkov docs,
//! "YAML-based Custom Policies") is brought into disjunctive normal form, and each alternative that an override can bring
//! about is one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::source::{Block, BlockAddr, Body, Item, references};

use super::conditions::{Connection, Leaf, Test, alternatives};
use super::wanted::{Must, Place, Wanted, found};
use super::ways::{Companion, Surroundings, Way};

/// Ways that are told, at most.
const WAYS: usize = 2;
/// Where more types than these would do for a connection, nobody can tell which one is meant.
const CHOICES: usize = 3;

/// The ways to satisfy a definition.
pub(super) fn of_graph(definition: &Value, around: Surroundings<'_>) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for leaves in alternatives(definition) {
        let lacking = |undecided| of_alternative(&leaves, around, undecided).filter(|way| *way != Way::default());
        // What cannot be decided is left as it is where something else is known to fail.
        let way = lacking(false).or_else(|| lacking(true));
        let is_sound = |way: &Way| !ways.contains(way) && !way.target.iter().any(Wanted::switches_off);
        if let Some(way) = way.filter(is_sound)
            && !ways.iter_mut().any(|known| known.take_values_of(&way))
        {
            ways.push(way);
        }
    }
    // What takes something out comes last: the rule is content then, but what it was there for is lost. And what is known
    // comes before what has to be found: that may be no more than what the rule leaves out.
    let is_open = |way: &Way| way.target.iter().any(|wanted| wanted.must.is_open());
    ways.sort_by_key(|way| {
        (way.takes_out(), way.is_superseded(around), way.companions.len(), is_open(way), way.target.len())
    });
    ways.truncate(WAYS);
    ways
}

/// Whether an alternative of a definition holds as it is: a rule does not fail by that.
pub(super) fn holds(definition: &Value, around: Surroundings<'_>) -> bool {
    alternatives(definition).iter().any(|leaves| of_alternative(leaves, around, true) == Some(Way::default()))
}

/// What is lacking for all of an alternative's conditions to hold; nothing when they hold already. `None` when no override of
/// one block, with new blocks after it, makes them so. What stands but must be evaluated is taken for lacking if `undecided`
/// says so.
fn of_alternative(leaves: &[Leaf], around: Surroundings<'_>, undecided: bool) -> Option<Way> {
    let ty = around.target.labels.first()?;
    let mut way = Way::default();
    let mut connections = Vec::new();
    let mut of_others = Vec::new();
    for leaf in leaves {
        match leaf {
            Leaf::Filter(condition) if condition.path == ["resource_type"] => {
                if !condition.values.iter().any(|value| value == ty) {
                    return None;
                }
            }
            // The rule would not have looked at the target.
            Leaf::Filter(condition) => {
                if condition.holds(&around.target.body) == Some(false) {
                    return None;
                }
            }
            Leaf::Attribute(types, condition) if types.is_empty() || types.contains(ty) => {
                if let Some(wanted) = condition.lacking(&around.target.body, undecided)? {
                    wanted.join(&mut way.target);
                }
            }
            Leaf::Attribute(types, condition) => of_others.push((types, condition)),
            Leaf::Connection(connection) => connections.push(connection),
            Leaf::Unknown => {}
        }
    }
    // A block may be connected to one that is only asked for by a later condition.
    let mut waiting = connections;
    loop {
        let before = waiting.len();
        let mut later = Vec::new();
        for connection in waiting {
            if !way.connect(connection, around, ty)? {
                later.push(connection);
            }
        }
        waiting = later;
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    for (types, condition) in of_others {
        if let Some(companion) = way.companions.iter_mut().find(|companion| types.contains(&companion.ty)) {
            if let Some(wanted) = condition.lacking(&Body::default(), undecided)? {
                wanted.join(&mut companion.wanted);
            }
            continue;
        }
        // The target's own neighbours are meant first.
        let mut standing: Vec<&Block> = of_types(around.connected, types).collect();
        if standing.is_empty() {
            standing.extend(of_types(around.chained, types));
        }
        let mut failing = Vec::new();
        for block in &standing {
            failing.extend(condition.lacking(&block.body, undecided)?.map(|wanted| (block.addr(), wanted)));
        }
        // What must not be is not, where there is no block that could be so.
        let is_negative = matches!(condition.test, Test::IsNot | Test::NotExists);
        match failing.as_slice() {
            [] if standing.is_empty() && !is_negative => return None,
            [] => {}
            // An override is of one block.
            [(addr, wanted)] if way.target.is_empty() || way.instead.as_ref() == Some(addr) => {
                way.instead = Some(addr.clone());
                wanted.clone().join(&mut way.target);
            }
            _ => return None,
        }
    }
    if way.instead.is_some() && !way.companions.is_empty() {
        return None;
    }
    way.exclude(leaves, ty);
    let changed = way.instead.as_ref().and_then(|addr| around.chained.iter().find(|block| block.addr() == *addr));
    way.take_out_whole(&changed.map_or(around.target, |block| block).body);
    waiting.is_empty().then_some(way)
}

impl<'a> Surroundings<'a> {
    /// The first of these blocks further off, and whether one of the other types is connected to it.
    fn further_off(self, types: &[String], others: &[String]) -> Option<(&'a Block, bool)> {
        let others: Vec<&Block> = of_types(self.chained, others).collect();
        let linked = |one: &Block| {
            others
                .iter()
                .any(|other| references(one).contains(&other.addr()) || references(other).contains(&one.addr()))
        };
        let mut all = of_types(self.chained, types).map(|block| (block, linked(block)));
        all.clone().find(|(_, linked)| *linked).or_else(|| all.next())
    }
}

fn of_types<'a>(blocks: &'a [&'a Block], types: &[String]) -> impl Iterator<Item = &'a Block> + Clone {
    let of_type = move |block: &&Block| block.labels.first().is_some_and(|ty| types.contains(ty));
    blocks.iter().copied().filter(move |block| block.keyword == "resource" && of_type(block))
}

impl Way {
    /// Adds what a connection asks for. `None` when that cannot be, `Some(false)` when it is about blocks that are not asked
    /// for yet.
    fn connect(&mut self, connection: &Connection, around: Surroundings<'_>, ty: &str) -> Option<bool> {
        let sides = [(&connection.from, &connection.to), (&connection.to, &connection.from)];
        let here = |types: &[String]| types.iter().any(|t| t == ty);
        if let Some((_, other)) = sides.into_iter().find(|(side, _)| here(side)) {
            let connected = of_types(around.connected, other).next().is_some();
            return match (connection.exists, connected) {
                (true, true) | (false, false) => Some(true),
                (false, true) => None,
                (true, false) => self.ask_for(other, None, around),
            };
        }
        let asked = |types: &[String]| self.companions.iter().any(|companion| types.contains(&companion.ty));
        if let Some((_, other)) = sides.into_iter().find(|(side, _)| asked(side)) {
            return if connection.exists { self.ask_for(other, None, around) } else { Some(true) };
        }
        let mut standing =
            sides.into_iter().filter_map(|(side, other)| Some((around.further_off(side, other)?, other)));
        match (standing.next(), connection.exists) {
            (Some(((_, linked), _)), exists) if linked == exists => Some(true),
            (Some(((block, _), other)), true) => self.ask_for(other, Some(block.addr()), around),
            (Some(_), false) => None,
            (None, exists) => Some(!exists),
        }
    }

    fn ask_for(&mut self, types: &[String], to: Option<BlockAddr>, around: Surroundings<'_>) -> Option<bool> {
        let known = |ty: &&String| around.types.contains(*ty);
        if types.len() > CHOICES {
            return None;
        }
        let ty = types.iter().find(known)?;
        if !self.companions.iter().any(|companion| companion.ty == *ty) {
            self.companions.push(Companion { ty: ty.clone(), to, wanted: Vec::new() });
        }
        Some(true)
    }

    /// Takes in all that must not be where another value has to be found, though it is not so now.
    fn exclude(&mut self, leaves: &[Leaf], ty: &str) {
        let changed = self.instead.as_ref().and_then(BlockAddr::resource_type).unwrap_or(ty).to_owned();
        for wanted in self.target.iter_mut().filter(|wanted| wanted.must.is_open()) {
            for leaf in leaves {
                if let Leaf::Attribute(types, condition) = leaf
                    && (types.is_empty() || types.contains(&changed))
                    && condition.test == Test::IsNot
                    && condition.path == wanted.path
                {
                    let mut known = if let Must::NotBe(known) = &wanted.must { known.clone() } else { Vec::new() };
                    let new: Vec<Value> = condition.values.iter().filter(|it| !known.contains(it)).cloned().collect();
                    known.extend(new);
                    wanted.must = Must::NotBe(known);
                }
            }
        }
    }

    /// Takes out the nested blocks of which everything that stands in them is to be taken out.
    fn take_out_whole(&mut self, body: &Body) {
        let gone = |wanted: &&Wanted| wanted.must == Must::NotExist;
        let outer: BTreeSet<Vec<String>> =
            self.target.iter().filter(gone).filter_map(|w| Some(w.path.split_last()?.1.to_vec())).collect();
        for path in outer.into_iter().filter(|path| !path.is_empty()) {
            let is_gone = |item: &Item| {
                self.target
                    .iter()
                    .filter(gone)
                    .any(|w| w.path.split_last().is_some_and(|(name, outer)| name == item.name() && *outer == path))
            };
            let is_emptied = |place: &Place<'_>| matches!(place, Place::Item(Item::Block(block)) if block.body.items.iter().all(is_gone));
            let places = found(body, &path);
            if !places.is_empty() && places.iter().all(is_emptied) {
                self.target.retain(|wanted| !wanted.path.starts_with(&path));
                self.target.push(Wanted::new(path, Must::NotExist));
            }
        }
    }

    /// Takes the values of another way that differs in one place's values alone. Whether it does.
    fn take_values_of(&mut self, other: &Self) -> bool {
        let of_companions =
            |way: &Self| way.companions.iter().map(|c| (c.ty.clone(), c.wanted.len())).collect::<Vec<_>>();
        let same_block = self.instead == other.instead && self.target.len() == other.target.len();
        if of_companions(self) != of_companions(other) || !same_block {
            return false;
        }
        let theirs = other.all();
        let different: Vec<usize> = (0..theirs.len()).filter(|&at| self.all()[at] != theirs[at]).collect();
        let [at] = different.as_slice() else { return false };
        let theirs = theirs[*at];
        let mut own =
            self.target.iter_mut().chain(self.companions.iter_mut().flat_map(|companion| &mut companion.wanted));
        match (own.nth(*at), theirs) {
            (Some(Wanted { path, must: Must::Be(values), .. }), Wanted { path: same, must: Must::Be(more), .. })
                if path == same =>
            {
                let new: Vec<Value> = more.iter().filter(|value| !values.contains(value)).cloned().collect();
                values.extend(new);
                true
            }
            _ => false,
        }
    }

    fn all(&self) -> Vec<&Wanted> {
        self.target.iter().chain(self.companions.iter().flat_map(|companion| &companion.wanted)).collect()
    }

    /// Whether it writes a part into the target itself that is a resource of its own by now (the parts of `aws_s3_bucket` are),
    /// where the target has none yet.
    fn is_superseded(&self, around: Surroundings<'_>) -> bool {
        let ty = around.target.labels.first().map_or("", String::as_str);
        self.instead.is_none()
            && self.target.iter().filter_map(|wanted| wanted.path.first()).any(|name| {
                around.types.contains(&format!("{ty}_{name}"))
                    && !around.target.body.items.iter().any(|i| i.name() == name)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wish;
    use super::super::ways::tests::{TARGET, be, wanted};
    use super::*;
    use crate::source::{RelPath, SourceFile};
    use serde_json::json;

    /// The ways on a target with one connected block of each of some types, which are all alike.
    fn ways_of(definition: Value, target: &str, connected: &[&str]) -> Vec<Way> {
        let text: String = connected
            .iter()
            .map(|ty| format!("resource \"{ty}\" \"b\" {{\n  rule {{\n    status = \"Off\"\n  }}\n}}\n"))
            .collect();
        let file = SourceFile::parse(RelPath::default(), format!("{target}{text}").into_bytes()).unwrap();
        let blocks: Vec<&Block> = file.body().blocks().collect();
        let types = ["t_lock", "t_log", "t_key"].map(str::to_owned).into_iter().collect();
        let wish = Wish { graph: Some(definition), ..Wish::default() };
        let connected = &blocks[1..];
        wish.ways(Surroundings { target: blocks[0], connected, chained: connected, types: &types })
    }

    fn on_target(target: Vec<Wanted>) -> Way {
        Way { target, ..Way::default() }
    }

    fn attribute(ty: &str, path: &str, operator: &str, value: Value) -> Value {
        json!({ "cond_type": "attribute", "resource_types": [ty], "attribute": path, "operator": operator, "value": value })
    }

    fn connected(one: &str, other: &str, operator: &str) -> Value {
        json!({ "cond_type": "connection", "resource_types": [one], "connected_resource_types": [other],
            "operator": operator })
    }

    fn filter(ty: &str) -> Value {
        json!({ "cond_type": "filter", "attribute": "resource_type", "operator": "within", "value": [ty] })
    }

    #[test]
    fn a_connected_block_is_asked_for_with_what_it_must_be() {
        let definition = json!({ "and": [
            filter("t"), connected("t", "t_lock", "exists"), attribute("t_lock", "rule.*.status", "equals", json!("Enabled")),
        ] });
        let lock =
            Companion { ty: "t_lock".into(), to: None, wanted: vec![wanted("rule.status", be(&[json!("Enabled")]))] };
        assert_eq!(ways_of(definition, TARGET, &[]), [Way { companions: vec![lock], ..Way::default() }]);
    }

    #[test]
    fn what_is_known_comes_before_what_has_to_be_found() {
        let definition = json!({ "or": [
            attribute("t", "main", "exists", json!(null)), attribute("t", "mode", "not_contains", json!("open")),
            attribute("t", "backup.on", "equals_ignore_case", json!("true")),
        ] });
        let ways = ways_of(definition, TARGET, &[]);
        assert_eq!(ways[0].target, [wanted("backup.on", be(&[json!("true")]))]);
        assert!(ways[1..].iter().all(|way| way.target[0].must.is_open()));
    }

    #[test]
    fn what_is_asked_for_is_not_what_fails() {
        let of = |ty: &str| {
            let not = attribute(ty, "lock", "not_equals", json!("Off"));
            json!({ "and": [attribute(ty, "lock", "exists", json!(null)), not] })
        };
        let other = json!({ "and": [filter("t"), connected("t", "t_lock", "exists"), of("t_lock")] });
        let definition = json!({ "or": [of("t"), other] });
        let must = || Wanted::new(vec!["lock".to_owned()], Must::NotBe(vec![json!("Off")]));
        let there = Way { instead: Some(BlockAddr::resource("t_lock", "b")), ..on_target(vec![must()]) };
        // Of the target itself it would be a part that is a resource of its own by now.
        assert_eq!(ways_of(definition, TARGET, &["t_lock"]), [there, on_target(vec![must()])]);
    }

    #[test]
    fn a_connected_block_that_stands_changes_in_place_of_the_target() {
        let status = attribute("t_lock", "rule.*.status", "equals", json!("Enabled"));
        let definition = json!({ "and": [filter("t"), connected("t", "t_lock", "exists"), status] });
        let way = Way {
            instead: Some(BlockAddr::resource("t_lock", "b")),
            target: vec![wanted("rule.status", be(&[json!("Enabled")]))],
            companions: vec![],
            is_beside: false,
        };
        assert_eq!(ways_of(definition.clone(), TARGET, &["t_lock"]), [way]);
        // Two blocks would have to.
        assert_eq!(ways_of(definition.clone(), TARGET, &["t_lock", "t_lock"]), []);
        let both = json!({ "and": [definition, attribute("t", "mode", "equals", json!("closed"))] });
        assert_eq!(ways_of(both, TARGET, &["t_lock"]), []);
    }

    #[test]
    fn chains_are_followed_in_whatever_order_they_are_told() {
        let definition = json!([connected("t_key", "t_log", "exists"), connected("t_log", "t", "exists"), filter("t")]);
        let types: Vec<String> = ways_of(definition, TARGET, &[])[0].companions.iter().map(|c| c.ty.clone()).collect();
        assert_eq!(types, ["t_log", "t_key"]);
    }

    #[test]
    fn a_block_goes_as_a_whole_where_everything_in_it_has_to() {
        let target = "resource \"t\" \"a\" {\n  rule {\n    from = 0\n    self = true\n  }\n}\n";
        let gone = |path: &str| attribute("t", path, "not_exists", json!(null));
        let all = json!([gone("rule.from"), gone("rule.self"), gone("rule.to")]);
        assert_eq!(ways_of(all, target, &[]), [on_target(vec![wanted("rule", Must::NotExist)])]);
        assert_eq!(ways_of(gone("rule.from"), target, &[]), [on_target(vec![wanted("rule.from", Must::NotExist)])]);
    }

    #[test]
    fn a_chain_is_gone_on_with_where_it_ends() {
        let text = |more: &str| {
            format!("resource \"t\" \"a\" {{\n  log = t_log.b.id\n}}\nresource \"t_log\" \"b\" {{\n}}\n{more}")
        };
        let definition = |operator: &str, wanted: Value| {
            json!([connected("t", "t_log", "exists"), connected("t_log", "t_key", operator), wanted, filter("t")])
        };
        let ways = |definition: Value, more: &str| {
            let file = SourceFile::parse(RelPath::default(), text(more).into_bytes()).unwrap();
            let blocks: Vec<&Block> = file.body().blocks().collect();
            let types = ["t_log", "t_key"].map(str::to_owned).into_iter().collect();
            let around =
                Surroundings { target: blocks[0], connected: &blocks[1..2], chained: &blocks[1..], types: &types };
            Wish { graph: Some(definition), ..Wish::default() }.ways(around)
        };
        let on = || attribute("t_key", "on", "equals", json!(true));
        let wanted = vec![wanted("on", be(&[json!(true)]))];
        let key = Companion { ty: "t_key".into(), to: Some(BlockAddr::resource("t_log", "b")), wanted: wanted.clone() };
        let asked = Way { companions: vec![key], ..Way::default() };
        assert_eq!(ways(definition("exists", on()), ""), std::slice::from_ref(&asked));
        let apart = "resource \"t_key\" \"c\" {\n}\n";
        assert_eq!(ways(definition("exists", on()), apart), [asked]);
        let linked = "resource \"t_key\" \"c\" {\n  log = t_log.b.id\n}\n";
        let instead = Some(BlockAddr::resource("t_key", "c"));
        assert_eq!(ways(definition("exists", on()), linked), [Way { instead, target: wanted, ..Way::default() }]);
        // Nothing undoes a connection.
        assert_eq!(ways(definition("not_exists", attribute("t", "log", "equals", json!("x"))), linked), []);
    }

    #[test]
    fn what_holds_what_must_not_be_is_what_must_not_be() {
        let target = "resource \"t\" \"a\" {\n  arns = [\"arn:Full\"]\n  arn = \"arn:Full\"\n}\n";
        let not = |path: &str| json!({ "not": attribute("t", path, "contains", json!("Full")) });
        for path in ["arns.*", "arn"] {
            let name = path.trim_end_matches(".*");
            let must = Must::NotBe(vec![json!("Full"), json!("arn:Full")]);
            assert_eq!(ways_of(not(path), target, &[]), [on_target(vec![wanted(name, must)])]);
        }
        // Where no block of a type stands, none is what it must not be.
        let other = json!({ "not": { "or": [attribute("t_log", "x", "equals", json!(1)), attribute("t", "arn", "contains", json!("Full"))] } });
        assert_eq!(ways_of(other, target, &[]).len(), 1);
    }

    #[test]
    fn what_holds_is_not_asked_for() {
        let definition = json!({ "and": [
            attribute("t", "mode", "equals", json!("closed")), attribute("t", "rule.on", "equals", json!("true")),
            attribute("t", "size", "exists", json!(null)), attribute("t", "mode", "not_equals", json!("public")),
        ] });
        assert_eq!(ways_of(definition, TARGET, &[]), [on_target(vec![wanted("mode", be(&[json!("closed")]))])]);
    }

    #[test]
    fn what_must_be_evaluated_is_left_alone_unless_nothing_else_fails() {
        let size = || attribute("t", "size", "equals", json!(1));
        let mode = attribute("t", "mode", "equals", json!("closed"));
        let closed = wanted("mode", be(&[json!("closed")]));
        assert_eq!(ways_of(json!([size(), mode]), TARGET, &[]), [on_target(vec![closed])]);
        assert_eq!(ways_of(size(), TARGET, &[]), [on_target(vec![wanted("size", be(&[json!(1)]))])]);
    }

    #[test]
    fn a_bound_that_is_kept_is_left_alone() {
        let target = "resource \"t\" \"a\" {\n  days = 365\n  on = false\n}\n";
        let definition = |days: u64| {
            json!([
                attribute("t", "days", "greater_than_or_equal", json!(days)),
                attribute("t", "on", "equals", json!(true))
            ])
        };
        let on = wanted("on", be(&[json!(true)]));
        assert_eq!(ways_of(definition(90), target, &[]), [on_target(vec![on.clone()])]);
        let days = wanted("days", be(&[json!(400)]));
        assert_eq!(ways_of(definition(400), target, &[]), [on_target(vec![days, on])]);
    }

    #[test]
    fn of_alternatives_those_with_the_fewest_new_blocks_come_first_and_values_are_joined() {
        let definition = json!({ "or": [
            { "and": [filter("t"), connected("t", "t_log", "exists")] },
            attribute("t", "mode", "equals", json!("a")), attribute("t", "mode", "equals", json!("b")),
            { "and": [filter("u"), attribute("t", "mode", "equals", json!("c"))] },
        ] });
        let ways = ways_of(definition, TARGET, &[]);
        assert_eq!(ways[0].target, [wanted("mode", be(&[json!("a"), json!("b")]))]);
        assert_eq!(ways[1].companions[0].ty, "t_log");
        assert_eq!(ways.len(), 2);
    }

    #[test]
    fn a_part_that_is_a_resource_of_its_own_comes_last_as_a_block_unless_it_stands() {
        let definition = |name: &str| json!({ "or": [attribute("t", name, "exists", json!(null)), connected("t", &format!("t_{name}"), "exists")] });
        let ways = ways_of(definition("log"), TARGET, &[]);
        assert_eq!((ways[0].companions.len(), ways[1].companions.len()), (1, 0));
    }

    #[test]
    fn what_takes_something_out_comes_last() {
        let definition = json!({ "or": [
            attribute("t", "rule", "not_exists", json!(null)),
            { "and": [attribute("t", "mode", "not_equals", json!("open")), connected("t", "t_key", "exists")] },
        ] });
        let ways = ways_of(definition, TARGET, &[]);
        assert_eq!(ways[0].companions[0].ty, "t_key");
        assert_eq!(ways[1].target, [wanted("rule", Must::NotExist)]);
    }

    #[test]
    fn negations_are_turned_around() {
        let definition = json!({ "not": { "or": [
            attribute("t", "mode", "equals", json!("open")), attribute("t", "rule", "exists", json!(null)),
            connected("t", "t_key", "exists"),
        ] } });
        let way = on_target(vec![wanted("mode", Must::NotBe(vec![json!("open")])), wanted("rule", Must::NotExist)]);
        assert_eq!(ways_of(definition.clone(), TARGET, &[]), [way]);
        assert_eq!(ways_of(definition, TARGET, &["t_key"]), []);
    }

    #[test]
    fn what_must_not_be_is_told_once_for_an_attribute_and_taken_out_of_a_list() {
        let target =
            "resource \"t\" \"a\" {\n  mode = \"open\"\n  names = [\"all\", \"me\"]\n  others = [\"all\"]\n}\n";
        let not = |path: &str, value: &str| attribute("t", path, "not_contains", json!(value));
        let way = |conditions: Value| ways_of(conditions, target, &[])[0].target.clone();
        let mode = wanted("mode", Must::NotBe(vec![json!("open"), json!("shut")]));
        let open = attribute("t", "mode", "not_equals", json!("open"));
        assert_eq!(
            way(json!([open, attribute("t", "mode", "not_within", json!(["shut", "open"]))]))[0].path,
            mode.path
        );
        assert_eq!(way(json!([not("names", "all")])), [wanted("names", be(&[json!(["me"])]))]);
        assert_eq!(way(json!([not("others", "all")])), [wanted("others", Must::NotBe(vec![json!("all")]))]);
        assert_eq!(ways_of(json!([not("names", "you")]), target, &[]), []);
        assert_eq!(
            Must::NotBe(vec![json!("open")]).and(Must::NotBe(vec![json!("shut")])),
            Must::NotBe(vec![json!("open"), json!("shut")])
        );
        assert_eq!(Must::NotBe(vec![json!("x")]).and(be(&[json!("y")])), be(&[json!("y")]));
        // What it is not now, it must not become.
        let both = json!([
            attribute("t", "mode", "not_equals", json!("open")),
            attribute("t", "mode", "not_equals", json!("wide"))
        ]);
        assert_eq!(way(both), [wanted("mode", Must::NotBe(vec![json!("open"), json!("wide")]))]);
    }

    #[test]
    fn what_switches_off_is_no_way() {
        let text = "resource \"t\" \"a\" {\n  name = \"n\"\n}\n";
        let closed = attribute("t", "disabled", "equals", json!(true));
        let graph = json!({ "or": [closed, attribute("t", "mode", "equals", json!("x"))] });
        assert_eq!(ways_of(graph, text, &[]), [on_target(vec![wanted("mode", be(&[json!("x")]))])]);
    }
}
