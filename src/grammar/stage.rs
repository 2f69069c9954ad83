//! The language of an answer, stage by stage: one for each block, as what a body may hold depends on the block's type.
//!
//! The first stage is the target's override. It ends behind the override, or behind the header of a new block; the next
//! stage is what has been written, then that block's body. An answer that ends but names a block which neither it nor the
//! module declares is gone on with too: that block's header is forced. So a whole answer declares what it names.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::schema::{self, Kind, Schemas};
use crate::source::{Block, BlockAddr, Body, RelPath, SourceFile, references};

use super::companions::{Followers, New};
use super::names::Names;
use super::references::References;
use super::typed::{Typed, Wanted};
use super::{Grammar, Shapes, hcl, provider_of};

/// What stays the same over the stages of an answer.
#[derive(Debug)]
pub(super) struct Context {
    pub target: BlockAddr,
    /// The target's body as it stands.
    pub body: Body,
    /// What the module declares.
    pub names: Names,
    pub schemas: Schemas,
    /// Resource types that companions may have.
    pub types: BTreeSet<String>,
    pub wanted: Option<Wanted>,
    pub shapes: Shapes,
}

impl Context {
    fn schema_of(&self, block: &BlockAddr) -> Option<(schema::Block, &schema::Pack)> {
        self.schemas.get(Kind::of(&block.keyword)?, block.labels.first()?)
    }

    fn new_blocks(&self) -> New<'_> {
        let name = self.target.labels.last().map_or("this", String::as_str);
        New { types: &self.types, provider: self.target.resource_type().map(provider_of), name }
    }
}

/// The first stage: the override.
pub(super) fn first(context: Arc<Context>) -> Grammar {
    let target = context.target.clone();
    let header = hcl::quote(&format!("{}\n", opening(&target)));
    let lark = stage(&context, &context.names, &target, false, |body, after| {
        let added = if after.any { format!("\n  | {header} \"}}\" added") } else { String::new() };
        format!("start: {header} {body} \"}}\"{}{added}\n", maybe(after.any, "added"))
    });
    Grammar { lark, context }
}

impl Grammar {
    /// The language of overrides that do what the rule says of an attribute and nothing else; where the rule leaves one
    /// value, that is one sentence. `None` where the rule says nothing of an attribute that the type has.
    pub fn narrow(&self) -> Option<Grammar> {
        let context = self.context.clone();
        let wanted = context.wanted.as_ref()?;
        let (schema, _) = context.schema_of(&context.target)?;
        if !wanted.is_of(&schema) {
            return None;
        }
        let header = hcl::quote(&format!("{}\n", opening(&context.target)));
        let lark = stage(&context, &context.names, &context.target, true, |body, after| {
            // A value that is given needs nothing beside it.
            format!("start: {header} {body} \"}}\"{}\n", maybe(after.any && wanted.values.is_empty(), "added"))
        });
        Some(Grammar { lark, context })
    }

    /// The stage after one in which `written` was written; `None` when that is a whole answer.
    pub fn next(&self, written: &str) -> Option<Grammar> {
        let context = self.context.clone();
        let open = written.ends_with("{\n");
        let text = if open { format!("{written}}}") } else { written.to_owned() };
        let file = SourceFile::parse(RelPath::default(), text.into_bytes()).ok()?;
        let blocks: Vec<&Block> = file.body().blocks().collect();
        let mut names = context.names.clone();
        blocks.iter().for_each(|block| names.add(block));
        let (prefix, block) = match blocks.last() {
            Some(last) if open => (written.to_owned(), last.addr()),
            _ => {
                let missing = undeclared(&blocks, &names)?;
                let end = if New::needs_no_body(&missing) { "}" } else { "\n" };
                let prefix = format!("{written}\n\n{}{end}", opening(&missing));
                names.add_new(&missing);
                (prefix, missing)
            }
        };
        let whole = prefix.ends_with('}');
        let prefix = hcl::quote(&prefix);
        let lark = stage(&context, &names, &block, false, |body, after| match whole {
            // One data source without arguments in a stage: the same text is then cut into the same stages again.
            true => format!("start: {prefix}{}\n", maybe(after.header, "header")),
            false => format!("start: {prefix} {body} \"}}\"{}\n", maybe(after.any, "added")),
        });
        Some(Grammar { lark, context })
    }
}

/// The text of one stage: how it starts, the block's body, what may follow it.
fn stage(
    context: &Context,
    names: &Names,
    block: &BlockAddr,
    narrow: bool,
    start: impl Fn(&str, &Followers) -> String,
) -> String {
    let new = context.new_blocks();
    let references = References::new(names, &context.schemas, block, &new);
    let schema = context.schema_of(block);
    let (body, rules) = match &schema {
        Some((schema, _)) => {
            let mut typed = Typed::new(&references, block.keyword == "resource");
            let body = match *block == context.target {
                true => typed.over(schema, &context.body, context.wanted.as_ref(), narrow),
                false => typed.whole(schema),
            };
            (body, typed.finish())
        }
        None => ("body1".to_owned(), hcl::bodies(&context.shapes, &references)),
    };
    let after = new.followers(names);
    let mut lark = start(&body, &after);
    lark.push_str(&after.rules);
    lark.push_str(&references.lark());
    lark.push_str(&rules);
    lark
}

/// A rule that may be left out, or nothing.
fn maybe(there: bool, rule: &str) -> String {
    if there { format!(" {rule}?") } else { String::new() }
}

/// A block's header up to its brace.
fn opening(block: &BlockAddr) -> String {
    let labels: String = block.labels.iter().map(|label| format!(" \"{label}\"")).collect();
    format!("{}{labels} {{", block.keyword)
}

/// The first resource or data source that an answer names and that neither it nor the module declares.
fn undeclared(blocks: &[&Block], names: &Names) -> Option<BlockAddr> {
    let named = blocks.iter().flat_map(|block| references(block));
    let mut blocks = named.filter(|addr| matches!(addr.keyword.as_str(), "resource" | "data"));
    blocks.find(|addr| !names.declare(addr))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepts, grammar_for};
    use super::*;

    fn topic(items: &str) -> String {
        format!("resource \"aws_sns_topic\" \"orders\" {{\n{items}}}")
    }

    fn grammar() -> Grammar {
        grammar_for(
            &BlockAddr::resource("aws_sns_topic", "orders"),
            "resource \"aws_sns_topic\" \"orders\" {\n}\nresource \"aws_kms_key\" \"main\" {\n}\n",
        )
    }

    const KEY: &str = "\n\nresource \"aws_kms_key\" \"orders\" {\n  enable_key_rotation = true\n}";

    #[test]
    fn an_answer_that_declares_what_it_names_is_whole() {
        for whole in [
            topic("  kms_master_key_id = \"alias/aws/sns\"\n"),
            topic("  kms_master_key_id = aws_kms_key.main.id\n"),
            topic("  kms_master_key_id = aws_kms_key.orders.id\n") + KEY,
        ] {
            assert!(accepts(&grammar(), &whole), "{whole}");
            assert!(grammar().next(&whole).is_none(), "{whole}");
        }
    }

    #[test]
    fn what_it_names_must_follow() {
        let answer = topic("  kms_master_key_id = aws_kms_key.orders.id\n");
        assert!(!accepts(&grammar(), &answer));
        assert!(accepts(&grammar(), &format!("{answer}{KEY}")));
        let more = grammar().next(&answer).unwrap();
        assert!(
            more.lark().starts_with("start: \"resource \\\"aws_sns_topic\\\" \\\"orders\\\" {\\n"),
            "{}",
            more.lark()
        );
        assert!(accepts(&more, &format!("{answer}{KEY}")));
        assert!(!accepts(&more, &answer));
    }

    #[test]
    fn what_a_companion_names_must_follow_too() {
        let first = topic("  kms_master_key_id = aws_kms_key.orders.id\n");
        let policy = "  policy = data.aws_iam_policy_document.orders.json\n";
        let second = format!("{first}{}", KEY.replace("  enable", &format!("{policy}  enable")));
        assert!(!accepts(&grammar(), &second));
        let document =
            "\n\ndata \"aws_iam_policy_document\" \"orders\" {\n  statement {\n    actions = [\"kms:*\"]\n  }\n}";
        assert!(accepts(&grammar(), &format!("{second}{document}")));
        let account = "  name = data.aws_caller_identity.current.account_id\n";
        assert!(accepts(&grammar(), &format!("{}\n\ndata \"aws_caller_identity\" \"current\" {{}}", topic(account))));
    }

    #[test]
    fn what_leads_back_to_a_block_cannot_be_named_in_it() {
        let own = topic("  name = aws_sns_topic.orders.arn\n");
        assert!(!accepts(&grammar(), &own));
        let back = KEY.replace("  enable", "  description = aws_sns_topic.orders.arn\n  enable");
        assert!(!accepts(&grammar(), &(topic("  kms_master_key_id = aws_kms_key.orders.id\n") + &back)));
        assert!(accepts(&grammar(), &(topic("  name = \"x\"\n") + &back)));
    }
}
