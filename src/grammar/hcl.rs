//! The Lark text of HCL overrides, with whitespace fixed so that the tokens of indentation and punctuation are forced.
//!
//! Bodies and values are spelled out by depth because indentation is part of the language. llguidance's lexer is
//! greedy and does not go back, so each terminal is decided by its own characters: a plain string holds no `${`.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::source::BlockAddr;

use super::{Repetition, Scope, Shapes, is_name};

/// How deep blocks may nest below the target's own body, and objects and lists below an attribute.
const BLOCK_DEPTH: usize = 5;
const VALUE_DEPTH: usize = 12;

/// Arguments of every resource that repeat, hide or run things (Terraform language, "Meta-arguments", "Provisioners").
const RESERVED: &str = "count|for_each|lifecycle|provisioner|connection|provider|dynamic|depends_on";

/// Functions that compute from their arguments alone.
const FUNCTIONS: [&str; 8] = ["concat", "format", "join", "jsonencode", "lower", "merge", "tolist", "toset"];

/// The answer: the target's header, what changes, and companions; one of the two must be there.
pub(super) fn start(target: &BlockAddr, companions: bool) -> String {
    let header = header(target);
    let tail = if companions { "\"}\" companion*" } else { "\"}\"" };
    let mut text = format!("start: changed{}\n", if companions { " | added" } else { "" });
    let _ = writeln!(text, "changed: {header} body1 {tail}");
    if companions {
        let _ = writeln!(text, "added: {header} \"}}\" companion+");
    }
    text
}

fn header(block: &BlockAddr) -> String {
    quote(&format!("{}\n", opening(block)))
}

/// A block's header up to its brace.
fn opening(block: &BlockAddr) -> String {
    let labels: String = block.labels.iter().map(|label| format!(" \"{label}\"")).collect();
    format!("{}{labels} {{", block.keyword)
}

/// What new blocks may be: types of resources and data sources, and what they are named after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Companions<'a> {
    /// Resource types of which the module has no block of the target's name.
    pub free: &'a [&'a str],
    /// Those of which it has one: a new block needs a suffix.
    pub taken: &'a [&'a str],
    /// Types of data sources.
    pub data: &'a [&'a str],
    /// The target's name.
    pub name: &'a str,
}

impl Companions<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty() && self.taken.is_empty() && self.data.is_empty()
    }
}

/// A blank line, then a new block: a resource of an allowed type or a data source.
pub(super) fn companions(new: &Companions<'_>) -> String {
    let mut kinds = Vec::new();
    for (types, name) in [(new.free, "NEW"), (new.taken, "NEW_SUFFIXED")] {
        if !types.is_empty() {
            let open = format!("\"\\n\\nresource \\\"\" ({})", either(types));
            kinds.push(format!("{open} \"\\\" \\\"\" {name} \"\\\" {{\\n\" body1 \"}}\""));
        }
    }
    if !new.data.is_empty() {
        let open = format!("\"\\n\\ndata \\\"\" ({}) \"\\\" \\\"\" (NEW | \"current\")", either(new.data));
        kinds.push(format!("{open} \"\\\" {{\" (\"\\n\" body1)? \"}}\""));
    }
    if kinds.is_empty() {
        return String::new();
    }
    let name = escape(new.name);
    format!("companion: {}\nNEW: /{name}(_[a-z]+)?/\nNEW_SUFFIXED: /{name}_[a-z]+/\n", kinds.join("\n  | "))
}

/// A blank line, then one certain new block.
pub(super) fn companion(block: &BlockAddr) -> String {
    let open = quote(&format!("\n\n{}", opening(block)));
    match block.keyword.as_str() {
        "data" => format!("{open} (\"\\n\" body1)? \"}}\""),
        _ => format!("{open} \"\\n\" body1 \"}}\""),
    }
}

/// References: to what the module declares, and to companions.
pub(super) fn references(scope: &Scope<'_>, new: &Companions<'_>) -> String {
    let mut heads = Vec::new();
    for block in scope.declared.iter().filter(|block| block.labels.iter().all(|label| is_name(label))) {
        let head = escape(&block.to_string());
        match block.keyword.as_str() {
            "resource" | "data" => heads.push(format!(r"{head}(\[[0-9]+\])?\.[a-z][a-z0-9_]*")),
            "module" => heads.push(format!(r"{head}\.[a-z][a-z0-9_]*")),
            "variable" | "local" => heads.push(format!(r"{head}(\.[a-z][a-z0-9_]*)?")),
            _ => {}
        }
    }
    let escaped = |types: &[&str]| types.iter().map(|ty| escape(ty)).collect::<Vec<_>>().join("|");
    let name = escape(new.name);
    for (types, suffix) in [(new.free, "(_[a-z]+)?"), (new.taken, "_[a-z]+")] {
        if !types.is_empty() {
            heads.push(format!(r"({})\.{name}{suffix}\.[a-z][a-z0-9_]*", escaped(types)));
        }
    }
    if !new.data.is_empty() {
        heads.push(format!(r"data\.({})\.(current|{name})\.[a-z][a-z0-9_]*", escaped(new.data)));
    }
    match scope.repetition {
        Some(Repetition::Count) => heads.push(r"count\.index".to_owned()),
        Some(Repetition::ForEach) => heads.push(r"each\.(key|value)(\.[a-z][a-z0-9_]*)?".to_owned()),
        None => {}
    }
    // A grammar needs a terminal even where nothing can be referred to: `null` is a value anyway.
    if heads.is_empty() {
        heads.push("null".to_owned());
    }
    let heads = heads.join("|");
    let plain = r#"[^"\\$%\x00-\x1f\x7f]|\\["\\nrt]|[$%][^"\\{$%\x00-\x1f\x7f]"#;
    format!("REF: /({heads})(\\[[0-9]+\\])?/\nSTRING: /\"({plain}|\\$\\{{({heads})\\}})*\"/\n")
}

/// Bodies, blocks and values, by depth.
pub(super) fn bodies(shapes: &Shapes) -> String {
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
    text.push_str("scalar: STRING | NUMBER | REF | \"true\" | \"false\" | \"null\"\n");
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

fn either(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" | ")
}

/// A Lark string literal; it has JSON's escapes.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Escapes for a regular expression inside `/…/`; labels hold only letters, digits, `_`, `-`, addresses also `.`.
fn escape(text: &str) -> String {
    text.replace('.', "\\.")
}
