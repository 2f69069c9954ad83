//! What prebuilt packages leave open and the providers' documentation tells.
//!
//! In: a schema as its pack has it. Out: the same with the nested blocks of `documented.json` where the pack says no more than
//! that there can be anything: by type and path, in the format of packs. What the documentation has beside these stays open.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Block, NestedBlock, Type};

/// By type, then by path.
static DOCUMENTED: LazyLock<BTreeMap<String, BTreeMap<String, NestedBlock>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("documented.json")).expect("the file is part of the binary"));

/// A type's schema with what is documented of it.
pub fn filled(ty: &str, mut schema: Block) -> Block {
    for (path, nested) in DOCUMENTED.get(ty).into_iter().flatten() {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let around =
            names.into_iter().try_fold(&mut schema, |block, name| Some(&mut block.blocks.get_mut(name)?.block));
        let Some(around) = around else { continue };
        if around.attributes.get(last).is_some_and(|attribute| attribute.ty == Type::Any) {
            around.attributes.remove(last);
            around.blocks.insert(last.to_owned(), nested.clone());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, Schemas, problems, untold};
    use crate::source::{RelPath, SourceFile};

    #[test]
    fn what_is_documented_stands_where_the_packs_leave_it_open() {
        for (ty, paths) in &*DOCUMENTED {
            let (schema, _) = Schemas::embedded().get(Kind::Resource, ty).unwrap();
            for path in paths.keys() {
                let found = path.split('.').try_fold(&schema, |block, name| Some(&block.blocks.get(name)?.block));
                assert!(found.is_some(), "{ty} {path}");
            }
            assert_eq!(schema.open_in_set(), None, "{ty}");
        }
    }

    #[test]
    fn what_is_not_documented_is_no_problem_and_told() {
        let (schema, _) = Schemas::embedded().get(Kind::Resource, "aws_wafv2_web_acl").unwrap();
        let group = |more: &str| {
            format!("managed_rule_group_statement {{\n  name = \"a\"\n  vendor_name = \"AWS\"\n{more}}}\n")
        };
        let seen = |statement: &str| {
            let metrics = "visibility_config {\n  cloudwatch_metrics_enabled = true\n  metric_name = \"a\"\n  \
                           sampled_requests_enabled = true\n}\n";
            let rule = format!("rule {{\n  name = \"a\"\n  priority = 1\n  statement {{\n{statement}}}\n{metrics}}}\n");
            let text = format!("scope = \"REGIONAL\"\ndefault_action {{\n  allow {{}}\n}}\n{rule}{metrics}");
            let file = SourceFile::parse(RelPath::default(), text.into_bytes()).unwrap();
            (problems(file.body(), &schema), untold(file.body(), &schema))
        };
        assert_eq!(seen(&group("")), (Vec::new(), None));
        let scoped = seen(&group("scope_down_statement {\n}\n"));
        assert_eq!(scoped.0, Vec::<String>::new());
        assert_eq!(scoped.1.unwrap(), "rule.statement.managed_rule_group_statement.scope_down_statement");
        let made_up = seen(&group("").replace("vendor_name", "vendor"));
        assert_eq!(made_up.0, ["rule.statement.managed_rule_group_statement.vendor_name: must be set"]);
    }
}
