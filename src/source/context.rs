//! What the model is shown of the source: the target block and the blocks around it, within a token budget.

use serde::Serialize;

use super::lex::{Kind, lex};
use super::{Block, BlockAddr, Item, RelPath, SourceFile, SourceTree, references};

/// A finding's block and what stands around it. Texts have `\n` line ends whatever the file has.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// The file that holds the block.
    pub file: RelPath,
    /// The block.
    pub block: BlockAddr,
    /// The block's text.
    pub text: String,
    /// Blocks that it refers to or that refer to it, nearest first.
    pub related: Vec<Related>,
    /// What was left out, and why.
    pub omitted: Vec<Omitted>,
}

/// How a block stands to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The target refers to it.
    RefersTo,
    /// It refers to the target.
    ReferredBy,
    /// It shares a reference with one of the two above.
    Neighbour,
}

/// A block beside the target.
#[derive(Clone, Debug, Serialize)]
pub struct Related {
    /// Its address.
    pub block: BlockAddr,
    /// How it stands to the target.
    pub relation: Relation,
    /// Its text; a long body is cut to its header and the attributes that stand on one line, with `…` for the rest. Of
    /// `locals` there are only the values that the target refers to.
    pub text: String,
}

/// A related block that the model is not shown.
#[derive(Clone, Debug, Serialize)]
pub struct Omitted {
    /// Its address.
    pub block: BlockAddr,
    /// Why: `over the token budget`, …
    pub why: String,
}

/// Lines of an item of a block that are too many where it is not what the question is about.
const LONG: usize = 5;

impl Target {
    /// The target's text and those of the blocks around it, as far as they are about what an answer may write and name: of the
    /// target no long items that it may not write, and only those blocks around it that it may name, without theirs.
    pub fn brief(&self, may_write: impl Fn(&str) -> bool, may_name: impl Fn(&BlockAddr) -> bool) -> Self {
        let (named, others): (Vec<&Related>, Vec<&Related>) =
            self.related.iter().partition(|related| may_name(&related.block));
        let brief = |related: &Related| Related { text: without_long(&related.text, |_| false), ..related.clone() };
        let unnamed = |related: &Related| Omitted {
            block: related.block.clone(),
            why: "no answer of those asked for can name it".to_owned(),
        };
        Self {
            text: without_long(&self.text, may_write),
            related: named.into_iter().map(brief).collect(),
            omitted: self.omitted.iter().cloned().chain(others.into_iter().map(unnamed)).collect(),
            ..self.clone()
        }
    }
}

/// A block's text without its long items but for these, with `…` for the rest.
fn without_long(text: &str, keep: impl Fn(&str) -> bool) -> String {
    // One that is cut already is no HCL.
    let Ok(file) = SourceFile::parse(RelPath::default(), text.as_bytes().to_vec()) else { return text.to_owned() };
    let Some(block) = file.body().blocks().next() else { return text.to_owned() };
    let is_long = |item: &&Item| text[item.span().clone()].lines().count() >= LONG;
    let names = |item: &Item| match item {
        Item::Attribute(attribute) => vec![attribute.key.clone()],
        // A dynamic block makes blocks that are called as its label.
        Item::Block(block) => block.labels.iter().chain([&block.keyword]).cloned().collect(),
    };
    let left_out = |item: &&Item| is_long(item) && !names(item).iter().any(|name| keep(name));
    let mut out = text.to_owned();
    let mut any = false;
    for item in block.body.items.iter().rev().filter(left_out) {
        let start = text[..item.span().start].rfind('\n').map_or(0, |at| at + 1);
        let end = item.span().end + text[item.span().end..].find('\n').map_or(0, |at| at + 1);
        // What else stands on its lines stays, and then so does it.
        if text[start..item.span().start].trim().is_empty() && end <= block.body.span.end {
            out.replace_range(start..end, "");
            any = true;
        }
    }
    match out.rfind('}').filter(|_| any) {
        Some(at) => format!("{}\n  …\n}}", out[..at].trim_end()),
        None => out,
    }
}

/// Gathers the target and its surroundings from the module in `file`'s folder. `budget` is in tokens as `count` counts
/// them; the target itself is always whole.
///
/// Returns `None` when the block is not in the file.
pub fn target(
    tree: &SourceTree,
    file: &RelPath,
    block: &BlockAddr,
    budget: usize,
    count: &dyn Fn(&str) -> usize,
) -> Option<Target> {
    let source = tree.file(file)?;
    let found = source.find(block)?;
    let text = source.slice(&found.span).replace("\r\n", "\n");
    let mut left = budget.saturating_sub(count(&text));
    let module = Module::of(tree, &file.parent());
    let mut target =
        Target { file: file.clone(), block: block.clone(), text, related: Vec::new(), omitted: Vec::new() };
    for (relation, part) in module.around(source, found) {
        let text = part.text(&references(found));
        let cut = part.cut();
        let fitting =
            [text, cut].into_iter().flatten().map(|text| (count(&text), text)).find(|(size, _)| *size <= left);
        let block = part.block.addr();
        match fitting {
            Some((size, text)) => {
                left -= size;
                target.related.push(Related { block, relation, text });
            }
            None => target.omitted.push(Omitted { block, why: "over the token budget".to_owned() }),
        }
    }
    Some(target)
}

/// A top-level block of the module, and what it refers to.
struct Part<'a> {
    file: &'a SourceFile,
    block: &'a Block,
    refers_to: Vec<BlockAddr>,
}

struct Module<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Module<'a> {
    fn of(tree: &'a SourceTree, dir: &RelPath) -> Self {
        let blocks = tree.module(dir).flat_map(|file| file.body().blocks().map(move |block| (file, block)));
        let parts = blocks.map(|(file, block)| Part { file, block, refers_to: references(block) });
        Self { parts: parts.collect() }
    }

    /// The blocks around one, nearest first: by relation, then in the same file before others, then by distance.
    fn around(&self, file: &SourceFile, target: &Block) -> Vec<(Relation, &Part<'a>)> {
        let addr = target.addr();
        let refers_to = references(target);
        // Values and inputs are shared by everything: they make no neighbours.
        let ties: Vec<&BlockAddr> =
            refers_to.iter().filter(|r| !matches!(r.keyword.as_str(), "variable" | "local")).collect();
        let referring: Vec<&Part> = self.parts.iter().filter(|part| part.refers_to.contains(&addr)).collect();
        let relation = |part: &Part| {
            if refers_to.iter().any(|reference| part.is(reference)) {
                Some(Relation::RefersTo)
            } else if part.refers_to.contains(&addr) {
                Some(Relation::ReferredBy)
            } else if part.refers_to.iter().any(|reference| ties.contains(&reference))
                || referring.iter().flat_map(|other| &other.refers_to).any(|reference| part.is(reference))
            {
                Some(Relation::Neighbour)
            } else {
                None
            }
        };
        let others = self.parts.iter().filter(|part| !std::ptr::eq(part.block, target));
        let mut around: Vec<(Relation, &Part)> = others.filter_map(|part| Some((relation(part)?, part))).collect();
        around.sort_by_key(|(relation, part)| {
            let elsewhere = part.file.path() != file.path();
            (*relation as usize, elsewhere, part.block.span.start.abs_diff(target.span.start))
        });
        around
    }
}

impl Part<'_> {
    fn is(&self, addr: &BlockAddr) -> bool {
        match (addr.keyword.as_str(), addr.labels.as_slice()) {
            ("local", [name]) => self.block.keyword == "locals" && self.block.body.attribute(name).is_some(),
            _ => self.block.keyword == addr.keyword && self.block.labels == addr.labels,
        }
    }

    /// The text as shown when there is room: whole, but for locals that are not `wanted`.
    fn text(&self, wanted: &[BlockAddr]) -> Option<String> {
        if self.block.keyword != "locals" {
            return Some(self.file.slice(&self.block.span).replace("\r\n", "\n"));
        }
        self.with_items(|item| wanted.iter().any(|addr| addr.keyword == "local" && addr.labels == [item.name()]))
    }

    /// The text cut to the attributes on one line.
    fn cut(&self) -> Option<String> {
        self.with_items(|item| matches!(item, Item::Attribute(_)) && !self.file.slice(item.span()).contains('\n'))
    }

    fn with_items(&self, keep: impl Fn(&Item) -> bool) -> Option<String> {
        let items = &self.block.body.items;
        let kept: Vec<&Item> = items.iter().filter(|item| keep(item)).collect();
        let header = self.file.text()[self.block.span.start..self.block.body.span.start].trim_end();
        let mut lines = vec![header.to_owned()];
        lines.extend(kept.iter().map(|item| format!("  {}", without_comments(self.file.slice(item.span())))));
        if kept.len() < items.len() {
            lines.push("  …".to_owned());
        }
        lines.push("}".to_owned());
        Some(lines.join("\n"))
    }
}

/// An item's text without the comments in it.
fn without_comments(text: &str) -> String {
    let mut out = text.replace("\r\n", "\n");
    for comment in lex(&out.clone()).into_iter().rev().filter(|token| token.kind == Kind::Comment) {
        out.replace_range(comment.span, "");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"resource "aws_kms_key" "k" {
  enable_key_rotation = true # yes
  policy = jsonencode({
    Statement = []
  })
}
resource "aws_s3_bucket" "b" {
  bucket = local.name
  kms    = aws_kms_key.k.arn
}
locals {
  other = 1
  name  = "n"
}
resource "aws_s3_bucket_policy" "p" {
  bucket = aws_s3_bucket.b.id
  policy = data.aws_iam_policy_document.d.json
}
data "aws_iam_policy_document" "d" {}
resource "aws_sns_topic" "t" {
  kms = aws_kms_key.k.arn
}
resource "aws_sns_topic" "unrelated" {
  name = local.name
}
"#;

    fn around(text: &str, budget: usize) -> Target {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), text).unwrap();
        let tree = SourceTree::load(dir.path(), &[RelPath::default()]).unwrap();
        let file = RelPath::new("main.tf").unwrap();
        target(&tree, &file, &BlockAddr::resource("aws_s3_bucket", "b"), budget, &str::len).unwrap()
    }

    #[test]
    fn the_context_is_what_the_target_is_tied_to() {
        for text in [MODULE.to_owned(), MODULE.replace('\n', "\r\n")] {
            let target = around(&text, 10_000);
            assert!(target.text.starts_with("resource \"aws_s3_bucket\" \"b\" {\n") && !target.text.contains('\r'));
            let found: Vec<_> = target.related.iter().map(|r| (r.block.to_string(), r.relation)).collect();
            let expected = [
                ("locals", Relation::RefersTo),
                ("aws_kms_key.k", Relation::RefersTo),
                ("aws_s3_bucket_policy.p", Relation::ReferredBy),
                ("data.aws_iam_policy_document.d", Relation::Neighbour),
                ("aws_sns_topic.t", Relation::Neighbour),
            ];
            assert_eq!(found, expected.map(|(addr, relation)| (addr.to_owned(), relation)));
            assert_eq!(target.related[0].text, "locals {\n  name  = \"n\"\n  …\n}");
            assert!(target.omitted.is_empty());
        }
    }

    #[test]
    fn what_an_answer_is_not_about_is_left_out() {
        let long = |name: &str| format!("  {name} {{\n    a = 1\n    b = 2\n    c = 3\n  }}\n");
        let policy = format!("\n  policy = {{\n{}  }}\n", "    a = 1\n".repeat(4));
        let module = MODULE
            .replace(
                "\n  kms    = aws",
                &format!("\n{}{}  tags = {{ a = 1 }}\n  kms = aws", long("cors"), long("logging")),
            )
            .replace("\n  policy = jsonencode({\n    Statement = []\n  })\n", &policy);
        let target = around(&module, 10_000);
        let brief =
            target.brief(|item| item == "logging", |block| block.labels.first().is_some_and(|ty| ty == "aws_kms_key"));
        let expected = format!(
            "resource \"aws_s3_bucket\" \"b\" {{\n  bucket = local.name\n{}  tags = {{ a = 1 }}\n  kms = aws_kms_key.k.arn\n  …\n}}",
            long("logging")
        );
        assert_eq!(brief.text, expected);
        let texts = |target: &Target| target.related.iter().map(|it| it.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&brief), ["resource \"aws_kms_key\" \"k\" {\n  enable_key_rotation = true # yes\n  …\n}"]);
        assert_eq!(brief.omitted.len() + 1, target.related.len(), "the others are told");
        let brief = target.brief(|_| true, |_| false);
        assert_eq!((&brief.text, texts(&brief)), (&target.text, Vec::new()));
    }

    #[test]
    fn the_context_keeps_its_budget() {
        let whole = around(MODULE, 10_000);
        let cut = "resource \"aws_kms_key\" \"k\" {\n  enable_key_rotation = true\n  …\n}";
        let target = around(MODULE, whole.text.len() + whole.related[0].text.len() + cut.len());
        let texts: Vec<&str> = target.related.iter().map(|r| r.text.as_str()).collect();
        assert_eq!(texts, [&whole.related[0].text, cut]);
        assert_eq!(target.omitted.len(), 3);
        assert!(target.omitted.iter().all(|omitted| omitted.why.contains("budget")));
        let none = around(MODULE, 0);
        assert_eq!((none.text, none.related.len(), none.omitted.len()), (whole.text, 0, 5));
    }
}
