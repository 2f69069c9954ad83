//! Schemas as `terraform providers schema -json` prints them (Terraform docs, "Command: providers schema", format 1.0).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::pack::{Head, Pack};
use super::{Attribute, Block, Kind, NestedBlock, Nesting, SchemaError, Type, Usage};

#[derive(Deserialize)]
struct Document {
    format_version: String,
    #[serde(default)]
    provider_schemas: BTreeMap<String, Provider>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Provider {
    provider: Option<Schema>,
    resource_schemas: BTreeMap<String, Schema>,
    data_source_schemas: BTreeMap<String, Schema>,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    block: BlockJson,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BlockJson {
    attributes: BTreeMap<String, AttributeJson>,
    block_types: BTreeMap<String, NestedJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttributeJson {
    r#type: Option<Value>,
    nested_type: Option<ObjectJson>,
    required: bool,
    optional: bool,
    computed: bool,
    description: String,
}

#[derive(Deserialize)]
struct ObjectJson {
    #[serde(default)]
    attributes: BTreeMap<String, AttributeJson>,
    nesting_mode: String,
}

#[derive(Deserialize)]
struct NestedJson {
    nesting_mode: String,
    #[serde(default)]
    block: BlockJson,
    #[serde(default)]
    min_items: u32,
    #[serde(default)]
    max_items: u32,
}

/// The providers of a document, a pack each. `path` is where it came from, for messages and the packs' heads.
///
/// # Errors
/// When the text is no such document.
pub fn read(text: &str, path: &Path) -> Result<Vec<Pack>, SchemaError> {
    let bad = |why: String| SchemaError::Content { path: path.to_owned(), why };
    let document: Document = serde_json::from_str(text).map_err(|e| bad(format!("no provider schemas: {e}")))?;
    if !document.format_version.starts_with("1.") {
        return Err(bad(format!("provider schemas of format {}; caulk knows 1.x", document.format_version)));
    }
    let pack = |(address, provider): (&String, &Provider)| {
        // `registry/namespace/name`: which registry it was is not ours to tell.
        let (_, provider_address) = address.split_once('/').unwrap_or(("", address));
        let name = address.rsplit('/').next().unwrap_or(address);
        let head =
            Head::new(name, provider_address, "unknown", "terraform providers schema -json", "the provider's own");
        let configuration = provider.provider.iter().map(|schema| ((Kind::Provider, name.to_owned()), schema));
        let resources = provider.resource_schemas.iter().map(|(ty, schema)| ((Kind::Resource, ty.clone()), schema));
        let data = provider.data_source_schemas.iter().map(|(ty, schema)| ((Kind::Data, ty.clone()), schema));
        let schemas = configuration.chain(resources).chain(data).map(|(key, schema)| (key, block(&schema.block)));
        Pack::new(&head, &schemas.collect())
    };
    Ok(document.provider_schemas.iter().map(pack).collect())
}

fn block(json: &BlockJson) -> Block {
    Block {
        attributes: json.attributes.iter().map(|(name, json)| (name.clone(), attribute(json))).collect(),
        blocks: json.block_types.iter().map(|(name, json)| (name.clone(), nested(json))).collect(),
        open: false,
    }
}

fn nested(json: &NestedJson) -> NestedBlock {
    let nesting = match json.nesting_mode.as_str() {
        "single" => Nesting::Single,
        "group" => Nesting::Group,
        "set" => Nesting::Set,
        "map" => Nesting::Map,
        _ => Nesting::List,
    };
    NestedBlock { nesting, min: json.min_items, max: json.max_items, block: block(&json.block) }
}

fn attribute(json: &AttributeJson) -> Attribute {
    let ty = match (&json.nested_type, &json.r#type) {
        (Some(object), _) => {
            let fields = object.attributes.iter().map(|(name, json)| (name.clone(), attribute(json))).collect();
            let object_type = Box::new(Type::Object(fields));
            match object.nesting_mode.as_str() {
                "list" => Type::List(object_type),
                "set" => Type::Set(object_type),
                "map" => Type::Map(object_type),
                _ => *object_type,
            }
        }
        (None, Some(json)) => type_of(json),
        (None, None) => Type::Any,
    };
    Attribute::new(ty, Usage::of(json.required, json.optional, json.computed)).described(&json.description)
}

/// A type in cty's JSON form: `"string"`, `["list", "string"]`, `["object", {"a": "number"}]`.
fn type_of(json: &Value) -> Type {
    let inner = || Box::new(json.get(1).map_or(Type::Any, type_of));
    match json.as_str().or_else(|| json.get(0)?.as_str()) {
        Some("string") => Type::String,
        Some("number") => Type::Number,
        Some("bool") => Type::Bool,
        Some("list") => Type::List(inner()),
        Some("set") => Type::Set(inner()),
        Some("map") => Type::Map(inner()),
        Some("object") => {
            let fields = json.get(1).and_then(Value::as_object).into_iter().flatten();
            let field =
                |(name, json): (&String, &Value)| (name.clone(), Attribute::new(type_of(json), Usage::Required));
            Type::Object(fields.map(field).collect())
        }
        _ => Type::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"format_version": "1.0", "provider_schemas": {"registry.test/acme/cloud": {
        "provider": {"version": 0, "block": {"attributes": {"region": {"type": "string", "optional": true}}}},
        "resource_schemas": {"cloud_disk": {"version": 1, "block": {
            "attributes": {
                "id": {"type": "string", "computed": true},
                "size": {"type": "number", "required": true},
                "labels": {"type": ["map", "string"], "optional": true, "computed": true},
                "rules": {"type": ["set", ["object", {"port": "number"}]], "optional": true},
                "key": {"nested_type": {"nesting_mode": "single", "attributes": {"name": {"type": "string", "required": true}}},
                        "optional": true}
            },
            "block_types": {"backup": {"nesting_mode": "list", "max_items": 1, "block": {
                "attributes": {"days": {"type": "number", "optional": true}}}}}
        }}},
        "data_source_schemas": {"cloud_disk": {"version": 0, "block": {}}}
    }}}"#;

    #[test]
    fn every_part_of_a_schema_is_read() {
        let packs = read(DOCUMENT, Path::new("schema.json")).unwrap();
        let pack = &packs[0];
        assert_eq!(
            (pack.head().unwrap().name.as_str(), pack.head().unwrap().provider.as_str()),
            ("cloud", "acme/cloud")
        );
        let disk = pack.get(Kind::Resource, "cloud_disk").unwrap();
        assert_eq!(disk.attributes["id"], Attribute::new(Type::String, Usage::Computed));
        assert_eq!(disk.attributes["size"].usage, Usage::Required);
        assert_eq!(disk.attributes["labels"].ty, Type::Map(Box::new(Type::String)));
        let Type::Set(rule) = &disk.attributes["rules"].ty else { panic!("{disk:?}") };
        assert!(matches!(&**rule, Type::Object(fields) if fields["port"].ty == Type::Number));
        assert!(matches!(&disk.attributes["key"].ty, Type::Object(fields) if fields["name"].usage == Usage::Required));
        let backup = &disk.blocks["backup"];
        assert_eq!((backup.nesting, backup.min, backup.max), (Nesting::List, 0, 1));
        assert_eq!(backup.block.attributes["days"].ty, Type::Number);
        assert!(pack.get(Kind::Data, "cloud_disk").is_some());
        assert!(pack.get(Kind::Provider, "cloud").unwrap().attributes.contains_key("region"));
    }

    #[test]
    fn other_documents_are_refused() {
        for (text, why) in [("[]", "no provider schemas"), (r#"{"format_version": "2.0"}"#, "2.0")] {
            let error = read(text, Path::new("x.json")).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("x.json"), "{error}");
        }
    }
}
