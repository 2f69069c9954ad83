//! Answers that name new blocks without declaring them, and the language of what may follow such an answer.
//!
//! A model that writes `kms_key_id = aws_kms_key.data.arn` and ends there has said what it wants, not how. The answer is
//! kept and gone on with: the header of each missing block is forced, and the model writes its body.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::source::{Block, BlockAddr, RelPath, SourceFile, references};

use super::{Grammar, hcl};

impl Grammar {
    /// The language of answers that begin with `answer`, a sentence of this one, and declare what it names beside what the
    /// module has. `None` when nothing is missing.
    pub fn going_on(&self, answer: &str) -> Option<Grammar> {
        let missing = undeclared(answer, &self.declared);
        if missing.is_empty() {
            return None;
        }
        let mut lark = format!("start: {}", hcl::quote(answer));
        for block in &missing {
            let _ = write!(lark, " {}", hcl::companion(block));
        }
        lark.push_str(" companion*\n");
        lark.push_str(&self.rules);
        Some(Grammar { lark, ..self.clone() })
    }
}

/// The resources and data sources that an answer names and that neither it nor the module declares, in order of the first
/// mention.
fn undeclared(answer: &str, declared: &BTreeSet<BlockAddr>) -> Vec<BlockAddr> {
    let Ok(file) = SourceFile::parse(RelPath::default(), answer.as_bytes().to_vec()) else { return Vec::new() };
    let own: BTreeSet<BlockAddr> = file.body().blocks().map(Block::addr).collect();
    let mut seen = BTreeSet::new();
    let named = file.body().blocks().flat_map(references);
    named
        .filter(|addr| matches!(addr.keyword.as_str(), "resource" | "data"))
        .filter(|addr| !declared.contains(addr) && !own.contains(addr) && seen.insert(addr.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, Shapes, compile};
    use super::*;

    fn grammar() -> Grammar {
        let target = BlockAddr::resource("aws_sns_topic", "orders");
        let declared = BTreeSet::from([target.clone(), BlockAddr::resource("aws_kms_key", "main")]);
        let companion_types = ["aws_kms_key", "aws_iam_role"].map(String::from).into();
        let shapes = Shapes::default();
        let scope = Scope {
            target: &target,
            declared: &declared,
            companion_types: &companion_types,
            repetition: None,
            shapes: &shapes,
        };
        compile(&scope).unwrap()
    }

    fn topic(items: &str) -> String {
        format!("resource \"aws_sns_topic\" \"orders\" {{\n{items}}}")
    }

    const KEY: &str = "\n\nresource \"aws_kms_key\" \"orders\" {\n  enable_key_rotation = true\n}";

    #[test]
    fn an_answer_that_declares_what_it_names_is_whole() {
        for whole in [
            topic("  kms_master_key_id = \"alias/aws/sns\"\n"),
            topic("  kms_master_key_id = aws_kms_key.main.id\n"),
            topic("  name = aws_sns_topic.orders.id\n"),
            topic("  kms_master_key_id = aws_kms_key.orders.id\n") + KEY,
        ] {
            assert!(grammar().accepts(&whole).unwrap(), "{whole}");
            assert_eq!(grammar().going_on(&whole), None, "{whole}");
        }
    }

    #[test]
    fn what_it_names_must_follow_in_the_order_of_the_names() {
        let answer = topic(
            "  kms_master_key_id = aws_kms_key.orders.id\n  tags = {\n    A = \"${aws_iam_role.orders.id}\"\n  }\n",
        );
        assert!(grammar().accepts(&answer).unwrap());
        let more = grammar().going_on(&answer).unwrap();
        let role = "\n\nresource \"aws_iam_role\" \"orders\" {\n  name = \"orders\"\n}";
        assert!(more.accepts(&format!("{answer}{KEY}{role}")).unwrap());
        for not in [answer.clone(), format!("{answer}{KEY}"), format!("{answer}{role}{KEY}"), topic("") + KEY + role] {
            assert!(!more.accepts(&not).unwrap(), "{not}");
        }
        assert!(grammar().accepts(&format!("{answer}{KEY}{role}")).unwrap(), "it is an answer as any other");
    }

    #[test]
    fn what_a_companion_names_must_follow_too() {
        let policy = "  policy = data.aws_iam_policy_document.orders.json\n";
        let first = topic("  kms_master_key_id = aws_kms_key.orders.id\n");
        let second = format!("{first}{}", KEY.replace("  enable", &format!("{policy}  enable")));
        assert!(grammar().going_on(&first).unwrap().accepts(&second).unwrap());
        let third = format!("{second}\n\ndata \"aws_iam_policy_document\" \"orders\" {{}}");
        let more = grammar().going_on(&second).unwrap();
        assert!(more.accepts(&third).unwrap());
        assert!(!more.accepts(&second).unwrap());
        assert_eq!(more.going_on(&third), None);
    }
}
