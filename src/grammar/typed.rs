//! The Lark text of a block's body as its schema has it.
//!
//! Items come in any order, each as often as it may (see [`super::permutation`]). Bodies and values are spelled out by depth
//! because indentation is part of the language.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use serde_json::Value;

use crate::rules::{At, Must, Wanted};
use crate::schema::{self, Attribute, Block, NestedBlock, Nesting, Type, Usage};
use crate::source::Body;

use super::documents;
use super::fit::nested_in;
use super::hcl::quote;
use super::hollow::leading;
use super::literals::{blocks, escape, failing, literals};
use super::names::Class;
use super::permutation::{Piece, Start, Times, permutation};
use super::references::References;
use super::who::other_end;

/// Texts that begin or end with a blank: no others, and no other than without it; and those that stand for one that somebody
/// has yet to fill in.
const UNFIT: &str = r#"" (.|\n)*|(.|\n)* "|(.|\n)*["\/:. -](your|my)[_ -](.|\n)*"#;
/// How deep lists and objects may nest below an attribute that may hold anything.
const VALUE_DEPTH: usize = 12;

/// How a body is written.
#[derive(Clone, Default)]
pub(super) struct Form<'a> {
    /// The body that it is merged over: it holds only what changes, and at least something. A body over nothing is new:
    /// all that is required must be there.
    pub over: Option<&'a Body>,
    /// What a rule says of values in it.
    pub wanted: Vec<&'a Wanted>,
    /// How many names of their paths lead here.
    pub level: usize,
    /// Whether what is wanted must be written.
    pub must: bool,
    /// Whether nothing else can be written but what is required.
    pub narrow: bool,
    /// Attributes that can be written all the same.
    pub kept: &'a [&'a str],
    /// Whether no other nested blocks can be written but those: they go on and on.
    pub bare: bool,
    /// Whether it is one of several blocks of its type, or in one: what is wanted of some of these is then wanted of it.
    pub one_of_several: bool,
}

impl<'a> Form<'a> {
    /// What is wanted of an item of that name.
    pub(super) fn wanted_of(&self, name: &str) -> Vec<&'a Wanted> {
        let leads = |wanted: &&&'a Wanted| wanted.path.get(self.level).map(String::as_str) == Some(name);
        self.wanted.iter().filter(leads).copied().collect()
    }

    /// What the item of that name itself must be.
    pub(super) fn must_be(&self, name: &str) -> Option<&'a Must> {
        let ends = |wanted: &&'a Wanted| wanted.path.len() == self.level + 1;
        let of_it = |wanted: &&'a Wanted| ends(wanted) && !wanted.is_inside();
        self.wanted_of(name).into_iter().find(of_it).map(|wanted| &wanted.must)
    }

    /// In which of several blocks of that name something is wanted.
    fn at(&self, name: &str) -> &'a At {
        self.wanted_of(name).first().map_or(&At::All, |wanted| &wanted.at)
    }

    /// The form of a nested block's body.
    fn nested(&self, name: &str, over: Option<&'a Body>) -> Self {
        Self { over, wanted: self.wanted_of(name), level: self.level + 1, ..*self }
    }
}

/// Writes rules.
pub(super) struct Typed<'a> {
    pub(super) references: &'a References,
    rules: String,
    count: usize,
    /// Rules of whole bodies by schema and depth: firewalls' statements and the like repeat.
    plain: HashMap<(&'a Block, usize), String>,
    /// Rules of values, by what they are called.
    values: BTreeSet<String>,
}

impl<'a> Typed<'a> {
    pub(super) fn new(references: &'a References) -> Self {
        Self { references, rules: String::new(), count: 0, plain: HashMap::new(), values: BTreeSet::new() }
    }

    /// Writes the rules of a new block's body that must hold what is wanted. Returns how it is called.
    pub(super) fn whole(&mut self, schema: &'a Block, wanted: &'a [Wanted]) -> String {
        self.body(schema, 1, Form { wanted: wanted.iter().collect(), must: true, ..Form::default() })
    }

    /// The same for one that another block names: it holds nothing that could be left out.
    pub(super) fn needed(&mut self, schema: &'a Block, wanted: &'a [Wanted]) -> String {
        self.body(schema, 1, Form { wanted: wanted.iter().collect(), must: true, narrow: true, ..Form::default() })
    }

    /// The same for one that a rule asks for: of nested blocks it holds only those that are wanted or required, and where it
    /// must be linked, it begins with a reference.
    pub(super) fn asked(
        &mut self,
        schema: &'a Block,
        wanted: &'a [Wanted],
        links: &'a [&'a str],
        narrow: bool,
    ) -> String {
        let form =
            Form { wanted: wanted.iter().collect(), must: true, bare: true, narrow, kept: links, ..Form::default() };
        self.linked(schema, form, links)
    }

    /// Writes the rules of an override's body, in which what is wanted is not to be written otherwise. Returns how it is
    /// called.
    pub(super) fn over(&mut self, schema: &'a Block, body: &'a Body, wanted: &'a [Wanted]) -> String {
        self.body(schema, 1, Form { over: Some(body), wanted: wanted.iter().collect(), ..Form::default() })
    }

    /// The same for one that must hold what is wanted.
    pub(super) fn at_least(&mut self, schema: &'a Block, body: &'a Body, wanted: &'a [Wanted]) -> String {
        self.body(schema, 1, Form { over: Some(body), wanted: wanted.iter().collect(), must: true, ..Form::default() })
    }

    /// The same for one that must hold what is wanted, and nothing that could be left out.
    pub(super) fn narrow(&mut self, schema: &'a Block, body: &'a Body, wanted: &'a [Wanted]) -> String {
        let wanted = wanted.iter().collect();
        self.body(schema, 1, Form { over: Some(body), wanted, must: true, narrow: true, ..Form::default() })
    }

    /// The same for one that begins with a reference to a new block.
    pub(super) fn linking(&mut self, schema: &'a Block, body: &'a Body, links: &'a [&'a str]) -> String {
        self.linked(schema, Form { over: Some(body), narrow: true, kept: links, ..Form::default() }, links)
    }

    /// The rules.
    pub(super) fn finish(mut self) -> String {
        self.rules.push_str("NUMBER: /-?(0|[1-9][0-9]*)(\\.[0-9]+)?/\nKEY: /[A-Za-z_][A-Za-z0-9_]*/\n");
        self.rules
    }

    fn body(&mut self, schema: &'a Block, depth: usize, form: Form<'a>) -> String {
        let plain = form.over.is_none() && form.wanted.is_empty() && !form.bare && !form.narrow;
        if let Some(known) = self.plain.get(&(schema, depth)).filter(|_| plain) {
            return known.clone();
        }
        let start = if form.over.is_some() { Start::Something } else { Start::Anything };
        let pieces = self.pieces(schema, depth, &form);
        let rule = self.permutation(&pieces, start);
        if plain {
            self.plain.insert((schema, depth), rule.clone());
        }
        rule
    }

    /// A block's body that begins with a reference in one of these attributes; without any, it begins as it likes.
    fn linked(&mut self, schema: &'a Block, form: Form<'a>, links: &'a [&'a str]) -> String {
        let pieces = self.pieces(schema, 1, &form);
        let link = |(at, piece): (usize, &Piece)| {
            let attribute = schema.attributes.get(&piece.name).filter(|_| links.contains(&piece.name.as_str()))?;
            let link = self.link(&piece.name)?;
            let value = match attribute.ty {
                Type::List(_) | Type::Set(_) => format!("\"[\" {link} \"]\""),
                _ => link,
            };
            Some((at, format!("\"  {} = \" {value} \"\\n\"", piece.name)))
        };
        let links: Vec<(usize, String)> = pieces.iter().enumerate().filter_map(link).collect();
        match (links.is_empty(), form.over) {
            (false, _) => self.permutation(&pieces, Start::With(links)),
            (true, Some(_)) => self.permutation(&pieces, Start::Something),
            (true, None) => self.permutation(&pieces, Start::Anything),
        }
    }

    fn pieces(&mut self, schema: &'a Block, depth: usize, form: &Form<'a>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (name, attribute) in &schema.attributes {
            if attribute.usage.is_settable() && !is_left_out(name, attribute, depth) {
                pieces.extend(self.attribute(name, attribute, depth, form));
            }
        }
        for (name, nested) in schema.blocks.iter().filter(|(name, _)| *name != "timeouts") {
            self.nested(name, nested, depth, form, &mut pieces);
        }
        pieces
    }

    fn attribute(&mut self, name: &str, attribute: &'a Attribute, depth: usize, form: &Form<'a>) -> Option<Piece> {
        let pad = "  ".repeat(depth);
        let inside: Vec<&Wanted> = form.wanted_of(name).into_iter().filter(|wanted| wanted.is_inside()).collect();
        if let (true, [_, ..], Some(body)) = (form.narrow, inside.as_slice(), form.over) {
            let value = self.document(body.attribute(name)?, &inside)?;
            return Some(Piece {
                least: 1,
                ..Piece::new(name, format!("\"{pad}{name} = \" {value} \"\\n\""), Times::Once)
            });
        }
        let required = attribute.usage == Usage::Required;
        let must_be = form.must_be(name);
        let is_new = form.over.is_none();
        let place = if is_new && depth == 1 { self.references.place(name) } else { None };
        let is_beside = place.is_some_and(|(_, is_own)| is_own);
        // With one end alone a range is as wide as before.
        let is_end = !is_new && form.must && other_end(name).is_some_and(|other| form.must_be(other).is_some());
        let least = u32::from(required && is_new || must_be.is_some() && form.must || is_beside || is_end);
        if form.narrow && least == 0 && !(depth == 1 && form.kept.contains(&name)) {
            return None;
        }
        let written = form.over.is_some_and(|body| body.attribute(name).is_some());
        if form.must && must_be == Some(&Must::NotExist) {
            let gone = Piece::new(name, format!("\"{pad}{name} = null\\n\""), Times::Once);
            return written.then_some(Piece { least, ..gone });
        }
        // The schema does not say what it is, but the configuration does: blocks, of which nothing is known.
        if attribute.ty == Type::Any && form.over.is_some_and(|body| body.blocks().any(|block| block.keyword == name)) {
            return None;
        }
        let value = self.value_of(name, attribute, depth, form);
        let null = (written && !required && !form.must).then(|| "\"null\"".to_owned());
        let values: Vec<String> = value.into_iter().chain(null).collect();
        let text = format!("\"{pad}{name} = \" ({}) \"\\n\"", values.join(" | "));
        (!values.is_empty()).then(|| Piece { least, ..Piece::new(name, text, Times::Once) })
    }

    /// The expression for the values of an attribute; `None` where it cannot be set to anything that makes sense.
    fn value_of(&mut self, name: &str, attribute: &'a Attribute, depth: usize, form: &Form<'a>) -> Option<String> {
        let must_be = form.must_be(name);
        let required = attribute.usage == Usage::Required;
        // Entries are merged into an object that stands, but into nothing else.
        let standing = form.over.and_then(|body| body.attribute(name));
        let is_other = |values: &[Value]| {
            values.iter().any(Value::is_object) && standing.is_some_and(|standing| !standing.expr.is_object())
        };
        let literals = match must_be {
            Some(Must::Be(values)) if is_other(values) => None,
            Some(Must::Be(values)) => literals(values, &attribute.ty, depth),
            _ => None,
        };
        Some(match literals {
            Some(literals) => literals,
            None if let Some(listed) = self.listed(name, attribute, depth, form) => listed,
            None if let Some(who) = self.who_of(name, &attribute.ty, depth, form) => who,
            None if let Some(names) = self.names_of(name, &attribute.ty, depth, form) => names,
            None if self.is_of_names(name, &attribute.ty, depth) => {
                // Of things that nobody knows.
                let must = must_be.is_some() || required && form.over.is_none();
                let one = must.then(|| self.unknown_name(name, &failing(must_be, name, form.over)))?;
                self.several(&one, depth)
            }
            None if attribute.ty == Type::String || form.narrow && self.is_meant_as_text(name, &attribute.ty) => {
                self.text_of(name, required, depth, form)?
            }
            None if form.narrow && must_be.is_some_and(Must::is_open) => {
                let failing = failing(must_be, name, form.over);
                match &attribute.ty {
                    Type::Number if !failing.is_empty() => self.other_number(&failing),
                    Type::List(inner) | Type::Set(inner) if **inner == Type::String && !failing.is_empty() => {
                        self.other_list(&failing, depth)
                    }
                    ty => self.value(ty, depth),
                }
            }
            None => self.value(&attribute.ty, depth),
        })
    }

    /// The values that the provider's documentation lists for an attribute, but those that are known to fail.
    fn listed(&self, name: &str, attribute: &Attribute, depth: usize, form: &Form<'_>) -> Option<String> {
        if attribute.values.is_empty() || !self.references.given(name).is_empty() {
            return None;
        }
        let failing = failing(form.must_be(name), name, form.over);
        let does = |value: &&String| !failing.iter().any(|bad| bad.eq_ignore_ascii_case(value));
        // What stands in a list was taken by the provider, whatever it lists.
        let stands = form.over.and_then(|body| body.attribute(name)).and_then(|it| it.expr.as_array());
        let standing: Vec<String> =
            stands.into_iter().flatten().filter_map(|it| Some(it.as_str()?.to_owned())).collect();
        let all: BTreeSet<&String> = attribute.values.iter().chain(&standing).filter(does).collect();
        if all.is_empty() {
            return None;
        }
        let mut one: Vec<String> = all.iter().map(|value| quote(&quote(value))).collect();
        one.extend(self.references.terminal(Class::Text).filter(|_| !form.narrow).map(str::to_owned));
        let one = format!("({})", one.join(" | "));
        Some(match &attribute.ty {
            Type::String => one,
            _ => super::who::list(&one, all.len(), depth),
        })
    }

    /// Whether an attribute of which no schema tells the type names a block.
    fn is_meant_as_text(&self, name: &str, ty: &Type) -> bool {
        *ty == Type::Any && self.references.meant(name, None).is_some()
    }

    /// Who an attribute lets in, where it is about that and is not what the user has given.
    fn who_of(&mut self, name: &str, ty: &Type, depth: usize, form: &Form<'_>) -> Option<String> {
        match ty {
            _ if !self.references.given(name).is_empty() => None,
            Type::String => self.who(name, form),
            Type::List(inner) | Type::Set(inner) if **inner == Type::String => self.whom(name, depth, form),
            _ => None,
        }
    }

    fn nested(&mut self, name: &str, nested: &'a NestedBlock, depth: usize, form: &Form<'a>, pieces: &mut Vec<Piece>) {
        let pad = "  ".repeat(depth);
        let label = if nested.nesting == Nesting::Map { " \\\"\" KEY \"\\\"" } else { "" };
        let times = match schema::most(nested) {
            0 => Times::Any,
            1 => Times::Once,
            most => Times::AtMost(most),
        };
        let block = |body: &str| format!("\"{pad}{name}{label} {{\\n\" {body} \"{pad}}}\\n\"");
        let wanted = !form.wanted_of(name).is_empty();
        if form.bare && !wanted && nested.min == 0 {
            return;
        }
        if form.narrow && !wanted && (form.over.is_some() || nested.min == 0) {
            return;
        }
        let present: Vec<&Body> = form.over.map(|body| nested_in(body, name).collect()).unwrap_or_default();
        if depth == 1 && name == schema::LIFECYCLE && !wanted {
            // What it protects is not given up.
            let flags = nested.block.attributes.keys().map(|flag| super::hcl::quote(flag)).collect::<Vec<_>>();
            let body = format!("(\"    \" ({}) \" = true\\n\")", flags.join(" | "));
            pieces.push(Piece::new(name, block(&body), Times::Once));
            return;
        }
        let gone = || Piece::new(name, format!("\"{pad}{name} = null\\n\""), Times::Once);
        if form.must && form.must_be(name) == Some(&Must::NotExist) {
            pieces.extend((!present.is_empty()).then(|| Piece { least: 1, ..gone() }));
            return;
        }
        if let (true, Some(Must::Be(values)), true) = (form.must, form.must_be(name), present.is_empty()) {
            let literal = blocks(name, values, nested, depth);
            pieces.extend(literal.map(|text| Piece { least: 1, ..Piece::new(name, text, Times::Once) }));
            return;
        }
        let must = u32::from(form.narrow || form.must && wanted);
        let at = if form.one_of_several { &At::All } else { form.at(name) };
        // One more block of the innermost type.
        let innermost = form.wanted_of(name).first().is_some_and(|wanted| wanted.path.len() <= form.level + 2);
        if form.narrow && *at == At::New && innermost && !present.is_empty() {
            // Those that stand are written as well, empty: the new one would be taken for one of them.
            let body = self.body(&nested.block, depth + 1, form.nested(name, None));
            let all: Vec<String> = present.iter().map(|_| block("\"\"")).chain([block(&body)]).collect();
            pieces.push(Piece { least: 1, ..Piece::new(name, all.join(" "), Times::Once) });
            return;
        }
        // Of several, all are written in their order: an empty one stays as it is.
        if form.narrow && present.len() > 1 {
            let mut all = Vec::new();
            for (index, over) in present.iter().enumerate() {
                let form = Form { one_of_several: true, ..form.nested(name, Some(over)) };
                all.push(match at {
                    At::These(positions) if !positions.contains(&index) => block("\"\""),
                    _ => block(&self.body(&nested.block, depth + 1, form)),
                });
            }
            pieces.push(Piece { least: 1, ..Piece::new(name, all.join(" "), Times::Once) });
            return;
        }
        // One block over one is merged with it, so it holds only what changes; any other is new, or must hold what it needs
        // in case it is.
        let mut instead_of = None;
        if let [only] = present.as_slice() {
            let body = self.body(&nested.block, depth + 1, form.nested(name, Some(only)));
            instead_of = Some(pieces.len());
            pieces.push(Piece { least: must, ..Piece::new(name, block(&body), Times::Once) });
            if must > 0 {
                return;
            }
        }
        if instead_of.is_none() || times != Times::Once {
            let new = form.nested(name, None);
            let only_has_to_be_there = form.must_be(name) == Some(&Must::Exist) && new.wanted.len() == 1;
            let leading = match form.narrow && only_has_to_be_there {
                true => self.leading(&nested.block, depth + 1, &new),
                false => None,
            };
            let body = leading.unwrap_or_else(|| self.body(&nested.block, depth + 1, new));
            let least = if form.over.is_none() { nested.min } else { 0 }.max(must);
            let times = if form.narrow && present.is_empty() { Times::Once } else { times };
            pieces.push(Piece { least, instead_of, ..Piece::new(name, block(&body), times) });
        }
        if !present.is_empty() && nested.min == 0 && must == 0 {
            pieces.push(gone());
        }
    }

    /// The body of a block that holds nothing but references, one of them; `None` where it may be empty, or nothing is known that
    /// one could lead to.
    fn leading(&mut self, block: &'a Block, depth: usize, form: &Form<'a>) -> Option<String> {
        let form = Form { narrow: false, bare: true, must: false, ..form.clone() };
        let attribute = |name: &str| self.attribute(name, block.attributes.get(name)?, depth, &form);
        let pieces: Vec<Piece> = leading(block).into_iter().filter_map(attribute).collect();
        (!pieces.is_empty()).then(|| self.permutation(&pieces, Start::Something))
    }

    /// A document that stands, with what is wanted inside of it.
    pub(super) fn document(&mut self, attribute: &crate::source::Attribute, wanted: &[&Wanted]) -> Option<String> {
        let references = self.references;
        documents::value(attribute, wanted, references, &mut |expression| self.terminal(expression))
    }

    /// The lines of an object.
    fn fields(&mut self, fields: &'a BTreeMap<String, Attribute>, depth: usize) -> String {
        let pad = "  ".repeat(depth);
        let mut pieces = Vec::new();
        for (name, attribute) in fields.iter().filter(|(_, attribute)| attribute.usage.is_settable()) {
            let value = self.value(&attribute.ty, depth);
            let text = format!("\"{pad}{name} = \" ({value}) \"\\n\"");
            let least = u32::from(attribute.usage == Usage::Required);
            pieces.push(Piece { least, ..Piece::new(name, text, Times::Once) });
        }
        self.permutation(&pieces, Start::Anything)
    }

    /// A number above nothing that is none of these.
    fn other_number(&mut self, numbers: &[String]) -> String {
        let numbers: Vec<String> = numbers.iter().map(|number| escape(number)).collect();
        let other = self.terminal(&format!("/[1-9][0-9]*/ & ~/{}/", numbers.join("|")));
        let reference = self.references.terminal(Class::Number).map(|t| format!(" | {t}")).unwrap_or_default();
        format!("{other}{reference}")
    }

    /// A list, with one element at least, of texts that are none of these and of what stands in the module.
    fn other_list(&mut self, texts: &[String], depth: usize) -> String {
        let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        let other = self.none_of("STRING", texts);
        let present = self.references.present();
        let present = present.map(|heads| format!(" | {}", self.terminal(&format!("/{heads}/")))).unwrap_or_default();
        let list = self.references.terminal(Class::List).map(|t| format!(" | {t}")).unwrap_or_default();
        let element = format!("({other}{present})");
        let lines = format!("\"[\\n\" (\"{deeper}\" {element} \",\\n\")+ \"{pad}]\"");
        format!("\"[\" {element} (\", \" {element})* \"]\" | {lines}{list}")
    }

    /// A text: what the terminal allows between quotes, a reference, a document.
    pub(super) fn text(&mut self, quoted: &str, depth: usize) -> String {
        let reference = self.references.terminal(Class::Text).map(|t| format!(" | {t}")).unwrap_or_default();
        self.or_document(&format!("{quoted}{reference}"), depth)
    }

    /// One of some texts, or a document.
    pub(super) fn or_document(&mut self, texts: &str, depth: usize) -> String {
        let document = self.anything(depth);
        format!("{texts} | \"jsonencode(\" {document} \")\"")
    }

    /// The texts of a terminal but for these, and for those that differ from others by blanks alone.
    pub(super) fn none_of(&mut self, terminal: &str, texts: &[String]) -> String {
        let texts = texts.iter().map(|text| escape(&super::hcl::quote(text))).chain([UNFIT.to_owned()]);
        self.terminal(&format!("{terminal} & ~/{}/", texts.collect::<Vec<_>>().join("|")))
    }

    /// A terminal of its own.
    pub(super) fn terminal(&mut self, expression: &str) -> String {
        self.count += 1;
        let name = format!("T{}", self.count);
        let _ = writeln!(self.rules, "{name}: {expression}");
        name
    }

    fn permutation(&mut self, pieces: &[Piece], start: Start) -> String {
        self.count += 1;
        let (rules, call) = permutation(&format!("b{}", self.count), pieces, start);
        self.rules.push_str(&rules);
        call
    }

    /// An expression for the values of a type, at a depth of indentation.
    fn value(&mut self, ty: &'a Type, depth: usize) -> String {
        let reference = |class: Class| self.references.terminal(class).map(|t| format!(" | {t}")).unwrap_or_default();
        match ty {
            Type::String => self.text("STRING", depth),
            Type::Number => format!("NUMBER{}", reference(Class::Number)),
            Type::Bool => format!("\"true\" | \"false\"{}", reference(Class::Bool)),
            Type::Any => self.anything(depth),
            Type::List(inner) | Type::Set(inner) => self.list(inner, depth),
            Type::Map(inner) => self.map(inner, depth),
            Type::Object(fields) => {
                let (pad, lines) = ("  ".repeat(depth), self.fields(fields, depth + 1));
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
    pub(super) fn anything(&mut self, depth: usize) -> String {
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

/// Attributes that no fix sets though the schema lets it: the id that a provider gives, all tags with the provider's
/// own among them, and write-only arguments (Terraform language, "Use temporary write-only arguments"), of which nothing can
/// be proven.
fn is_left_out(name: &str, attribute: &Attribute, depth: usize) -> bool {
    name.ends_with("_wo")
        || name.ends_with("_wo_version")
        || depth == 1 && attribute.usage == Usage::OptionalComputed && matches!(name, "id" | "tags_all")
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
