//! How far a schema can say what is wanted, and which of its attributes are written as blocks.
//!
//! In: what a rule wants, a schema, the bodies that stand. Out: what can be written of it, or nothing; the schema in the form in
//! which it is written.

use serde_json::Value;

use crate::rules::{Must, Wanted};
use crate::schema::{self, Block, NestedBlock, Nesting, Type, Usage};
use crate::source::Body;

use super::literals::{blocks, literals};

/// What is wanted, as far as a schema can say it: what lies inside a value is a matter of the whole value, and so are the
/// elements of a list. `None` when the path leads to nothing that can be set to what is wanted.
pub(super) fn fit(wanted: &Wanted, schema: &Block) -> Option<Wanted> {
    let mut block = schema;
    for (at, name) in wanted.path.iter().enumerate() {
        let is_last = at + 1 == wanted.path.len();
        if let Some(attribute) = block.attributes.get(name) {
            if !attribute.usage.is_settable() {
                return None;
            }
            if wanted.is_inside() {
                return (is_last && attribute.ty == Type::String).then(|| wanted.clone());
            }
            if let Some(entry) = entry_of(&attribute.ty, &wanted.path[at + 1..], &wanted.must) {
                let must = literals(std::slice::from_ref(&entry), &attribute.ty, 1).map(|_| Must::Be(vec![entry]))?;
                return Some(Wanted { path: wanted.path[..=at].to_vec(), at: wanted.at.clone(), must });
            }
            let must = match &wanted.must {
                Must::NotExist if !is_last || attribute.usage == Usage::Required => return None,
                // What the provider would choose itself stays as it is deployed.
                Must::NotExist if attribute.usage == Usage::OptionalComputed => return None,
                Must::NotExist => Must::NotExist,
                Must::Be(values) if is_last => match (literals(values, &attribute.ty, 1), &attribute.ty) {
                    (Some(_), _) => wanted.must.clone(),
                    // Values of its elements.
                    (None, Type::List(_) | Type::Set(_)) => Must::Exist,
                    (None, _) => return None,
                },
                Must::NotBe(_) if is_last => wanted.must.clone(),
                Must::Be(_) | Must::NotBe(_) | Must::Exist => Must::Exist,
            };
            return Some(Wanted { path: wanted.path[..=at].to_vec(), at: wanted.at.clone(), must });
        }
        let nested = block.blocks.get(name)?;
        if is_last {
            let can_be = match &wanted.must {
                Must::Be(values) => blocks(name, values, nested, 1).is_some(),
                Must::NotBe(_) => false,
                Must::Exist => true,
                Must::NotExist => nested.min == 0,
            };
            return can_be.then(|| wanted.clone());
        }
        block = &nested.block;
    }
    None
}

/// What a map must hold for the entry at `key` to be what is wanted: the first of the values, with the key.
fn entry_of(ty: &Type, key: &[String], must: &Must) -> Option<Value> {
    match (ty, key, must) {
        (Type::Map(_), [key], Must::Be(values)) => {
            Some(Value::Object([(key.clone(), values.first()?.clone())].into_iter().collect()))
        }
        _ => None,
    }
}

/// A schema in which lists of objects are nested blocks, as they can be written (Terraform docs, "Attributes as Blocks"), but
/// for those that one of the bodies writes as attributes.
pub(super) fn with_blocks(schema: Block, bodies: &[&Body]) -> Block {
    let Block { attributes, blocks, open } = schema;
    let mut all = Block { open, ..Block::default() };
    for (name, nested) in blocks {
        let inner: Vec<&Body> = bodies.iter().flat_map(|body| nested_in(body, &name)).collect();
        let block = with_blocks(nested.block, &inner);
        all.blocks.insert(name, NestedBlock { block, ..nested });
    }
    for (name, attribute) in attributes {
        let written = bodies.iter().any(|body| body.attribute(&name).is_some());
        let fields = schema::as_block(&attribute.ty).filter(|_| attribute.usage.is_settable() && !written);
        let Some(fields) = fields else {
            all.attributes.insert(name, attribute);
            continue;
        };
        let inner: Vec<&Body> = bodies.iter().flat_map(|body| nested_in(body, &name)).collect();
        let block = with_blocks(Block { attributes: fields, ..Block::default() }, &inner);
        let min = u32::from(attribute.usage == Usage::Required);
        all.blocks.insert(name, NestedBlock { nesting: Nesting::List, min, max: 0, block });
    }
    all
}

/// The bodies of the nested blocks of a type.
pub(super) fn nested_in<'a>(body: &'a Body, name: &str) -> impl Iterator<Item = &'a Body> {
    body.blocks().filter(move |block| block.keyword == name).map(|block| &block.body)
}
