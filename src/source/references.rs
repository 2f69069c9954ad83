//! What expressions refer to: traversals that lead to blocks of the same module, in templates and heredocs as well.

use hcl_edit::expr::{Expression, ForExpr, Traversal, TraversalOperator};
use hcl_edit::template::ForDirective;
use hcl_edit::visit::{self, Visit};

use super::{Block, BlockAddr, Body, Item};

/// Roots of traversals that lead to no block.
const NO_BLOCKS: [&str; 6] = ["each", "count", "self", "path", "terraform", "provider"];
/// Attributes whose traversals name providers or attributes.
const NO_REFERENCES: [&str; 3] = ["provider", "providers", "ignore_changes"];

/// The blocks that a block refers to, in order of the first mention, each once. Names of locals come as `local.NAME`,
/// see [`super::local_addr`].
pub fn references(block: &Block) -> Vec<BlockAddr> {
    let mut finder = Finder::default();
    finder.body(&block.body);
    finder.blocks()
}

/// What a block refers to with the attribute that it takes of it, as far as it names one: each mention.
pub fn uses(block: &Block) -> Vec<(BlockAddr, Option<String>)> {
    let mut finder = Finder::default();
    finder.body(&block.body);
    finder.found
}

/// The blocks that an expression refers to, as [`references`].
pub fn references_of(expr: &Expression) -> Vec<BlockAddr> {
    let mut finder = Finder::default();
    finder.visit_expr(expr);
    finder.blocks()
}

#[derive(Default)]
struct Finder {
    found: Vec<(BlockAddr, Option<String>)>,
    /// Names that `for` expressions and dynamic blocks declare where the finder stands.
    declared: Vec<String>,
}

impl Finder {
    fn body(&mut self, body: &Body) {
        for item in &body.items {
            match item {
                Item::Attribute(attribute) if NO_REFERENCES.contains(&attribute.key.as_str()) => {}
                Item::Attribute(attribute) => self.visit_expr(&attribute.expr),
                Item::Block(block) if block.keyword == "dynamic" => self.dynamic(block),
                Item::Block(block) => self.body(&block.body),
            }
        }
    }

    /// The iterator of a dynamic block is declared in its content only.
    fn dynamic(&mut self, block: &Block) {
        block.body.attributes().filter(|a| a.key != "iterator").for_each(|a| self.visit_expr(&a.expr));
        let iterator = block.body.attribute("iterator").map(|a| a.expr.to_string().trim().to_owned());
        let before = self.declared.len();
        self.declared.extend(iterator.or_else(|| block.labels.first().cloned()));
        block.body.blocks().for_each(|content| self.body(&content.body));
        self.declared.truncate(before);
    }

    /// The blocks, in order of the first mention.
    fn blocks(self) -> Vec<BlockAddr> {
        let mut blocks = Vec::new();
        for (addr, _) in self.found {
            if !blocks.contains(&addr) {
                blocks.push(addr);
            }
        }
        blocks
    }

    fn add(&mut self, keyword: &str, labels: &[&str], attribute: Option<&str>) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.found.push((BlockAddr { keyword: keyword.to_owned(), labels }, attribute.map(str::to_owned)));
    }
}

impl Visit for Finder {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Expression::Variable(root) = &traversal.expr
            && !self.declared.iter().any(|name| name == root.as_str())
        {
            let operators: Vec<&TraversalOperator> = traversal.operators.iter().map(|op| op.value()).collect();
            let names: Vec<&str> = operators.iter().map_while(|op| attribute_name(op)).collect();
            // Which instance of a block it is does not matter here.
            let attribute = |labels: usize| {
                let mut rest = operators[labels.min(operators.len())..].iter();
                rest.find(|op| !is_instance(op)).and_then(|op| attribute_name(op))
            };
            match (root.as_str(), names.as_slice()) {
                ("var", [name, ..]) => self.add("variable", &[name], attribute(1)),
                (keyword @ ("local" | "module"), [name, ..]) => self.add(keyword, &[name], attribute(1)),
                ("data", [ty, name, ..]) => self.add("data", &[ty, name], attribute(2)),
                ("data", _) => {}
                (root, [name, ..]) if !NO_BLOCKS.contains(&root) => {
                    self.add("resource", &[root, name], attribute(1));
                }
                _ => {}
            }
        }
        visit::visit_traversal(self, traversal);
    }

    fn visit_for_expr(&mut self, node: &ForExpr) {
        self.visit_expr(&node.intro.collection_expr);
        let before = self.declared.len();
        let names = node.intro.key_var.iter().chain([&node.intro.value_var]);
        self.declared.extend(names.map(|name| name.as_str().to_owned()));
        for expr in node.key_expr.iter().chain([&node.value_expr]).chain(node.cond.iter().map(|cond| &cond.expr)) {
            self.visit_expr(expr);
        }
        self.declared.truncate(before);
    }

    fn visit_for_directive(&mut self, node: &ForDirective) {
        self.visit_expr(&node.for_expr.collection_expr);
        let before = self.declared.len();
        let names = node.for_expr.key_var.iter().chain([&node.for_expr.value_var]);
        self.declared.extend(names.map(|name| name.as_str().to_owned()));
        self.visit_template(&node.for_expr.template);
        self.declared.truncate(before);
    }
}

/// `[0]`, `["a"]`, `[*]`, `.*`, `.0`
fn is_instance(operator: &TraversalOperator) -> bool {
    !matches!(operator, TraversalOperator::GetAttr(_))
}

fn attribute_name(operator: &TraversalOperator) -> Option<&str> {
    match operator {
        TraversalOperator::GetAttr(name) => Some(name.as_str()),
        _ => None,
    }
}
