//! What a type may consist of of which there is no schema: what the module's own blocks of it and the rules show.
//!
//! In: bodies of blocks of the type, attribute paths of rules. Out: a [`Block`] that holds what was seen, and nothing that
//! is required.

use hcl_edit::expr::Expression;

use crate::source::{Body, Item};

use super::{Attribute, Block, NestedBlock, Nesting, Type, Usage};

/// Longest path that is taken in.
const DEEPEST: usize = 8;

impl Block {
    /// What bodies and paths show. The last name of a path is an attribute of any type, unless a body has it; the others are
    /// nested blocks.
    pub fn supposed<'a>(
        bodies: impl IntoIterator<Item = &'a Body>,
        paths: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let mut supposed = Self::default();
        for body in bodies {
            supposed.see(body);
        }
        // Paths come from reports as well.
        let is_name = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        for path in paths.into_iter().filter(|path| path.len() <= DEEPEST && path.iter().all(is_name)) {
            supposed.lead(&path);
        }
        supposed
    }

    fn see(&mut self, body: &Body) {
        for item in &body.items {
            match item {
                Item::Attribute(attribute) => {
                    let ty = type_of(&attribute.expr);
                    let seen = self.attributes.entry(attribute.key.clone());
                    let known = seen.or_insert_with(|| optional(ty.clone()));
                    if known.ty != ty {
                        known.ty = Type::Any;
                    }
                }
                // What generates blocks is none itself.
                Item::Block(block) if block.keyword == "dynamic" => {}
                Item::Block(block) => self.nested(&block.keyword).see(&block.body),
            }
        }
    }

    fn lead(&mut self, path: &[String]) {
        match path {
            [] => {}
            [last] if self.blocks.contains_key(last) => {}
            [last] => drop(self.attributes.entry(last.clone()).or_insert_with(|| optional(Type::Any))),
            // It is written as a value.
            [first, ..] if self.attributes.contains_key(first) => {}
            [first, rest @ ..] => self.nested(first).lead(rest),
        }
    }

    fn nested(&mut self, name: &str) -> &mut Self {
        let nested = self.blocks.entry(name.to_owned());
        let empty = || NestedBlock { nesting: Nesting::List, min: 0, max: 0, block: Self::default() };
        &mut nested.or_insert_with(empty).block
    }
}

fn optional(ty: Type) -> Attribute {
    Attribute::new(ty, Usage::Optional)
}

/// The type of what is written; of what must be evaluated nobody knows.
fn type_of(expression: &Expression) -> Type {
    match expression {
        Expression::Bool(_) => Type::Bool,
        Expression::Number(_) => Type::Number,
        Expression::String(_) | Expression::StringTemplate(_) | Expression::HeredocTemplate(_) => Type::String,
        Expression::Array(elements) => {
            let mut types: Vec<Type> = elements.iter().map(type_of).collect();
            types.dedup();
            let inner = if let [only] = types.as_slice() { only.clone() } else { Type::Any };
            Type::List(Box::new(if elements.is_empty() { Type::String } else { inner }))
        }
        Expression::Object(_) => Type::Map(Box::new(Type::Any)),
        _ => Type::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{RelPath, SourceFile};

    #[test]
    fn what_is_written_and_what_rules_look_at_is_supposed() {
        let text = "resource \"t\" \"a\" {\n  on = true\n  size = 1\n  names = [\"a\"]\n  tags = { a = 1 }\n  other = var.x\n  \
                    disk {\n    on = \"yes\"\n  }\n}\nresource \"t\" \"b\" {\n  size = \"big\"\n  disk {\n    kind = \"x\"\n  }\n}\n";
        let file = SourceFile::parse(RelPath::default(), text.into()).unwrap();
        let path = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let deep = ["x"; DEEPEST + 1].join(".");
        let paths = ["disk.encrypted", "log.on", "tags.b", "on", "disk", "a b", &deep].map(path);
        let supposed = Block::supposed(file.body().blocks().map(|block| &block.body), paths);
        let ty = |name: &str| supposed.attributes[name].ty.clone();
        assert_eq!((ty("on"), ty("size"), ty("other")), (Type::Bool, Type::Any, Type::Any));
        assert_eq!(ty("names"), Type::List(Box::new(Type::String)));
        assert_eq!(ty("tags"), Type::Map(Box::new(Type::Any)));
        let disk: Vec<&String> = supposed.blocks["disk"].block.attributes.keys().collect();
        assert_eq!(disk, ["encrypted", "kind", "on"]);
        assert_eq!(supposed.blocks["log"].block.attributes["on"].ty, Type::Any);
        assert_eq!(supposed.blocks.len(), 2);
        assert!(supposed.attributes.values().all(|attribute| attribute.usage == Usage::Optional));
    }
}
