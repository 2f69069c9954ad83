//! Whether a block is as its schema says: names, forms, types of literals, limits, and what must be set.
//!
//! What is not written as a literal (references, functions, conditionals) can be of any type here.

use hcl_edit::expr::{Expression, ObjectKey};

use crate::source::{Body, Item};

use super::library::nearest;
use super::{Attribute, Block, NestedBlock, Nesting, Type, Usage, type_name};

/// Arguments and blocks that every resource and data source has (Terraform language, "Meta-arguments", "Provisioners",
/// "Custom Conditions").
const EVERYWHERE: [&str; 8] =
    ["count", "for_each", "depends_on", "provider", "lifecycle", "provisioner", "connection", "dynamic"];

/// What is wrong with a body, one sentence each with the path; empty when nothing is.
pub fn problems(body: &Body, schema: &Block) -> Vec<String> {
    let mut checker = Checker { problems: Vec::new(), path: Vec::new() };
    checker.body(body, schema, true);
    checker.problems
}

/// The path of something in a body of which its schema does not say whether there can be such a thing.
pub fn untold(body: &Body, schema: &Block) -> Option<String> {
    let is_told = |name: &str| !schema.open || schema.attributes.contains_key(name) || schema.blocks.contains_key(name);
    body.items.iter().find_map(|item| match item {
        Item::Attribute(attribute) => (!is_told(&attribute.key)).then(|| attribute.key.clone()),
        Item::Block(block) => {
            let (name, inner) = match block.labels.first() {
                Some(name) if block.keyword == "dynamic" => (name, block.body.blocks().next().map(|it| &it.body)),
                _ => (&block.keyword, Some(&block.body)),
            };
            match schema.blocks.get(name) {
                _ if !is_told(name) => Some(name.clone()),
                Some(nested) => inner.and_then(|inner| Some(format!("{name}.{}", untold(inner, &nested.block)?))),
                None => None,
            }
        }
    })
}

struct Checker {
    problems: Vec<String>,
    path: Vec<String>,
}

impl Checker {
    fn tell(&mut self, name: &str, what: &str) {
        let path = self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        self.problems.push(format!("{path}: {what}"));
    }

    fn body(&mut self, body: &Body, schema: &Block, top: bool) {
        for item in &body.items {
            match item {
                Item::Attribute(attribute) if top && EVERYWHERE.contains(&attribute.key.as_str()) => {}
                Item::Attribute(attribute) => self.attribute(&attribute.key, &attribute.expr, schema),
                Item::Block(block) if block.keyword == "dynamic" => self.dynamic(block, schema),
                Item::Block(block) if top && EVERYWHERE.contains(&block.keyword.as_str()) => {}
                Item::Block(block) => self.block(&block.keyword, &block.body, schema),
            }
        }
        self.limits(body, schema);
        self.missing(body, schema);
    }

    fn attribute(&mut self, name: &str, value: &Expression, schema: &Block) {
        match (schema.attributes.get(name), schema.blocks.get(name)) {
            (Some(attribute), _) if !attribute.usage.is_settable() => {
                self.tell(name, "is set by the provider and cannot be set here");
            }
            (Some(attribute), _) => self.value(name, value, &attribute.ty),
            (None, Some(_)) => self.tell(name, &format!("is a block: write `{name} {{ … }}`, without `=`")),
            (None, None) if schema.open => {}
            (None, None) => self.unknown(name, schema),
        }
    }

    fn block(&mut self, name: &str, body: &Body, schema: &Block) {
        match (schema.blocks.get(name), schema.attributes.get(name)) {
            (Some(nested), _) => {
                self.path.push(name.to_owned());
                self.body(body, &nested.block, false);
                self.path.pop();
            }
            (None, Some(attribute)) => match as_block(&attribute.ty) {
                Some(fields) if attribute.usage.is_settable() => {
                    self.path.push(name.to_owned());
                    self.body(body, &Block { attributes: fields, ..Block::default() }, false);
                    self.path.pop();
                }
                None if attribute.ty == Type::Any => {}
                _ => self.tell(name, &format!("is an attribute: write `{name} = …`")),
            },
            (None, None) if schema.open => {}
            (None, None) => self.unknown(name, schema),
        }
    }

    /// The content of a dynamic block is one of the blocks that its label names.
    fn dynamic(&mut self, block: &crate::source::Block, schema: &Block) {
        let Some(name) = block.labels.first() else { return };
        for content in block.body.blocks().filter(|inner| inner.keyword == "content") {
            self.block(name, &content.body, schema);
        }
    }

    fn unknown(&mut self, name: &str, schema: &Block) {
        let settable = schema.attributes.iter().filter(|(_, attribute)| attribute.usage.is_settable());
        let names = settable.map(|(name, _)| name).chain(schema.blocks.keys()).map(String::as_str);
        let near = nearest(name, names).map_or(String::new(), |near| format!("; the nearest is `{near}`"));
        self.tell(name, &format!("there is no such argument{near}"));
    }

    fn limits(&mut self, body: &Body, schema: &Block) {
        for (name, nested) in &schema.blocks {
            let count = u32::try_from(body.blocks().filter(|block| block.keyword == *name).count()).unwrap_or(u32::MAX);
            let max = most(nested);
            if max > 0 && count > max {
                self.tell(name, &format!("there are {count} of these blocks; there can be {max}"));
            }
            if count < nested.min && !is_dynamic(body, name) {
                self.tell(name, "this block must be there");
            }
        }
    }

    fn missing(&mut self, body: &Body, schema: &Block) {
        for (name, attribute) in &schema.attributes {
            let block_form = as_block(&attribute.ty).is_some()
                && (is_dynamic(body, name) || body.blocks().any(|block| block.keyword == *name));
            let set = body.attribute(name).is_some_and(|written| !matches!(written.expr, Expression::Null(_)));
            if attribute.usage == Usage::Required && !set && !block_form {
                self.tell(name, "must be set");
            }
        }
    }

    fn value(&mut self, name: &str, value: &Expression, ty: &Type) {
        let wrong = |what: &str| format!("must be {}, not {what}", type_name(ty));
        match (value, ty) {
            (Expression::Null(_), _) | (_, Type::Any) => {}
            (Expression::Parenthesis(inner), _) => self.value(name, inner.inner(), ty),
            // As cty converts: bools also from digits, numbers from decimals (go-cty docs, "Type Conversion").
            (Expression::String(text), Type::Bool) if !matches!(text.as_str(), "true" | "false" | "1" | "0") => {
                self.tell(name, &wrong("a string"));
            }
            (Expression::String(text), Type::Number)
                if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || text.parse::<f64>().is_err() =>
            {
                self.tell(name, &wrong("a string"));
            }
            (Expression::Bool(_), Type::Number) => self.tell(name, &wrong("a bool")),
            (Expression::Number(_), Type::Bool) => self.tell(name, &wrong("a number")),
            (Expression::Array(_), Type::String | Type::Number | Type::Bool | Type::Map(_) | Type::Object(_)) => {
                self.tell(name, &wrong("a list"));
            }
            (Expression::Object(_), Type::String | Type::Number | Type::Bool | Type::List(_) | Type::Set(_)) => {
                self.tell(name, &wrong("an object"));
            }
            (
                Expression::String(_) | Expression::Number(_) | Expression::Bool(_),
                Type::List(_) | Type::Set(_) | Type::Map(_) | Type::Object(_),
            ) => self.tell(name, &wrong("a single value")),
            (Expression::Array(values), Type::List(inner) | Type::Set(inner)) => {
                for value in values.iter() {
                    self.value(name, value, inner);
                }
            }
            (Expression::Object(object), Type::Map(inner)) => {
                for (key, value) in object.iter() {
                    let path = key_name(key).map_or(name.to_owned(), |key| format!("{name}.{key}"));
                    self.value(&path, value.expr(), inner);
                }
            }
            (Expression::Object(object), Type::Object(fields)) => {
                let schema = Block { attributes: fields.clone(), ..Block::default() };
                self.path.push(name.to_owned());
                for (key, value) in object.iter() {
                    if let Some(key) = key_name(key) {
                        self.attribute(key, value.expr(), &schema);
                    }
                }
                self.path.pop();
            }
            _ => {}
        }
    }
}

/// Whether blocks of that type are made by a `dynamic` block.
fn is_dynamic(body: &Body, name: &str) -> bool {
    let mut blocks = body.blocks().filter(|block| block.keyword == "dynamic");
    blocks.any(|block| block.labels.first().is_some_and(|label| label == name))
}

fn key_name(key: &ObjectKey) -> Option<&str> {
    match key {
        ObjectKey::Ident(name) => Some(name.as_str()),
        ObjectKey::Expression(Expression::String(text)) => Some(text.as_str()),
        ObjectKey::Expression(_) => None,
    }
}

/// What an attribute holds when it is written as blocks: terraform allows that for lists and sets of objects, for the sake
/// of older configurations (Terraform docs, "Attributes as Blocks").
pub fn as_block(ty: &Type) -> Option<std::collections::BTreeMap<String, Attribute>> {
    let (Type::List(inner) | Type::Set(inner)) = ty else { return None };
    match &**inner {
        Type::Object(fields) => {
            let optional = |attribute: &Attribute| Attribute {
                usage: if attribute.usage == Usage::Computed { Usage::Computed } else { Usage::Optional },
                ..attribute.clone()
            };
            Some(fields.iter().map(|(name, attribute)| (name.clone(), optional(attribute))).collect())
        }
        _ => None,
    }
}

/// How many blocks there may be; 0 for any number.
pub fn most(nested: &NestedBlock) -> u32 {
    match nested.nesting {
        Nesting::Single | Nesting::Group => 1,
        _ => nested.max,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Schemas};
    use super::*;
    use crate::source::{RelPath, SourceFile};

    fn of(ty: &str, items: &str) -> Vec<String> {
        let text = format!("resource \"{ty}\" \"x\" {{\n{items}\n}}\n");
        let file = SourceFile::parse(RelPath::new("main.tf").unwrap(), text.into_bytes()).unwrap();
        let schemas = Schemas::embedded();
        let (schema, _) = schemas.get(Kind::Resource, ty).unwrap();
        problems(&file.body().blocks().next().unwrap().body, &schema)
    }

    #[track_caller]
    fn well(ty: &str, items: &str) {
        assert_eq!(of(ty, items), Vec::<String>::new());
    }

    #[track_caller]
    fn told(ty: &str, items: &str, what: &str) {
        let problems = of(ty, items);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(what), "{problems:?}");
    }

    #[test]
    fn sound_blocks_are_sound() {
        well("aws_sqs_queue", "name = \"a\"\nkms_master_key_id = aws_kms_key.x.id\ncount = 2\nfifo_queue = \"true\"");
        well("aws_sqs_queue", "lifecycle {\n  prevent_destroy = true\n}\ntags = {\n  a = 1\n  \"b/c\" = var.d\n}");
        well(
            "aws_s3_bucket",
            "dynamic \"cors_rule\" {\n  for_each = []\n  content {\n    allowed_methods = []\n    allowed_origins = []\n  }\n}",
        );
        well("aws_security_group", "ingress {\n  from_port = 22\n}\negress = []");
        well(
            "azurerm_redis_cache",
            "name = \"a\"\nlocation = \"b\"\nresource_group_name = \"c\"\ncapacity = 1\nfamily = \"C\"\nsku_name = \"d\"",
        );
    }

    #[test]
    fn names_that_do_not_exist_are_told_with_the_nearest() {
        told("aws_sqs_queue", "kms_key_id = \"x\"", "kms_key_id: there is no such argument; the nearest is `kms_");
        told(
            "aws_s3_bucket",
            "logging {\n  target_bucket = \"x\"\n  target_prefixes = \"x\"\n}",
            "logging.target_prefixes: there is no such argument; the nearest is `target_prefix`",
        );
        told("aws_sqs_queue", "arn = \"x\"", "set by the provider");
    }

    #[test]
    fn blocks_and_attributes_are_told_apart() {
        told("aws_s3_bucket", "versioning = {\n  enabled = true\n}", "versioning: is a block");
        told("aws_sqs_queue", "tags {\n  a = 1\n}", "tags: is an attribute");
        told(
            "aws_s3_bucket",
            "versioning {\n}\nversioning {\n}",
            "versioning: there are 2 of these blocks; there can be 1",
        );
    }

    #[test]
    fn what_must_be_there_is_told() {
        told("aws_iam_role", "name = \"x\"", "assume_role_policy: must be set");
        told("aws_iam_role", "assume_role_policy = null", "assume_role_policy: must be set");
        told("aws_s3_bucket_versioning", "bucket = \"x\"", "versioning_configuration: this block must be there");
        told("aws_s3_bucket", "cors_rule {\n  allowed_methods = []\n}", "cors_rule.allowed_origins: must be set");
    }

    #[test]
    fn literals_must_be_of_the_type() {
        told("aws_sqs_queue", "fifo_queue = \"yes\"", "fifo_queue: must be bool, not a string");
        well("aws_sqs_queue", "fifo_queue = \"1\"");
        told("aws_sqs_queue", "delay_seconds = \"inf\"", "delay_seconds: must be number, not a string");
        told("aws_sqs_queue", "delay_seconds = true", "delay_seconds: must be number, not a bool");
        told("aws_sqs_queue", "name = [\"x\"]", "name: must be string, not a list");
        told("aws_sqs_queue", "tags = \"x\"", "tags: must be map(string), not a single value");
        told(
            "aws_security_group",
            "egress = [{ from_prt = 1 }]",
            "egress.from_prt: there is no such argument; the nearest is `from_port`",
        );
        well("aws_sqs_queue", "name = 5\ndelay_seconds = \"5\"\nfifo_queue = var.x\npolicy = jsonencode({ a = 1 })");
    }
}
