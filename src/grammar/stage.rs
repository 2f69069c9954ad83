//! The language of an answer, stage by stage: one for each block, as what a body may hold depends on the block's type.
//!
//! The first stage is the target's override. It ends behind the override, or behind the header of a new block; the next
//! stage is what has been written, then that block's body. An answer that ends but names a block which neither it nor the
//! module declares is gone on with too: that block's header is forced. So a whole answer declares what it names.
//!
//! Answers can be held to one of the ways to satisfy the rule (`ways.rs`): the blocks that it asks for follow the override.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::knowledge::Knowledge;
use crate::rules::{At, Companion, House, Must, Wanted, Way};
use crate::schema::{self, Schemas};
use crate::source::{Block, BlockAddr, Body, RelPath, SourceFile, references};

use super::companions::{Followers, New, leading_from_inside, leading_to, linkable};
use super::fit;
use super::names::Names;
use super::references::References;
use super::secrets;
use super::typed::Typed;
use super::used::only_used;
use super::{Asked, Going, Grammar, Shapes, hcl, hollow, provider_of};

/// Found ways that an answer may choose from, at most.
const FOUND: usize = 4;

/// What stays the same over the stages of an answer.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub target: BlockAddr,
    /// The target's body as it stands.
    pub body: Body,
    /// What the module declares.
    pub names: Names,
    pub schemas: Schemas,
    /// Resource types that companions may have.
    pub types: BTreeSet<String>,
    pub ways: Vec<Way>,
    /// Ways that running the rule has found, of which an answer may go any.
    pub found: Vec<Way>,
    /// What new blocks must hold.
    pub house: Arc<House>,
    /// What people know.
    pub knowledge: Arc<Knowledge>,
    pub shapes: Shapes,
    /// What the target's type may consist of, where there is no schema.
    pub supposed: Option<schema::Block>,
}

impl Context {
    fn schema_of(&self, block: &BlockAddr) -> Option<schema::Block> {
        let body = (*block == self.target).then_some(&self.body);
        Some(fit::with_blocks(self.schemas.of(block)?, body.as_slice()))
    }

    /// The same, and of the target what is supposed where there is no schema.
    pub(super) fn schema_or_supposed(&self, block: &BlockAddr) -> Option<schema::Block> {
        let supposed = self.supposed.as_ref().filter(|_| *block == self.target);
        self.schema_of(block).or_else(|| supposed.cloned())
    }

    /// With the ways that can be written with what the schemas have. Of others nothing is known, so they hold to nothing.
    pub(super) fn with_ways_that_fit(self) -> Self {
        let references = References::new(&self.names, &self.schemas, &self.target, &self.new_blocks());
        let fitting = |way: &Way| {
            let schema = self.schema_or_supposed(&self.target)?;
            let ty = self.target.resource_type().unwrap_or_default();
            let target = hollow::filled(&way.target, ty, &self.body, &schema, &self.knowledge);
            let target = fit_all(&target, &schema)?;
            self.fit_inside(&target, &references).then_some(())?;
            let companion = |companion: &Companion| {
                let addr = self.new_blocks().name_for(&self.names, &companion.ty)?;
                let schema = self.schema_of(&addr).filter(|_| self.types.contains(&companion.ty))?;
                Some(Companion { wanted: fit_all(&companion.wanted, &schema)?, ..companion.clone() })
            };
            let companions = way.companions.iter().map(companion).collect::<Option<Vec<_>>>()?;
            Some(Way { target, companions, instead: None, is_beside: way.is_beside })
        };
        let ways = self.ways.iter().filter_map(fitting).collect();
        let mut found: Vec<Way> = Vec::new();
        for way in self.found.iter().filter_map(fitting) {
            if !found.contains(&way) {
                found.push(way);
            }
        }
        found.truncate(FOUND);
        Self { ways, found, ..self }
    }

    /// Whether what is wanted inside of documents can be written there.
    fn fit_inside(&self, target: &[Wanted], references: &References) -> bool {
        let of = |name: &[String]| target.iter().filter(|w| w.is_inside() && w.path == name).collect::<Vec<_>>();
        target.iter().filter(|wanted| wanted.is_inside()).all(|wanted| {
            let attribute = wanted.path.first().and_then(|name| self.body.attribute(name));
            attribute.is_some_and(|it| Typed::new(references).document(it, &of(&wanted.path)).is_some())
        })
    }

    /// What no override may write otherwise: what the only way wants.
    fn wanted(&self) -> Vec<Wanted> {
        let found: Vec<&Way> = self.found.iter().filter(|way| !way.is_beside).collect();
        match (self.ways.iter().collect::<Vec<_>>().as_slice(), found.as_slice()) {
            ([only], []) | ([], [only]) => only.target.iter().filter(|wanted| wanted.at == At::All).cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// What the target names as it stands.
    fn named(&self) -> Vec<BlockAddr> {
        let BlockAddr { keyword, labels } = self.target.clone();
        references(&Block { keyword, labels, span: self.body.span.clone(), body: self.body.clone() })
    }

    /// The paths into a block that lead to another one by their names, where none of its own attributes does.
    pub(super) fn leading_from_inside(&self, block: &BlockAddr, to: &BlockAddr) -> Vec<Vec<String>> {
        let (Some(schema), Some(ty)) = (self.schema_of(block), to.resource_type()) else { return Vec::new() };
        let body = (*block == self.target).then_some(&self.body);
        if leading_to(&schema, ty).is_empty() { leading_from_inside(&schema, ty, body) } else { Vec::new() }
    }

    /// The attributes of a block that lead to another one by their names.
    pub(super) fn leading(&self, block: &BlockAddr, to: &BlockAddr) -> Vec<String> {
        let (Some(schema), Some(ty)) = (self.schema_of(block), to.resource_type()) else { return Vec::new() };
        leading_to(&schema, ty).into_iter().map(str::to_owned).collect()
    }

    /// The connection that a new block has to make: with the block that it is told to, or with those that are written,
    /// unless one of these names it.
    fn links(&self, addr: &BlockAddr, to: Option<&BlockAddr>, written: &[&Block]) -> Links {
        if written.iter().any(|block| references(block).contains(addr)) {
            return Links::default();
        }
        let resources = written.iter().map(|block| block.addr()).filter(|block| block.keyword == "resource");
        let to: Vec<BlockAddr> = to.map_or_else(|| resources.collect(), |to| vec![to.clone()]);
        let from = to.iter().flat_map(|to| self.leading(addr, to)).collect();
        let inside = to.iter().flat_map(|to| self.leading_from_inside(addr, to)).next();
        Links { to, from, inside }
    }

    /// The next block that must stand beside one of the new ones, with the one that it is to be connected to.
    fn beside(&self, blocks: &[&Block]) -> Option<(BlockAddr, BlockAddr, &Companion)> {
        let new = blocks.iter().map(|block| block.addr()).filter(|addr| *addr != self.target);
        let wanted = new.filter_map(|to| Some((to.clone(), self.house.beside(to.resource_type()?))));
        let mut missing = wanted.flat_map(|(to, companions)| companions.iter().map(move |it| (to.clone(), it)));
        missing.find_map(|(to, companion)| {
            let addr = self.new_blocks().name_for(&self.names, &companion.ty)?;
            let is_written = blocks.iter().any(|block| block.addr() == addr);
            let leads = !self.leading(&addr, &to).is_empty() || !self.leading_from_inside(&addr, &to).is_empty();
            (!is_written && leads && self.types.contains(&companion.ty)).then_some((addr, to, companion))
        })
    }

    pub(super) fn new_blocks(&self) -> New<'_> {
        let name = self.target.labels.last().map_or("this", String::as_str);
        New { types: &self.types, provider: self.target.resource_type().map(provider_of), name }
    }
}

pub(super) fn fit_all(wanted: &[Wanted], schema: &schema::Block) -> Option<Vec<Wanted>> {
    wanted.iter().map(|wanted| fit::fit(wanted, schema)).collect()
}

/// The first stage: the override.
pub(super) fn first(context: Arc<Context>) -> Grammar {
    let target = context.target.clone();
    let header = hcl::quote(&format!("{}\n", opening(&target)));
    let lark = stage(&context, &context.names, &target, &Held::ToNothing, |body, after| {
        let added = if after.any { format!("\n  | {header} \"}}\" added") } else { String::new() };
        format!("start: {header} {body} \"}}\"{}{added}\n", maybe(after.any, "added"))
    });
    Grammar { lark, context, held: Going::Freely }
}

impl Grammar {
    /// The stage after one in which `written` was written; `None` when that is a whole answer.
    pub fn next(&self, written: &str) -> Option<Grammar> {
        let context = self.context.clone();
        let open = written.ends_with("{\n");
        let text = if open { format!("{written}}}") } else { written.to_owned() };
        let file = SourceFile::parse(RelPath::default(), text.into_bytes()).ok()?;
        let blocks: Vec<&Block> = file.body().blocks().collect();
        let mut names = context.names.clone();
        blocks.iter().for_each(|block| names.add(block));
        // What has a way to go needs nothing beside what is asked for and named.
        let free = self.held == Going::Freely;
        let mut held = Held::ToNothing;
        let asked = self.asked(&blocks);
        let (prefix, block) = match (blocks.last(), &asked) {
            (Some(last), _) if open => (written.to_owned(), last.addr()),
            (_, Some((addr, companion))) => {
                let links = context.links(addr, companion.to.as_ref(), &blocks);
                let is_narrow = matches!(self.held, Going::Way(_, Asked::Narrowly));
                held = Held::ToWhatIsAsked(&companion.wanted, links, is_narrow);
                names.add_new(addr);
                (format!("{written}\n\n{}\n", opening(addr)), addr.clone())
            }
            _ if undeclared(&blocks, &names, &context.named()).is_none() => {
                let (addr, to, companion) = context.beside(&blocks)?;
                let links = context.links(&addr, Some(&to), &blocks);
                held = Held::ToWhatIsAsked(&companion.wanted, links, true);
                names.add_new(&addr);
                (format!("{written}\n\n{}\n", opening(&addr)), addr)
            }
            _ => {
                let missing = undeclared(&blocks, &names, &context.named())?;
                if missing.keyword == "variable" {
                    let whole = format!("{written}\n\n{}", secrets::variable(&missing, &blocks));
                    let lark = format!("start: {}\n", hcl::quote(&whole));
                    return Some(Grammar { lark, context, held: self.held });
                }
                let end = if New::needs_no_body(&missing) { "}" } else { "\n" };
                let prefix = format!("{written}\n\n{}{end}", opening(&missing));
                names.add_new(&missing);
                if !free && missing.keyword == "resource" {
                    let naming = blocks.iter().filter(|block| references(block).contains(&missing));
                    held = Held::ToWhatIsNeeded(naming.map(|block| block.addr()).collect());
                }
                (prefix, missing)
            }
        };
        let whole = prefix.ends_with('}');
        let prefix = hcl::quote(&prefix);
        let lark = stage(&context, &names, &block, &held, |body, after| match whole {
            // One data source without arguments in a stage: the same text is then cut into the same stages again.
            true => format!("start: {prefix}{}\n", maybe(after.header && free, "header")),
            false => format!("start: {prefix} {body} \"}}\"{}\n", maybe(after.any && free, "added")),
        });
        Some(Grammar { lark, context, held: self.held })
    }

    /// The next block that the way asks for and that is not written yet.
    fn asked(&self, blocks: &[&Block]) -> Option<(BlockAddr, &Companion)> {
        let Going::Way(index, _) = self.held else { return None };
        let way = self.context.ways.get(index)?;
        let mut missing = way.companions.iter().filter_map(|companion| {
            let addr = self.context.new_blocks().name_for(&self.context.names, &companion.ty)?;
            (!blocks.iter().any(|block| block.addr() == addr)).then_some((addr, companion))
        });
        missing.next()
    }
}

/// What a body is held to.
pub(super) enum Held<'a> {
    ToNothing,
    /// An override that holds what is wanted and nothing that could be left out.
    Narrowly(&'a [Wanted], Links),
    /// An override that holds what is wanted.
    AtLeast(&'a [Wanted]),
    /// An override that holds what is wanted of one of these and nothing that could be left out.
    ToOneOf(&'a [&'a [Wanted]]),
    /// An override that makes a connection.
    ToLinks(Links),
    /// A new block that others name: what is required of it, and what all rules want.
    ToWhatIsNeeded(Vec<BlockAddr>),
    /// A new block that a rule asks for, and whether it holds nothing that could be left out.
    ToWhatIsAsked(&'a [Wanted], Links, bool),
}

/// A connection that has to be made.
#[derive(Default)]
pub(super) struct Links {
    /// With one of these blocks; there is none to make where this is empty.
    pub to: Vec<BlockAddr>,
    /// In one of these attributes; in any that can where none is told.
    pub from: Vec<String>,
    /// At this path, inside of the block.
    pub inside: Option<Vec<String>>,
}

impl Links {
    fn from<'a>(&'a self, schema: &'a schema::Block, references: &References) -> Vec<&'a str> {
        match self.from.as_slice() {
            _ if !references.links() || self.inside.is_some() => Vec::new(),
            [] => linkable(schema),
            names => names.iter().map(String::as_str).collect(),
        }
    }
}

/// The text of one stage: how it starts, the block's body, what may follow it.
pub(super) fn stage(
    context: &Context,
    names: &Names,
    block: &BlockAddr,
    held: &Held<'_>,
    start: impl Fn(&str, &Followers) -> String,
) -> String {
    let new = context.new_blocks();
    let references = References::new(names, &context.schemas, block, &new);
    let references = references.with_given(&context.knowledge, names, block);
    let references = match *block == context.target {
        true => references,
        false => references.with_places(names, block, &context.target),
    };
    let references = match held {
        Held::ToNothing | Held::ToWhatIsNeeded(_) | Held::ToOneOf(_) | Held::AtLeast(_) => references,
        Held::Narrowly(_, links) | Held::ToLinks(links) | Held::ToWhatIsAsked(_, links, _) => {
            references.with_links(names, &context.schemas, &links.to)
        }
    };
    let schema = match held {
        Held::ToOneOf(_) | Held::AtLeast(_) | Held::Narrowly(..) => context.schema_or_supposed(block),
        _ => context.schema_of(block),
    };
    // A new block is held to what all rules want as well.
    let mut wanted = match held {
        Held::ToWhatIsAsked(wanted, links, _) => {
            let inside = links.inside.as_ref().filter(|_| references.links());
            let inside = inside.map(|path| Wanted::new(path.clone(), Must::Exist));
            wanted.iter().cloned().chain(inside).collect()
        }
        _ => Vec::new(),
    };
    if let (Some(schema), "resource", Some(ty)) = (&schema, block.keyword.as_str(), block.labels.first()) {
        let added_for = match held {
            Held::ToWhatIsAsked(_, Links { to, .. }, _) if to.len() == 1 => to.iter().collect(),
            Held::ToWhatIsNeeded(naming) => naming.iter().chain([&context.target]).collect(),
            _ => vec![&context.target],
        };
        let added_for: Vec<&str> = added_for.into_iter().filter_map(BlockAddr::resource_type).collect();
        let known = context.knowledge.wants_of(ty, &added_for, new.name);
        let house = context.house.wants_of(ty).iter().cloned().chain(known);
        let house = house.filter_map(|more| fit::fit(&more, schema));
        let new: Vec<Wanted> = house.filter(|more| !wanted.iter().any(|known| known.path == more.path)).collect();
        new.into_iter().for_each(|more| more.join(&mut wanted));
    }
    let (body, rules) = match &schema {
        Some(schema) => {
            let only = context.wanted();
            let from = match held {
                Held::ToLinks(links) | Held::ToWhatIsAsked(_, links, _) => links.from(schema, &references),
                _ => Vec::new(),
            };
            let mut typed = Typed::new(&references);
            let body = match held {
                Held::Narrowly(wanted, _) => typed.narrow(schema, &context.body, wanted),
                Held::AtLeast(wanted) => typed.at_least(schema, &context.body, wanted),
                Held::ToOneOf(targets) => {
                    let bodies: Vec<String> =
                        targets.iter().map(|wanted| typed.narrow(schema, &context.body, wanted)).collect();
                    format!("({})", bodies.join(" | "))
                }
                Held::ToLinks(_) => typed.linking(schema, &context.body, &from),
                Held::ToWhatIsAsked(_, _, is_narrow) => typed.asked(schema, &wanted, &from, *is_narrow),
                Held::ToWhatIsNeeded(_) => typed.needed(schema, &wanted),
                Held::ToNothing if *block == context.target => typed.over(schema, &context.body, &only),
                Held::ToNothing => typed.whole(schema, &wanted),
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
    only_used(&lark)
}

/// A rule that may be left out, or nothing.
pub(super) fn maybe(there: bool, rule: &str) -> String {
    if there { format!(" {rule}?") } else { String::new() }
}

/// A block's header up to its brace.
pub(super) fn opening(block: &BlockAddr) -> String {
    let labels: String = block.labels.iter().map(|label| format!(" \"{label}\"")).collect();
    format!("{}{labels} {{", block.keyword)
}

/// The first resource, data source or variable that an answer names and that neither it nor the module declares, but for what the
/// target names as it stands: that is somebody else's matter.
fn undeclared(blocks: &[&Block], names: &Names, before: &[BlockAddr]) -> Option<BlockAddr> {
    let named = blocks.iter().flat_map(|block| references(block));
    let mut blocks = named.filter(|addr| matches!(addr.keyword.as_str(), "resource" | "data" | "variable"));
    blocks.find(|addr| !names.declare(addr) && !before.contains(addr))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accepts, grammar_for};
    use super::*;
    use crate::rules::Wish;

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
        let back = KEY.replace("  enable", "  description = \"${aws_sns_topic.orders.arn}\"\n  enable");
        assert!(!accepts(&grammar(), &(topic("  kms_master_key_id = aws_kms_key.orders.id\n") + &back)));
        assert!(accepts(&grammar(), &(topic("  name = \"x\"\n") + &back)));
    }

    #[test]
    fn what_must_stand_beside_a_new_block_follows_it() {
        let connection = serde_json::json!({ "cond_type": "connection", "operator": "exists",
            "resource_types": ["aws_iam_role"], "connected_resource_types": ["aws_iam_role_policy"] });
        let rule = Wish { graph: Some(connection), resource_types: vec!["aws_iam_role".into()], ..Wish::default() };
        let mut grammar = grammar();
        Arc::make_mut(&mut grammar.context).house = Arc::new(House::of(&[rule]));
        let document = "jsonencode({\n    A = \"b\"\n  })";
        let role = format!(
            "{}\n\nresource \"aws_iam_role\" \"orders\" {{\n  assume_role_policy = {document}\n}}",
            topic("  sqs_success_feedback_role_arn = aws_iam_role.orders.arn\n")
        );
        let policy = |of: &str| {
            format!(
                "{role}\n\nresource \"aws_iam_role_policy\" \"orders\" {{\n  role = {of}\n  policy = {document}\n}}"
            )
        };
        let next = grammar.next(&role).unwrap();
        assert!(accepts(&next, &policy("aws_iam_role.orders.name")));
        assert!(!accepts(&next, &policy("\"other\"")));
        assert!(grammar.next(&policy("aws_iam_role.orders.name")).is_none());
        assert!(!accepts(&grammar, &role));
    }
}
