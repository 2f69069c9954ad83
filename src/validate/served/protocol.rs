//! The messages of the Terraform plugin protocol, version 6, that `terraform validate` exchanges with a provider, and
//! schemas as such messages (`tfplugin6.proto` of the Terraform plugin protocol: names and numbers of the fields).

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::schema::{self, Type, Usage};

/// The version of the protocol.
pub(super) const VERSION: u32 = 6;

/// A message of which nothing is read, and one without content: all answers of a validation that found nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

/// `GetProviderSchema.Response`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProviderSchema {
    #[prost(message, optional, tag = "1")]
    pub provider: Option<Schema>,
    #[prost(map = "string, message", tag = "2")]
    pub resources: HashMap<String, Schema>,
    #[prost(map = "string, message", tag = "3")]
    pub data_sources: HashMap<String, Schema>,
}

/// `Schema`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Schema {
    #[prost(int64, tag = "1")]
    pub version: i64,
    #[prost(message, optional, tag = "2")]
    pub block: Option<Block>,
}

/// `Schema.Block`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Block {
    #[prost(int64, tag = "1")]
    pub version: i64,
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "3")]
    pub block_types: Vec<NestedBlock>,
}

/// `Schema.Attribute`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    /// A type as cty writes it in JSON (go-cty docs, "JSON representation of types").
    #[prost(bytes = "vec", tag = "2")]
    pub ty: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub required: bool,
    #[prost(bool, tag = "5")]
    pub optional: bool,
    #[prost(bool, tag = "6")]
    pub computed: bool,
    #[prost(message, optional, tag = "10")]
    pub nested_type: Option<Object>,
}

/// `Schema.Object`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Object {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<Attribute>,
    #[prost(enumeration = "ObjectNesting", tag = "3")]
    pub nesting: i32,
}

/// `Schema.Object.NestingMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ObjectNesting {
    Invalid = 0,
    Single = 1,
    List = 2,
    Set = 3,
    Map = 4,
}

/// `Schema.NestedBlock`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NestedBlock {
    #[prost(string, tag = "1")]
    pub type_name: String,
    #[prost(message, optional, tag = "2")]
    pub block: Option<Block>,
    #[prost(enumeration = "Nesting", tag = "3")]
    pub nesting: i32,
    #[prost(int64, tag = "4")]
    pub min_items: i64,
    #[prost(int64, tag = "5")]
    pub max_items: i64,
}

/// `Schema.NestedBlock.NestingMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Nesting {
    Invalid = 0,
    Single = 1,
    List = 2,
    Set = 3,
    Map = 4,
    Group = 5,
}

impl From<&schema::Block> for Schema {
    fn from(schema: &schema::Block) -> Self {
        Self { version: 0, block: Some(schema.into()) }
    }
}

impl From<&schema::Block> for Block {
    fn from(schema: &schema::Block) -> Self {
        let attributes = schema.attributes.iter().map(|(name, attribute)| self::attribute(name, attribute));
        let blocks = schema.blocks.iter().map(|(name, nested)| nested_block(name, nested));
        Self { version: 0, attributes: attributes.collect(), block_types: blocks.collect() }
    }
}

fn attribute(name: &str, attribute: &schema::Attribute) -> Attribute {
    let nested_type = nested(attribute);
    Attribute {
        name: name.to_owned(),
        ty: if nested_type.is_some() { Vec::new() } else { cty(&attribute.ty).to_string().into_bytes() },
        required: attribute.usage == Usage::Required,
        optional: matches!(attribute.usage, Usage::Optional | Usage::OptionalComputed),
        computed: matches!(attribute.usage, Usage::Computed | Usage::OptionalComputed),
        nested_type,
    }
}

/// Objects whose attributes have flags of their own. A list of objects that the configuration or else the provider sets is
/// one of the old attributes that may be written as blocks, which terraform knows by their plain type.
fn nested(attribute: &schema::Attribute) -> Option<Object> {
    let (fields, nesting) = match &attribute.ty {
        Type::Object(fields) => (fields, ObjectNesting::Single),
        Type::List(inner) | Type::Set(inner) | Type::Map(inner) => {
            let Type::Object(fields) = &**inner else { return None };
            let nesting = match &attribute.ty {
                Type::List(_) => ObjectNesting::List,
                Type::Set(_) => ObjectNesting::Set,
                _ => ObjectNesting::Map,
            };
            (fields, nesting)
        }
        _ => return None,
    };
    let old = nesting != ObjectNesting::Single && attribute.usage == Usage::OptionalComputed;
    let attributes = || fields.iter().map(|(name, attribute)| self::attribute(name, attribute)).collect();
    (attribute.usage.is_settable() && !old).then(|| Object { attributes: attributes(), nesting: nesting.into() })
}

fn nested_block(name: &str, nested: &schema::NestedBlock) -> NestedBlock {
    let nesting = match nested.nesting {
        schema::Nesting::Single => Nesting::Single,
        schema::Nesting::Group => Nesting::Group,
        schema::Nesting::List => Nesting::List,
        schema::Nesting::Set => Nesting::Set,
        schema::Nesting::Map => Nesting::Map,
    };
    // Limits are of lists and sets; terraform refuses them elsewhere.
    let limited = matches!(nesting, Nesting::List | Nesting::Set);
    let limit = |limit: u32| if limited { i64::from(limit) } else { 0 };
    NestedBlock {
        type_name: name.to_owned(),
        block: Some((&nested.block).into()),
        nesting: nesting.into(),
        min_items: limit(nested.min),
        max_items: limit(nested.max),
    }
}

/// A type as cty writes it.
fn cty(ty: &Type) -> Value {
    match ty {
        Type::String => json!("string"),
        Type::Number => json!("number"),
        Type::Bool => json!("bool"),
        Type::Any => json!("dynamic"),
        Type::List(inner) => json!(["list", cty(inner)]),
        Type::Set(inner) => json!(["set", cty(inner)]),
        Type::Map(inner) => json!(["map", cty(inner)]),
        Type::Object(fields) => {
            let fields: serde_json::Map<String, Value> =
                fields.iter().map(|(name, field)| (name.clone(), cty(&field.ty))).collect();
            json!(["object", fields])
        }
    }
}
