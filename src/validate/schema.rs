//! The schema gate: what a fix writes is what the provider knows.

use std::collections::BTreeSet;

use crate::outcome::Judgement;
use crate::schema::{self, Kind, Schemas, nearest};
use crate::source::{Block, BlockAddr, SourceTree, uses};

use super::guard::Change;

/// Judges the target and the companions. What was wrong with the target before is not the fix's fault.
pub(super) fn judge(schemas: &Schemas, change: &Change<'_>) -> Judgement {
    let dir = change.file.parent();
    let mut found = Found::default();
    for addr in change.companions.iter().chain([change.target]) {
        let find = |tree: &SourceTree| tree.find(&dir, addr).map(|(_, block)| block.clone());
        let Some(after) = find(change.after) else { continue };
        let mut before = Found::default();
        if let Some(block) = find(change.before).filter(|_| addr == change.target) {
            before.look(schemas, addr, &block);
        }
        let mut now = Found::default();
        now.look(schemas, addr, &after);
        // As often as a thing was wrong before, it may be wrong still.
        for problem in now.problems {
            match before.problems.iter().position(|known| *known == problem) {
                Some(known) => drop(before.problems.swap_remove(known)),
                None if found.problems.contains(&problem) => {}
                None => found.problems.push(problem),
            }
        }
        found.unknown.extend(now.unknown);
        found.packs.extend(now.packs);
    }
    if !found.problems.is_empty() {
        return Judgement::Reject { reasons: found.problems };
    }
    if !found.unknown.is_empty() {
        return Judgement::Unavailable { why: found.unknown.into_iter().collect::<Vec<_>>().join("; ") };
    }
    let note = found.packs.into_iter().collect::<Vec<_>>().join(", ");
    Judgement::Pass { note: (!note.is_empty()).then_some(note) }
}

#[derive(Default)]
struct Found {
    problems: Vec<String>,
    /// Of what there is no schema, and why.
    unknown: BTreeSet<String>,
    /// The packs that were asked.
    packs: BTreeSet<String>,
}

impl Found {
    fn look(&mut self, schemas: &Schemas, addr: &BlockAddr, block: &Block) {
        if let (Some(kind), Some(ty)) = (Kind::of(&addr.keyword), addr.labels.first()) {
            match schemas.get(kind, ty) {
                Some((schema, pack)) => {
                    let problems = schema::problems(&block.body, &schema);
                    self.problems.extend(problems.into_iter().map(|problem| format!("{addr}: {problem}")));
                    self.unknown.extend(schemas.why_ahead(ty));
                    self.packs.extend(pack.head().map(|head| format!("{} {}", head.provider, head.version)));
                }
                None => drop(self.unknown.insert(schemas.why_none(ty))),
            }
        } else if addr.keyword == "module" {
            self.unknown.insert(format!("what {addr} takes is not in a schema"));
        }
        for (of, attribute) in uses(block) {
            let Some(attribute) = attribute else { continue };
            let Some((kind, ty)) = Kind::of(&of.keyword).zip(of.labels.first()) else { continue };
            let Some((schema, _)) = schemas.get(kind, ty) else { continue };
            let mut names = schema.attributes.keys().chain(schema.blocks.keys()).map(String::as_str);
            if names.clone().any(|name| name == attribute) {
                continue;
            }
            let near =
                nearest(&attribute, &mut names).map_or(String::new(), |near| format!("; the nearest is `{near}`"));
            self.problems.push(format!("{addr}: {of}.{attribute}: {ty} has no such attribute{near}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::tree;
    use super::*;
    use crate::knowledge::Knowledge;
    use crate::source::RelPath;

    const BEFORE: &str = "resource \"aws_sqs_queue\" \"q\" {\n  nonsense = 1\n}\n";

    fn judged(after: &str, companions: &[BlockAddr]) -> Judgement {
        let file = RelPath::new("main.tf").unwrap();
        let target = BlockAddr::resource("aws_sqs_queue", "q");
        let (before, after) = (tree(BEFORE), tree(after));
        let knowledge = Knowledge::default();
        let change = Change {
            scanned: &before,
            before: &before,
            after: &after,
            file: &file,
            target: &target,
            companions,
            inspected: None,
            knowledge: &knowledge,
        };
        judge(&Schemas::embedded(), &change)
    }

    fn with(line: &str) -> String {
        BEFORE.replace("  nonsense = 1\n", &format!("  nonsense = 1\n  {line}\n"))
    }

    #[test]
    fn only_what_the_fix_brings_is_judged() {
        let judgement = judged(&with("sqs_managed_sse_enabled = true"), &[]);
        assert!(
            matches!(&judgement, Judgement::Pass { note: Some(note) } if note.starts_with("hashicorp/aws 6.")),
            "{judgement:?}"
        );
        let Judgement::Reject { reasons } = judged(&with("sse_enabled = true"), &[]) else { panic!("passed") };
        assert!(reasons.len() == 1 && reasons[0].contains("aws_sqs_queue.q: sse_enabled"), "{reasons:?}");
    }

    #[test]
    fn companions_and_what_is_taken_of_blocks_are_judged() {
        let key = BlockAddr::resource("aws_kms_key", "q");
        let text = with("kms_master_key_id = aws_kms_key.q.key_arn")
            + "resource \"aws_kms_key\" \"q\" {\n  rotate = true\n}\n";
        let Judgement::Reject { reasons } = judged(&text, &[key]) else { panic!("passed") };
        assert!(reasons[0].contains("aws_kms_key.q: rotate"), "{reasons:?}");
        assert!(reasons[1].contains("aws_kms_key.q.key_arn: aws_kms_key has no such attribute"), "{reasons:?}");
    }

    #[test]
    fn a_type_without_a_schema_cannot_be_judged() {
        let other = BlockAddr::resource("acme_thing", "q");
        let judgement = judged(&(with("") + "resource \"acme_thing\" \"q\" {\n}\n"), &[other]);
        assert!(matches!(&judgement, Judgement::Unavailable { why } if why.contains("acme_thing")), "{judgement:?}");
    }
}
