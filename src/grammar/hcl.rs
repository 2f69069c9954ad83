//! The Lark text of bodies of which no schema is known: any names, any values.
//!
//! Bodies and values are spelled out by depth because indentation is part of the language.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Shapes;
use super::names::Class;
use super::references::References;

/// How deep blocks may nest below the target's own body, and objects and lists below an attribute.
const BLOCK_DEPTH: usize = 5;
const VALUE_DEPTH: usize = 12;

/// Arguments of every resource that repeat, hide or run things (Terraform language, "Meta-arguments", "Provisioners").
const RESERVED: &str = "count|for_each|lifecycle|provisioner|connection|provider|dynamic|depends_on";

/// Functions that compute from their arguments alone.
const FUNCTIONS: [&str; 8] = ["concat", "format", "join", "jsonencode", "lower", "merge", "tolist", "toset"];

/// Bodies, blocks and values, by depth; `body1` is the outermost.
pub(super) fn bodies(shapes: &Shapes, references: &References) -> String {
    let or_known = |terminal: &str, names: &BTreeSet<String>| match names.is_empty() {
        true => "NAME".to_owned(),
        false => format!("({terminal} | NAME)"),
    };
    let (attribute, block) = (or_known("ATTRIBUTE", &shapes.attributes), or_known("BLOCK", &shapes.blocks));
    let mut text = String::new();
    for depth in 1..=BLOCK_DEPTH {
        let pad = "  ".repeat(depth);
        let _ = writeln!(text, "body{depth}: item{depth}+");
        let lifecycle =
            if depth == 1 { " | \"  \" LIFECYCLE (\" = true\\n\" | \" = false\\n\") \"  }\\n\"" } else { "" };
        let _ = writeln!(text, "item{depth}: \"{pad}\" {attribute} \" = \" value{depth} \"\\n\"{lifecycle}");
        if depth < BLOCK_DEPTH {
            let body = format!("(\"\\n\" body{} \"{pad}\")?", depth + 1);
            let _ = writeln!(text, "  | \"{pad}\" {block} \" {{\" {body} \"}}\\n\"");
        }
    }
    for depth in 1..=VALUE_DEPTH {
        let (pad, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        let _ = writeln!(text, "value{depth}: scalar | flat | \"{{}}\"");
        if depth < VALUE_DEPTH {
            let next = depth + 1;
            let _ =
                writeln!(text, "  | \"{{\\n\" (\"{inner}\" (KEY | STRING) \" = \" value{next} \"\\n\")+ \"{pad}}}\"");
            let _ = writeln!(text, "  | \"[\\n\" (\"{inner}\" value{next} \",\\n\")+ \"{pad}]\"");
            let functions = FUNCTIONS.map(|f| format!("\"{f}\"")).join(" | ");
            let _ = writeln!(text, "  | ({functions}) \"(\" value{depth} (\", \" value{depth})* \")\"");
        }
    }
    text.push_str("flat: \"[\" (scalar (\", \" scalar)*)? \"]\"\n");
    let reference = references.terminal(Class::Open).map(|terminal| format!(" | {terminal}")).unwrap_or_default();
    let _ = writeln!(text, "scalar: STRING | NUMBER | \"true\" | \"false\" | \"null\"{reference}");
    // The settings of `lifecycle` that hide nothing.
    text.push_str("LIFECYCLE: /lifecycle \\{\\n    (create_before_destroy|prevent_destroy)/\n");
    text.push_str("NUMBER: /-?(0|[1-9][0-9]*)(\\.[0-9]+)?/\n");
    text.push_str("KEY: /[A-Za-z_][A-Za-z0-9_]*/\n");
    text.push_str(&names(shapes));
    text
}

/// The names of attributes and blocks, apart: those known to be one of the two, and all others.
fn names(shapes: &Shapes) -> String {
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let mut text = String::new();
    let mut known = RESERVED.to_owned();
    for (terminal, names) in [("ATTRIBUTE", &shapes.attributes), ("BLOCK", &shapes.blocks)] {
        if !names.is_empty() {
            let _ = writeln!(text, "{terminal}: /({})/ & ~/{RESERVED}/", list(names));
            known = format!("{known}|{}", list(names));
        }
    }
    let _ = writeln!(text, "NAME: /[A-Za-z_][A-Za-z0-9_]*/ & ~/{known}/");
    text
}

/// A Lark string literal; it has JSON's escapes.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
