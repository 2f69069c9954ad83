//! Findings that only a person can decide: told before anything is tried, or by what the answers to them would have to know.
//!
//! In: what the rule says and what running it has shown, the block and its schema. Out: what is needed, in one sentence.

use crate::outcome::Attempt;
use crate::rules::{Alternatives, At, Explored, Must, Wanted, Wish, names_of};
use crate::schema::{self, Usage};
use crate::source::document::Step;
use crate::source::{Block, BlockAddr};

/// What nobody but a person can say of a policy.
const WHICH: &str = "which actions are needed, only who knows its use can say";

/// What a person has to decide; `None` where it may be worth trying. `schema` is the provider's own.
pub(super) fn needed(
    wish: Option<&Wish>,
    explored: &Explored,
    block: &Block,
    schema: Option<&schema::Block>,
) -> Option<String> {
    let (addr, schema) = (block.addr(), schema?);
    let ty = addr.resource_type()?;
    key(wish, &addr, ty, schema)
        .or_else(|| wish.and_then(actions))
        .or_else(|| {
            (!explored.is_settable)
                .then(|| format!("the rule fails on every {ty}: whether it may be there at all is yours to decide"))
        })
        .or_else(|| wildcards(&explored.ways))
}

/// A rule whose conditions are about which actions are allowed.
fn actions(wish: &Wish) -> Option<String> {
    wish.is_about_actions().then(|| format!("a policy allows more than the rule wants: {WHICH}"))
}

/// What a refused answer would have had to know.
pub(super) fn unknown(attempt: &Attempt) -> Option<String> {
    let reason = attempt.verdicts.last()?.reasons().first()?;
    Some(format!("what it takes is not in the module, and only you can give it: {reason}"))
}

/// A key that nobody can set, or that must be there though the rule forbids it.
fn key(wish: Option<&Wish>, addr: &BlockAddr, ty: &str, schema: &schema::Block) -> Option<String> {
    let wish = wish.filter(|wish| wish.graph.is_none() && !wish.code)?;
    let path = names_of(wish.key_for(ty)?);
    let (name, outer) = path.split_last()?;
    let inner = outer.iter().try_fold(schema, |block, name| Some(&block.blocks.get(name)?.block))?;
    match inner.attributes.get(name)?.usage {
        Usage::Computed => Some(format!(
            "the provider sets `{}` of an {ty} by what it is made from: that has to change",
            path.join(".")
        )),
        Usage::Required if wish.forbid_any => Some(format!(
            "the rule forbids `{}`, which every {ty} must have: whether {addr} may be there at all is yours to decide",
            path.join(".")
        )),
        _ => None,
    }
}

/// Statements that allow anything, where that alone is what fails.
fn wildcards(ways: &Alternatives) -> Option<String> {
    let is_action = |wanted: &Wanted| matches!(&wanted.at, At::Inside(steps) if steps.iter().any(|step| matches!(step, Step::Key(key) if key == "Action")));
    // What takes the whole of it away is no way to go.
    let mut open = ways.iter().filter(|way| !way.iter().any(|wanted| wanted.must == Must::NotExist)).peekable();
    let name = open.peek()?.iter().find(|wanted| is_action(wanted))?.path.join(".");
    open.all(|way| way.iter().any(is_action)).then(|| format!("`{name}` allows any action: {WHICH}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schemas;
    use crate::source::{RelPath, SourceFile};

    fn of(ty: &str, wish: &Wish, explored: &Explored) -> Option<String> {
        let text = format!("resource \"{ty}\" \"a\" {{\n}}\n");
        let file = SourceFile::parse(RelPath::default(), text.into_bytes()).unwrap();
        let block = file.body().blocks().next().unwrap();
        needed(Some(wish), explored, block, Schemas::embedded().of(&block.addr()).as_ref())
    }

    fn keyed(key: &str) -> Wish {
        Wish { inspected_key: Some(key.into()), ..Wish::default() }
    }

    #[test]
    fn what_nobody_can_set_is_for_a_person() {
        let nothing = Explored::nothing();
        let snapshot = of("aws_neptune_cluster_snapshot", &keyed("storage_encrypted"), &nothing).unwrap();
        assert!(snapshot.starts_with("the provider sets `storage_encrypted`"), "{snapshot}");
        let user = Wish { forbid_any: true, ..keyed("user") };
        let forbidden = of("aws_iam_user_policy", &user, &nothing).unwrap();
        assert!(forbidden.contains("which every aws_iam_user_policy must have"), "{forbidden}");
        let every = Explored { is_settable: false, ..Explored::nothing() };
        assert!(
            of("aws_iam_user", &Wish { code: true, ..Wish::default() }, &every)
                .unwrap()
                .contains("fails on every aws_iam_user")
        );
    }

    #[test]
    fn what_may_be_set_is_tried() {
        let nothing = Explored::nothing();
        assert_eq!(of("aws_iam_user_policy", &keyed("user"), &nothing), None);
        assert_eq!(of("aws_sns_topic", &keyed("kms_master_key_id"), &nothing), None);
        let every = Explored { is_settable: false, ..Explored::nothing() };
        assert_eq!(of("made_up_type", &Wish::default(), &every), None, "there is no schema of it");
    }

    #[test]
    fn conditions_on_actions_are_for_a_person() {
        let graph = |attribute: &str| {
            let leaf = serde_json::json!({ "cond_type": "attribute", "attribute": attribute, "resource_types": ["t"],
                "operator": "jsonpath_not_equals", "value": "*" });
            Wish { graph: Some(serde_json::json!({ "and": [leaf] })), ..Wish::default() }
        };
        assert!(actions(&graph("policy.Statement[?(@.Effect == Allow)].Action[*]")).is_some());
        assert!(actions(&graph("statement.actions[*]")).is_some());
        assert!(actions(&graph("policy.Version")).is_none());
    }

    #[test]
    fn which_actions_are_needed_is_for_a_person_where_that_alone_fails() {
        let inside = |key: &str| Wanted {
            path: vec!["policy".into()],
            at: At::Inside(vec![Step::Key("Statement".into()), Step::Position(0), Step::Key(key.into())]),
            must: Must::Exist,
        };
        let explored = |ways: Alternatives| Explored { ways, is_settable: true };
        let gone = vec![Wanted::new(vec!["policy".into()], Must::NotExist)];
        let ask = |ways| of("aws_sqs_queue_policy", &Wish { code: true, ..Wish::default() }, &explored(ways));
        assert!(ask(vec![gone, vec![inside("Action")]]).unwrap().contains("`policy` allows any action"));
        assert_eq!(ask(vec![vec![inside("Action")], vec![inside("Principal")]]), None);
        assert_eq!(ask(vec![]), None);
    }
}
