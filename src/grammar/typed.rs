//! The Lark text of a block's body as its schema has it.
//!
//! A body is a rule with a parameter of 64 bits (llguidance's parametric grammars): each item that may stand once has a bit
//! that is set when it is written, blocks that may stand a few times have a counter, and a body can end when what is
//! required is there. So items come in any order, each as often as it may. Bodies and values are spelled out by depth
//! because indentation is part of the language.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use serde_json::Value;

use crate::schema::{self, Attribute, Block, NestedBlock, Nesting, Type, Usage};
use crate::source::Body;

use super::names::Class;
use super::references::References;

/// How deep lists and objects may nest below an attribute that may hold anything.
const VALUE_DEPTH: usize = 12;

/// What a rule says of an attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The names that lead to it, blocks first.
    pub path: Vec<String>,
    /// The values that pass; empty where any does.
    pub values: Vec<Value>,
}

impl Wanted {
    /// Whether the path leads to something of the schema that can be set to what is wanted.
    pub(super) fn is_of(&self, schema: &Block) -> bool {
        let Some((last, outer)) = self.path.split_last() else { return false };
        let mut block = schema;
        for name in outer {
            let Some(nested) = block.blocks.get(name) else { return false };
            block = &nested.block;
        }
        match (block.attributes.get(last), block.blocks.contains_key(last)) {
            (Some(attribute), _) if object_of(&attribute.ty).is_some() => false,
            (Some(attribute), _) => {
                attribute.usage.is_settable() && (self.values.is_empty() || literals(self, &attribute.ty).is_some())
            }
            (None, is_block) => is_block && self.values.is_empty(),
        }
    }
}

/// How a body is written.
#[derive(Clone, Copy, Default)]
struct Form<'a> {
    /// The body that it is merged over: it holds only what changes, and at least something. A body over nothing is new:
    /// all that is required must be there.
    over: Option<&'a Body>,
    /// What a rule says of a value in it, and how many names of the path lead here.
    wanted: Option<(&'a Wanted, usize)>,
    /// Whether only that can be written, and must be, with what else is required.
    narrow: bool,
}

impl<'a> Form<'a> {
    /// What is wanted of an item of that name.
    fn wanted_of(self, name: &str) -> Option<(&'a Wanted, usize)> {
        let (wanted, depth) = self.wanted?;
        (wanted.path.get(depth).map(String::as_str) == Some(name)).then_some((wanted, depth + 1))
    }
}

/// Writes rules.
pub(super) struct Typed<'a> {
    references: &'a References,
    /// Whether the block has a life of its own: resources have, data sources are read.
    lives: bool,
    rules: String,
    count: usize,
    /// Rules of whole bodies by schema and depth: firewalls' statements and the like repeat.
    whole: HashMap<(&'a Block, usize), String>,
    /// Rules of values, by what they are called.
    values: BTreeSet<String>,
}

/// What may stand in a body.
struct Piece {
    /// How it is written.
    text: String,
    /// How often it may stand.
    times: Times,
    /// How often it must.
    least: u32,
    /// Its other form, by position: only one of the two may stand in a body.
    instead_of: Option<usize>,
}

impl Piece {
    fn new(text: String, times: Times) -> Self {
        Self { text, times, least: 0, instead_of: None }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Times {
    Once,
    AtMost(u32),
    Any,
}

impl<'a> Typed<'a> {
    pub(super) fn new(references: &'a References, lives: bool) -> Self {
        Self { references, lives, rules: String::new(), count: 0, whole: HashMap::new(), values: BTreeSet::new() }
    }

    /// Writes the rules of a new block's body. Returns how it is called.
    pub(super) fn whole(&mut self, schema: &'a Block) -> String {
        self.body(schema, 1, Form::default())
    }

    /// Writes the rules of an override's body. Returns how it is called. A narrow one holds what is wanted and nothing that
    /// could be left out.
    pub(super) fn over(
        &mut self,
        schema: &'a Block,
        body: &'a Body,
        wanted: Option<&'a Wanted>,
        narrow: bool,
    ) -> String {
        self.body(schema, 1, Form { over: Some(body), wanted: wanted.map(|wanted| (wanted, 0)), narrow })
    }

    /// The rules.
    pub(super) fn finish(mut self) -> String {
        self.rules.push_str("NUMBER: /-?(0|[1-9][0-9]*)(\\.[0-9]+)?/\nKEY: /[A-Za-z_][A-Za-z0-9_]*/\n");
        self.rules
    }

    fn body(&mut self, schema: &'a Block, depth: usize, form: Form<'a>) -> String {
        let plain = form.over.is_none() && form.wanted.is_none();
        if let Some(known) = self.whole.get(&(schema, depth)).filter(|_| plain) {
            return known.clone();
        }
        let mut pieces = Vec::new();
        for (name, attribute) in &schema.attributes {
            if attribute.usage.is_settable() && !is_left_out(name, attribute, depth) {
                pieces.extend(self.attribute(name, attribute, depth, form));
            }
        }
        for (name, nested) in schema.blocks.iter().filter(|(name, _)| *name != "timeouts") {
            self.nested(name, nested, depth, form, &mut pieces);
        }
        if !form.narrow && depth == 1 && self.lives {
            let lifecycle = r#""  lifecycle {\n    " ("create_before_destroy" | "prevent_destroy") " = true\n  }\n""#;
            pieces.push(Piece::new(lifecycle.to_owned(), Times::Once));
        }
        let rule = self.permutation(&pieces, form.over.is_some());
        if plain {
            self.whole.insert((schema, depth), rule.clone());
        }
        rule
    }

    fn attribute(&mut self, name: &str, attribute: &'a Attribute, depth: usize, form: Form<'a>) -> Option<Piece> {
        let pad = "  ".repeat(depth);
        let required = attribute.usage == Usage::Required;
        let is_wanted = form.wanted_of(name).is_some();
        let least = u32::from(required && form.over.is_none() || is_wanted && form.narrow);
        if form.narrow && least == 0 {
            return None;
        }
        let written = form.over.is_some_and(|body| body.attribute(name).is_some());
        // The schema does not say what it is, but the configuration does: blocks, of which nothing is known.
        if attribute.ty == Type::Any && form.over.is_some_and(|body| body.blocks().any(|block| block.keyword == name)) {
            return None;
        }
        if let (Some(fields), false) = (object_of(&attribute.ty), written) {
            let body = self.fields(fields, depth + 1, true);
            let text = format!("\"{pad}{name} {{\\n\" {body} \"{pad}}}\\n\"");
            return Some(Piece { least, ..Piece::new(text, Times::Any) });
        }
        let wanted = form.wanted_of(name).filter(|(wanted, depth)| wanted.path.len() == *depth);
        let value = match wanted.and_then(|(wanted, _)| literals(wanted, &attribute.ty)) {
            Some(literals) => literals,
            None => self.value(&attribute.ty, depth),
        };
        let or_null = if written && !required && !form.narrow { " | \"null\"" } else { "" };
        Some(Piece { least, ..Piece::new(format!("\"{pad}{name} = \" ({value}{or_null}) \"\\n\""), Times::Once) })
    }

    fn nested(&mut self, name: &str, nested: &'a NestedBlock, depth: usize, form: Form<'a>, pieces: &mut Vec<Piece>) {
        let pad = "  ".repeat(depth);
        let label = if nested.nesting == Nesting::Map { " \\\"\" KEY \"\\\"" } else { "" };
        let times = match schema::most(nested) {
            0 => Times::Any,
            1 => Times::Once,
            most => Times::AtMost(most),
        };
        let block = |body: &str| format!("\"{pad}{name}{label} {{\\n\" {body} \"{pad}}}\\n\"");
        let wanted = form.wanted_of(name);
        let narrow = form.narrow;
        if form.narrow && wanted.is_none() && (form.over.is_some() || nested.min == 0) {
            return;
        }
        let present: Vec<&Body> = match form.over {
            Some(body) => body.blocks().filter(|block| block.keyword == name).map(|block| &block.body).collect(),
            None => Vec::new(),
        };
        // One block over one is merged with it, so it holds only what changes; any other is new, or must hold what it needs
        // in case it is.
        let mut instead_of = None;
        if let [only] = present.as_slice() {
            let body = self.body(&nested.block, depth + 1, Form { over: Some(only), wanted, narrow });
            instead_of = Some(pieces.len());
            pieces.push(Piece { least: u32::from(narrow), ..Piece::new(block(&body), Times::Once) });
            if narrow {
                return;
            }
        }
        if instead_of.is_none() || times != Times::Once {
            let body = self.body(&nested.block, depth + 1, Form { over: None, wanted, narrow });
            let least = if form.over.is_none() { nested.min } else { 0 }.max(u32::from(narrow));
            let times = if narrow && present.is_empty() { Times::Once } else { times };
            pieces.push(Piece { least, instead_of, ..Piece::new(block(&body), times) });
        }
        if !present.is_empty() && nested.min == 0 && !narrow {
            pieces.push(Piece::new(format!("\"{pad}{name} = null\\n\""), Times::Once));
        }
    }

    /// The lines of an object, or the body of an attribute that is written as a block.
    fn fields(&mut self, fields: &'a BTreeMap<String, Attribute>, depth: usize, as_block: bool) -> String {
        let pad = "  ".repeat(depth);
        let mut pieces = Vec::new();
        for (name, attribute) in fields.iter().filter(|(_, attribute)| attribute.usage.is_settable()) {
            let value = self.value(&attribute.ty, depth);
            let text = format!("\"{pad}{name} = \" ({value}) \"\\n\"");
            let least = u32::from(attribute.usage == Usage::Required && !as_block);
            pieces.push(Piece { least, ..Piece::new(text, Times::Once) });
        }
        self.permutation(&pieces, false)
    }

    /// A rule for pieces in any order, each as often as it may and must. With `some`, there must be at least one.
    fn permutation(&mut self, pieces: &[Piece], some: bool) -> String {
        self.count += 1;
        let rule = format!("b{}", self.count);
        let places = Place::all(pieces);
        let ends: Vec<String> =
            pieces.iter().zip(&places).filter_map(|(piece, place)| place.reached(piece.least)).collect();
        // A rule that keeps account of nothing must not have a parameter.
        let counts = places.iter().any(|place| !matches!(place, Place::Nowhere));
        let call = |parameter: String| if counts { format!("{rule}::{parameter}") } else { rule.clone() };
        let _ = writeln!(self.rules, "{rule}{}: \"\"{}", if counts { "::_" } else { "" }, condition(&ends));
        let mut first = Vec::new();
        for (index, (piece, place)) in pieces.iter().zip(&places).enumerate() {
            let others = (0..pieces.len())
                .filter(|&other| piece.instead_of == Some(other) || pieces[other].instead_of == Some(index));
            let conditions: Vec<String> =
                place.free(piece.times).into_iter().chain(others.filter_map(|other| places[other].unused())).collect();
            let _ = writeln!(self.rules, "  | {} {}{}", piece.text, call(place.next()), condition(&conditions));
            first.push(format!("{} {}", piece.text, call(place.after_first())));
        }
        if !some {
            return call("0x0".into());
        }
        let _ = writeln!(self.rules, "{rule}s: {}", first.join("\n  | "));
        format!("{rule}s")
    }

    /// An expression for the values of a type, at a depth of indentation.
    fn value(&mut self, ty: &'a Type, depth: usize) -> String {
        let reference = |class: Class| self.references.terminal(class).map(|t| format!(" | {t}")).unwrap_or_default();
        match ty {
            Type::String => {
                let document = self.anything(depth);
                format!("STRING{} | \"jsonencode(\" {document} \")\"", reference(Class::Text))
            }
            Type::Number => format!("NUMBER{}", reference(Class::Number)),
            Type::Bool => format!("\"true\" | \"false\"{}", reference(Class::Bool)),
            Type::Any => self.anything(depth),
            Type::List(inner) | Type::Set(inner) => self.list(inner, depth),
            Type::Map(inner) => self.map(inner, depth),
            Type::Object(fields) => {
                let (pad, lines) = ("  ".repeat(depth), self.fields(fields, depth + 1, false));
                format!("\"{{\\n\" {lines} \"{pad}}}\"")
            }
        }
    }

    /// A value on one line, for lists on one line.
    fn flat(&self, ty: &Type) -> Option<String> {
        let reference = |class: Class| self.references.terminal(class).map(|t| format!(" | {t}")).unwrap_or_default();
        match ty {
            Type::String => Some(format!("STRING{}", reference(Class::Text))),
            Type::Number => Some(format!("NUMBER{}", reference(Class::Number))),
            Type::Bool => Some(format!("\"true\" | \"false\"{}", reference(Class::Bool))),
            _ => None,
        }
    }

    fn list(&mut self, inner: &'a Type, depth: usize) -> String {
        let name = format!("l{}_{depth}", type_key(inner));
        if self.values.insert(name.clone()) {
            let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
            let element = self.value(inner, depth + 1);
            let mut text = format!("{name}: \"[]\"\n  | \"[\\n\" (\"{deeper}\" ({element}) \",\\n\")+ \"{pad}]\"\n");
            if let Some(flat) = self.flat(inner) {
                let _ = writeln!(
                    text,
                    "  | \"[\" ({flat}) (\", \" ({flat}))* \"]\"\n  | \"concat(\" {name} (\", \" {name})+ \")\""
                );
                if let Some(terminal) = self.references.terminal(Class::List) {
                    let _ = writeln!(text, "  | {terminal}");
                }
            }
            self.rules.push_str(&text);
        }
        name
    }

    fn map(&mut self, inner: &'a Type, depth: usize) -> String {
        let name = format!("m{}_{depth}", type_key(inner));
        if self.values.insert(name.clone()) {
            let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
            let value = self.value(inner, depth + 1);
            let entry = format!("\"{deeper}\" (KEY | PLAIN) \" = \" ({value}) \"\\n\"");
            let mut text = format!("{name}: \"{{}}\"\n  | \"{{\\n\" ({entry})+ \"{pad}}}\"\n");
            if self.flat(inner).is_some() {
                let _ = writeln!(text, "  | \"merge(\" {name} (\", \" {name})+ \")\"");
                if let Some(terminal) = self.references.terminal(Class::Map) {
                    let _ = writeln!(text, "  | {terminal}");
                }
            }
            self.rules.push_str(&text);
        }
        name
    }

    /// The rule for whatever can be written: documents.
    fn anything(&mut self, depth: usize) -> String {
        let name = format!("any{depth}");
        if !self.values.insert(name.clone()) {
            return name;
        }
        let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        let reference = self.references.terminal(Class::Open).map(|t| format!(" | {t}")).unwrap_or_default();
        let scalar = format!("STRING | NUMBER | \"true\" | \"false\" | \"null\"{reference}");
        let mut text =
            format!("{name}: {scalar} | \"{{}}\" | \"[]\"\n  | \"[\" ({scalar}) (\", \" ({scalar}))* \"]\"\n");
        if depth < VALUE_DEPTH {
            let next = self.anything(depth + 1);
            let _ = writeln!(text, "  | \"{{\\n\" (\"{deeper}\" (KEY | PLAIN) \" = \" {next} \"\\n\")+ \"{pad}}}\"");
            let _ = writeln!(text, "  | \"[\\n\" (\"{deeper}\" {next} \",\\n\")+ \"{pad}]\"");
        }
        self.rules.push_str(&text);
        name
    }
}

/// Attributes that no fix sets though the schema lets it: the id that a provider gives, and all tags with the provider's
/// own among them.
fn is_left_out(name: &str, attribute: &Attribute, depth: usize) -> bool {
    depth == 1 && attribute.usage == Usage::OptionalComputed && matches!(name, "id" | "tags_all")
}

/// The objects of which an attribute is a list: it can be written as blocks (Terraform docs, "Attributes as Blocks").
fn object_of(ty: &Type) -> Option<&BTreeMap<String, Attribute>> {
    match ty {
        Type::List(inner) | Type::Set(inner) => match &**inner {
            Type::Object(fields) => Some(fields),
            _ => None,
        },
        _ => None,
    }
}

/// The wanted values as literals of a type, each once; `None` when none of them is of it.
fn literals(wanted: &Wanted, ty: &Type) -> Option<String> {
    let mut literals: Vec<String> = Vec::new();
    for value in &wanted.values {
        let bare = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => continue,
        };
        let literal = match ty {
            Type::String => super::hcl::quote(&bare),
            Type::Bool if matches!(bare.to_lowercase().as_str(), "true" | "false") => bare.to_lowercase(),
            Type::Number if bare.parse::<f64>().is_ok() => bare,
            _ => continue,
        };
        if !literals.contains(&literal) {
            literals.push(literal);
        }
    }
    let quoted = literals.iter().map(|literal| super::hcl::quote(literal)).collect::<Vec<_>>().join(" | ");
    (!quoted.is_empty()).then_some(quoted)
}

/// A name for rules of a type, the same for the same type.
fn type_key(ty: &Type) -> String {
    match ty {
        Type::String => "s".into(),
        Type::Number => "n".into(),
        Type::Bool => "b".into(),
        Type::Any => "a".into(),
        Type::List(inner) | Type::Set(inner) => format!("l{}", type_key(inner)),
        Type::Map(inner) => format!("m{}", type_key(inner)),
        Type::Object(_) => format!("o{}", crate::digest::sha256_hex(format!("{ty:?}").as_bytes())),
    }
}

/// Where a piece is kept account of in the parameter.
#[derive(Clone, Copy)]
enum Place {
    Bit(u32),
    /// From a bit, up to another one.
    Counter(u32, u32),
    Nowhere,
}

impl Place {
    /// The places of pieces. What is required or counted comes first, so that it has bits of its own.
    fn all(pieces: &[Piece]) -> Vec<Self> {
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&index| Self::width(&pieces[index]) < 2 && pieces[index].least == 0);
        let mut bits = Bits::default();
        let mut places = vec![Self::Nowhere; pieces.len()];
        for index in order {
            places[index] = match Self::width(&pieces[index]) {
                0 => Self::Nowhere,
                1 => Self::Bit(bits.take(1)),
                width => {
                    let from = bits.take(width);
                    Self::Counter(from, from + width)
                }
            };
        }
        places
    }

    /// Bits that a piece needs.
    fn width(piece: &Piece) -> u32 {
        match piece.times {
            Times::Once => 1,
            Times::AtMost(most) if most < 16 => u32::BITS - most.leading_zeros(),
            // How often does not matter, but that it was written does.
            Times::AtMost(_) | Times::Any => u32::from(piece.least > 0 || piece.instead_of.is_some()),
        }
    }

    /// When a piece may stand.
    fn free(self, times: Times) -> Option<String> {
        match (self, times) {
            (Self::Bit(bit), Times::Once) => Some(format!("bit_clear({bit})")),
            (Self::Counter(from, to), Times::AtMost(most)) => Some(format!("lt([{from}:{to}], {most})")),
            _ => None,
        }
    }

    /// When it was not written.
    fn unused(self) -> Option<String> {
        match self {
            Self::Bit(bit) => Some(format!("bit_clear({bit})")),
            Self::Counter(from, to) => Some(format!("is_zeros([{from}:{to}])")),
            Self::Nowhere => None,
        }
    }

    /// When it was written that often; `None` for always.
    fn reached(self, least: u32) -> Option<String> {
        match self {
            _ if least == 0 => None,
            Self::Bit(bit) => Some(format!("bit_set({bit})")),
            Self::Counter(from, to) => Some(format!("ge([{from}:{to}], {least})")),
            Self::Nowhere => None,
        }
    }

    fn next(self) -> String {
        match self {
            Self::Bit(bit) => format!("set_bit({bit})"),
            Self::Counter(from, to) => format!("incr([{from}:{to}])"),
            Self::Nowhere => "_".into(),
        }
    }

    /// The parameter when it was written once and nothing else was.
    fn after_first(self) -> String {
        match self {
            Self::Bit(bit) | Self::Counter(bit, _) => format!("0x{:x}", 1u64 << bit),
            Self::Nowhere => "0x0".into(),
        }
    }
}

/// Gives out the bits of a parameter.
#[derive(Default)]
struct Bits {
    next: u32,
    shared: u32,
}

impl Bits {
    const ALL: u32 = 64;
    /// From here on bits are shared once all are given out: of the pieces that share one, only one can stand.
    const SHARED: u32 = 48;

    fn take(&mut self, width: u32) -> u32 {
        if self.next + width <= Self::ALL {
            self.next += width;
            return self.next - width;
        }
        self.shared += 1;
        Self::SHARED + self.shared % (Self::ALL - Self::SHARED)
    }
}

/// Several conditions as one.
fn condition(all: &[String]) -> String {
    let joined = all.iter().cloned().reduce(|one, other| format!("and({one}, {other})"));
    joined.map(|all| format!(" %if {all}")).unwrap_or_default()
}
