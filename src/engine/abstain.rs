//! Findings that only a person can decide: told before anything is tried, or by what the answers to them would have to know.
//!
//! In: what the rule says and what running it has shown, the block and its schema. Out: what is needed, in one sentence.

use serde_json::Value;

use crate::outcome::Attempt;
use crate::rules::{Alternatives, Explored, Must, Wish, names_of};
use crate::schema::{self, Usage};
use crate::source::document::Document;
use crate::source::{Block, BlockAddr};

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
        .or_else(|| (!explored.is_settable).then(|| nothing_to_set(wish, block, ty)))
        .or_else(|| wildcards(wish?, &explored.ways, block))
}

/// Where a rule looks at nothing that can be set, as far as anybody but a person can tell.
fn nothing_to_set(wish: Option<&Wish>, block: &Block, ty: &str) -> String {
    match wish.and_then(|wish| documents(wish, block).next()) {
        Some((key, _)) => {
            format!("`{key}` holds what the rule does not want: what of it is needed, only who knows its use can say")
        }
        None if ty.ends_with("_policy_document") => format!(
            "{} holds what the rule does not want: what of it is needed, only who knows its use can say",
            block.addr()
        ),
        None => format!(
            "the rule looks at nothing that an {ty} can be given: whether it may be there at all, or what beside it, is \
             yours to decide"
        ),
    }
}

/// What a refused answer would have had to know.
pub(super) fn unknown(attempt: &Attempt) -> Option<String> {
    let reason = attempt.verdicts.last()?.reasons().first()?;
    Some(format!("what it takes is not in the module, and only you can give it: {}", place(reason)))
}

/// Of what a guardrail says of a made-up value, where it would stand: what was made up is no matter.
fn place(reason: &str) -> String {
    match reason.splitn(3, ": ").collect::<Vec<_>>().as_slice() {
        [addr, path, why] if why.starts_with('"') && !path.contains(' ') => {
            format!("`{path}` of {addr} (a [[value]] of caulk.toml can say it)")
        }
        _ => reason.to_owned(),
    }
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

/// A policy of the block that allows any action, where nothing else is known to do.
fn wildcards(wish: &Wish, ways: &Alternatives, block: &Block) -> Option<String> {
    // What takes the whole of it away is no way to go.
    if ways.iter().any(|way| way.iter().all(|wanted| wanted.must != Must::NotExist || wanted.is_inside())) {
        return None;
    }
    let any = |action: &Value| action.as_str().is_some_and(|action| action == "*" || action.ends_with(":*"));
    let allows_any = |statement: &Value| match &statement["Action"] {
        _ if statement["Effect"] != "Allow" => false,
        Value::Array(actions) => actions.iter().any(any),
        action => any(action),
    };
    let is_open = |document: &Value| document["Statement"].as_array().is_some_and(|all| all.iter().any(allows_any));
    let (key, _) = documents(wish, block).find(|(_, document)| is_open(document))?;
    Some(format!("`{key}` allows any action: which ones are needed, only who knows its use can say"))
}

/// The documents in a block that a rule is about, with their attributes' names.
fn documents<'a>(wish: &Wish, block: &'a Block) -> impl Iterator<Item = (&'a str, Value)> {
    let is_meant = |key: &str| match &wish.graph {
        Some(_) => wish.is_about_actions(),
        None => wish.inspected_key.iter().chain(&wish.source).any(|text| text.contains(key)),
    };
    block.body.attributes().filter(move |attribute| is_meant(&attribute.key)).filter_map(|attribute| {
        let document = Document::parse(attribute.text.as_deref()?)?;
        Some((attribute.key.as_str(), document.value()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Wanted;
    use crate::schema::Schemas;
    use crate::source::{RelPath, SourceFile};
    use serde_json::json;

    #[test]
    fn what_was_made_up_is_not_told() {
        let told = place("aws_lb.a: subnets: \"subnet-1: x\" names what the module does not have; refer to a block");
        assert_eq!(told, "`subnets` of aws_lb.a (a [[value]] of caulk.toml can say it)");
        for other in ["aws_lb.a: policy: an action is new", "10.0.0.0 to 10.0.0.255 are 256 addresses"] {
            assert_eq!(place(other), other);
        }
    }

    fn in_body(ty: &str, body: &str, wish: &Wish, explored: &Explored) -> Option<String> {
        let text = format!("resource \"{ty}\" \"a\" {{\n{body}}}\n");
        let file = SourceFile::parse(RelPath::default(), text.into_bytes()).unwrap();
        let block = file.body().blocks().next().unwrap();
        needed(Some(wish), explored, block, Schemas::embedded().of(&block.addr()).as_ref())
    }

    fn of(ty: &str, wish: &Wish, explored: &Explored) -> Option<String> {
        in_body(ty, "", wish, explored)
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
        let code = Wish { code: true, ..Wish::default() };
        assert!(of("aws_iam_user", &code, &every).unwrap().contains("nothing that an aws_iam_user can be given"));
        let policy = "  policy = jsonencode({ Statement = [{ Effect = \"Allow\", Resource = \"*\" }] })\n";
        let about = Wish { source: Some("conf['policy']".into()), ..code.clone() };
        let needed = in_body("aws_iam_policy", policy, &about, &every).unwrap();
        assert!(needed.contains("`policy` holds what the rule does not want"), "{needed}");
        assert!(in_body("aws_iam_policy", policy, &code, &every).unwrap().contains("nothing that an aws_iam_policy"));
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
    fn which_actions_are_needed_is_for_a_person_where_a_policy_allows_any() {
        let policy = |action: &str| {
            let statement = format!("{{ Effect = \"Allow\", Action = [\"{action}\"], Resource = \"x\" }}");
            format!("  policy = jsonencode({{ Statement = [{statement}] }})\n")
        };
        let ask = |action: &str, wish: &Wish, ways: Alternatives| {
            in_body("aws_iam_policy", &policy(action), wish, &Explored { ways, is_settable: true })
        };
        let code = Wish { code: true, source: Some("conf.get('policy')".into()), ..Wish::default() };
        assert!(ask("s3:*", &code, vec![]).unwrap().contains("`policy` allows any action"));
        let gone = vec![Wanted::new(vec!["policy".into()], Must::NotExist)];
        assert!(ask("*", &code, vec![gone]).is_some());
        assert_eq!(ask("s3:GetObject", &code, vec![]), None);
        assert_eq!(ask("*", &code, vec![vec![Wanted::new(vec!["name".into()], Must::Exist)]]), None, "a way is known");
        assert_eq!(ask("*", &keyed("kms_key_id"), vec![]), None, "it is about something else");
        let graph = |attribute: &str| {
            let leaf = json!({ "cond_type": "attribute", "attribute": attribute, "resource_types": ["t"],
                "operator": "jsonpath_not_equals", "value": "*" });
            Wish { graph: Some(json!({ "and": [leaf] })), ..Wish::default() }
        };
        assert!(ask("*", &graph("policy.Statement[?(@.Effect == Allow)].Action[*]"), vec![]).is_some());
        assert_eq!(ask("*", &graph("policy.Version"), vec![]), None);
    }
}
