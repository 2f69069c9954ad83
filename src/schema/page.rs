//! A schema as a page to read.

use std::fmt::Write;

use super::{Attribute, Block, NestedBlock, Nesting, Type, Usage};

/// The page of a block: what must be set, what may be, nested blocks, and what the provider sets.
pub fn page(block: &Block) -> String {
    let mut text = String::new();
    body(block, 0, &mut text);
    let computed: Vec<_> = block.attributes.iter().filter(|(_, a)| a.usage == Usage::Computed).collect();
    if !computed.is_empty() {
        text.push_str("\nset by the provider\n");
        attributes(computed.into_iter(), 1, &mut text);
    }
    text
}

fn body(block: &Block, depth: usize, text: &mut String) {
    let settable = |required: bool| {
        block.attributes.iter().filter(move |(_, a)| a.usage.is_settable() && (a.usage == Usage::Required) == required)
    };
    attributes(settable(true).chain(settable(false)), depth + 1, text);
    for (name, nested) in &block.blocks {
        let pad = "  ".repeat(depth + 1);
        let _ = writeln!(text, "{pad}{name} {{ }}  {}", limits(nested));
        body(&nested.block, depth + 1, text);
    }
    if block.open {
        let _ = writeln!(text, "{}and what the provider's documentation has beside", "  ".repeat(depth + 1));
    }
}

fn attributes<'a>(list: impl Iterator<Item = (&'a String, &'a Attribute)>, depth: usize, text: &mut String) {
    let list: Vec<_> = list.collect();
    let width = list.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let pad = "  ".repeat(depth);
    for (name, attribute) in list {
        let usage = match attribute.usage {
            Usage::Required => ", required",
            Usage::OptionalComputed => ", else the provider's",
            Usage::Optional | Usage::Computed => "",
        };
        let values = match attribute.values.as_slice() {
            [] => String::new(),
            values => format!(" of {}", values.join(" | ")),
        };
        let _ = writeln!(text, "{pad}{name:width$}  {}{values}{usage}", type_name(&attribute.ty));
    }
}

fn limits(block: &NestedBlock) -> String {
    let count = match (block.nesting, block.min, block.max) {
        (Nesting::Single | Nesting::Group, _, _) | (_, 0, 1) => "at most one".to_owned(),
        (_, 1, 1) => "exactly one".to_owned(),
        (_, 0, 0) => "any number".to_owned(),
        (_, min, 0) => format!("at least {min}"),
        (_, 0, max) => format!("at most {max}"),
        (_, min, max) => format!("{min} to {max}"),
    };
    match block.nesting {
        Nesting::Map => format!("{count}, each with a label"),
        Nesting::Set => format!("{count}, in no order"),
        _ => count,
    }
}

/// A type as Terraform writes it.
pub fn type_name(ty: &Type) -> String {
    match ty {
        Type::String => "string".into(),
        Type::Number => "number".into(),
        Type::Bool => "bool".into(),
        Type::Any => "any".into(),
        Type::List(inner) => format!("list({})", type_name(inner)),
        Type::Set(inner) => format!("set({})", type_name(inner)),
        Type::Map(inner) => format!("map({})", type_name(inner)),
        Type::Object(fields) => {
            let field = |(name, field): (&String, &Attribute)| match field.usage {
                Usage::Required => format!("{name} = {}", type_name(&field.ty)),
                _ => format!("{name} = optional({})", type_name(&field.ty)),
            };
            format!("object({{ {} }})", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::Schemas;
    use super::*;

    #[test]
    fn a_page_tells_what_is_required_what_is_nested_and_what_is_given() {
        let schemas = Schemas::embedded();
        let (block, _) = schemas.get(Kind::Resource, "aws_s3_bucket").unwrap();
        let page = page(&block);
        for line in [
            "  acl                  string, else the provider's",
            "  force_destroy        bool",
            "  cors_rule { }  any number",
            "    allowed_methods  list(string), required",
            "  logging { }  at most one",
            "  grant { }  any number, in no order",
        ] {
            assert!(page.lines().any(|l| l == line), "{line:?} is not in\n{page}");
        }
        let (_, given) = page.split_once("\nset by the provider\n").unwrap();
        assert!(given.lines().any(|line| line.trim_start().starts_with("arn ")), "{given}");
    }

    #[test]
    fn types_are_named_as_terraform_does() {
        let schemas = Schemas::embedded();
        let (block, _) = schemas.get(Kind::Resource, "aws_security_group").unwrap();
        let ingress = type_name(&block.attributes["ingress"].ty);
        assert!(ingress.starts_with("set(object({ ") && ingress.contains("from_port = optional(number)"), "{ingress}");
    }
}
