//! What a text of a block may be, by what its attribute means: what the user has given for it, a secret, a place, a block of
//! the type that it leads to, a document. Where nothing is known, any text.

use crate::naming;
use crate::rules::Must;
use crate::schema::Type;
use crate::secret;

use super::companions::{OWN, is_called_so, refers};
use super::literals::{escape, failing};
use super::names::Class;
use super::places::PLACES;
use super::references::{LINK, LINKING, OPEN_WORDS};
use super::typed::{Form, Typed};

/// Attributes that hold a policy as a document, beside those that say that they hold JSON.
const POLICIES: [&str; 7] = [
    "policy",
    "assume_role_policy",
    "inline_policy",
    "key_policy",
    "policy_data",
    "policy_document",
    "resource_policy",
];

impl Typed<'_> {
    /// The expression for the values of a text attribute; `None` where it cannot be set to anything that makes sense.
    pub(super) fn text_of(&mut self, name: &str, required: bool, depth: usize, form: &Form<'_>) -> Option<String> {
        let must_be = form.must_be(name);
        let is_new = form.over.is_none();
        // The last that says it.
        if let Some(given) = self.references.given(name).first() {
            return Some(super::hcl::quote(given));
        }
        let is_written_anew = form.narrow || form.over.is_none_or(|over| over.attribute(name).is_none());
        let place = if depth == 1 { name.to_owned() } else { format!("*.{name}") };
        if let Some(pattern) = self.references.pattern(&place).filter(|_| is_written_anew) {
            // Whatever the pattern says, it is one plain text.
            let pattern = format!(r#"/"({pattern})"/ & /"[^"$%\\\x00-\x1f]*"/"#);
            let text = self.none_of(&pattern, &failing(must_be, name, form.over));
            return Some(self.or_input(text, name));
        }
        if secret::is_name_of_text(name) {
            let heads = self.references.secret(name);
            return Some(self.reference(&heads));
        }
        if let Some((texts, _)) = self.references.place(name).filter(|_| is_new && depth == 1) {
            return Some(either(texts));
        }
        // It is wanted because of the block that it leads to.
        if must_be.is_some() && self.references.links() {
            if (is_new || form.narrow) && self.references.leads(name) {
                return self.link(name);
            }
            if !is_new && form.narrow {
                return Some(format!("{LINK} | {LINKING}"));
            }
        }
        if is_new && (POLICIES.contains(&name) || name.ends_with("_json")) {
            return Some(self.policy(depth));
        }
        if form.narrow || is_new {
            let wanted = form.wanted_of(name).first().copied();
            let outer = wanted.and_then(|wanted| wanted.path.get(form.level.checked_sub(1)?)).map(String::as_str);
            let exactly = if is_new && depth == 1 { self.references.called(name) } else { None };
            if let Some(heads) = exactly.or_else(|| self.references.meant(name, outer)) {
                return Some(self.reference(&heads));
            }
        }
        if is_new && let Some(value) = self.of_new(name, required, depth, form) {
            return value;
        }
        if naming::names_another(self.references.ty(), depth == 1, name) {
            let named = self.named(name, &failing(must_be, name, form.over));
            if named.is_some() || must_be.is_none() && !(required && is_new) {
                return named;
            }
        }
        let is_left_open = form.narrow && must_be.is_some_and(Must::is_open);
        Some(match is_left_open {
            true if refers(name) => self.unknown_name(name, &failing(must_be, name, form.over)),
            false if is_given_out(name) => self.unknown_name(name, &[]),
            true => self.other_than(name, &failing(must_be, name, form.over), depth),
            false if is_new => self.text_called(name, depth),
            false => self.text("STRING", depth),
        })
    }

    /// A list of what names other things: what the user has given for it, in a narrow form or a new block references to what
    /// the attribute means, else what it may mean. `None` where it holds no such names.
    pub(super) fn names_of(&mut self, name: &str, ty: &Type, depth: usize, form: &Form<'_>) -> Option<String> {
        let is_texts = is_list_of_texts(ty);
        // Only where it says that it refers to something: `dns_servers` are addresses.
        if !is_texts || !refers(name) && !is_called_so(name) {
            return None;
        }
        let given = self.references.given(name);
        if let Some(first) = given.first() {
            let one = super::hcl::quote(first);
            let list = format!("\"[\" {one} \"]\"");
            // An expression may be a list of its own, whether or not its type is known.
            return Some(match first.starts_with('"') {
                true => list,
                false if self.references.is_list(first) => one,
                false => format!("{list} | {one}"),
            });
        }
        let meant = if form.narrow || form.over.is_none() { self.references.meant(name, None) } else { None };
        let (one, whole) = match meant {
            Some(heads) => (self.reference(&heads), None),
            None if naming::names_another(self.references.ty(), depth == 1, name) => {
                let named = self.named(name, &failing(form.must_be(name), name, form.over))?;
                (named, self.references.terminal(Class::List))
            }
            None => return None,
        };
        let whole = whole.map(|list| format!(" | {list}")).unwrap_or_default();
        Some(self.several(&one, depth) + &whole)
    }

    /// Whether an attribute is a list of what names other things, and says so.
    pub(super) fn is_of_names(&self, name: &str, ty: &Type, depth: usize) -> bool {
        is_list_of_texts(ty) && refers(name) && naming::names_another(self.references.ty(), depth == 1, name)
    }

    /// What a text of a new block may be, where its name says: `Some(None)` where that is nothing.
    fn of_new(&mut self, name: &str, required: bool, depth: usize, form: &Form<'_>) -> Option<Option<String>> {
        if OWN.contains(&name) {
            return Some(Some(self.or_input("STRING".to_owned(), name)));
        }
        if PLACES.contains(&name) {
            // Where nothing tells, only a group of resources does, or who writes it.
            let heads = self.references.same(name).or_else(|| self.references.group(name));
            let told = heads.or_else(|| self.references.inputs(&PLACES)).map(|heads| self.reference(&heads));
            return Some(Some(told.unwrap_or_else(|| "STRING".to_owned())));
        }
        if depth == 1 && self.references.is_called(name) {
            return Some((required || !form.bare).then(|| self.unknown_name(name, &[])));
        }
        // What it would refer to, nobody knows.
        (is_given_out(name) && !required && form.bare).then_some(None)
    }

    /// A policy: a document.
    fn policy(&mut self, depth: usize) -> String {
        let document = self.anything(depth);
        let data = self.references.policies().map(|heads| format!(" | {}", self.reference(&heads)));
        format!("\"jsonencode(\" {document} \")\"{}", data.unwrap_or_default())
    }

    /// A reference to one of the blocks that a connection is to be made with, as an attribute calls it.
    pub(super) fn link(&mut self, attribute: &str) -> Option<String> {
        let heads = self.references.linked(attribute)?;
        Some(self.reference(&heads))
    }

    /// That, or an input of the module that is called as the attribute is.
    fn or_input(&mut self, expression: String, attribute: &str) -> String {
        match self.references.inputs(&[attribute]) {
            Some(heads) => format!("{expression} | {}", self.reference(&heads)),
            None => expression,
        }
    }

    /// A text of which no more is known: written out, or what is called as it is. That anything else is a text too is no reason
    /// to take it.
    fn text_called(&mut self, attribute: &str, depth: usize) -> String {
        if may_name_anything(attribute) {
            return self.text("STRING", depth);
        }
        let called = self.references.inputs(&[attribute]).into_iter().chain(self.references.likely(attribute));
        let heads = called.chain(self.references.same(attribute)).collect::<Vec<_>>().join("|");
        let reference = if heads.is_empty() { String::new() } else { format!(" | {}", self.reference(&heads)) };
        self.or_document(&format!("STRING{reference}"), depth)
    }

    /// The references of a regular expression.
    fn reference(&mut self, heads: &str) -> String {
        self.terminal(&format!("/{heads}/"))
    }

    /// A text that is none of these.
    fn other_than(&mut self, attribute: &str, texts: &[String], depth: usize) -> String {
        if texts.is_empty() {
            return self.text_called(attribute, depth);
        }
        // Where a word does not do, another word will.
        if texts.iter().all(|text| !text.is_empty() && !text.contains(char::is_whitespace)) {
            // More letters behind a word, or larger ones, make no other word; a version may go on.
            let plain = texts.iter().filter(|text| text.chars().all(|c| c.is_ascii_alphabetic()));
            let either = |c: char| format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase());
            let plain: Vec<String> = plain.map(|text| text.chars().map(either).collect()).collect();
            let but = if plain.is_empty() { String::new() } else { format!(" & ~/\"({})[^\"]*\"/", plain.join("|")) };
            let other = self.none_of(&format!("/\"[A-Za-z0-9_.:@+*%=\\/-]{{1,80}}\"/{but}"), texts);
            let reference = self.references.terminal(Class::Text).map(|it| format!(" | {it}")).unwrap_or_default();
            return format!("{other}{reference}");
        }
        // What is written out, as a script is, nothing else of the module says.
        let other = self.none_of("STRING", texts);
        self.or_input(other, attribute)
    }

    /// What an attribute that names another thing may hold: references to what it means or may mean, to what the module has for
    /// it, and texts that stand in such an argument of the module or in every account. `None` where that is nothing.
    pub(super) fn named(&mut self, attribute: &str, but: &[String]) -> Option<String> {
        let references = self.references;
        let meant = references.meant_or_new(attribute).or_else(|| references.likely(attribute));
        let heads: Vec<String> =
            references.inputs(&[attribute]).into_iter().chain(meant).chain(references.same(attribute)).collect();
        let texts = references.texts_of(attribute).filter(|text| !but.iter().any(|it| it == text));
        let mut named: Vec<String> = texts.map(super::hcl::quote).map(|text| super::hcl::quote(&text)).collect();
        if super::provider_of(references.ty()) == "aws"
            && let Some(everywhere) = naming::everywhere(attribute)
        {
            let but: Vec<String> = but.iter().map(|text| escape(&super::hcl::quote(text))).collect();
            let less = if but.is_empty() { String::new() } else { format!(" & ~/{}/", but.join("|")) };
            named.push(self.terminal(&format!("/{everywhere}/{less}")));
        }
        if !heads.is_empty() {
            named.push(self.reference(&heads.join("|")));
        }
        (!named.is_empty()).then(|| named.join(" | "))
    }

    /// What names another thing of which nobody knows what it is: an input of the module, what the words of the attribute
    /// lead to, or a text that is none of these.
    pub(super) fn unknown_name(&mut self, attribute: &str, texts: &[String]) -> String {
        let other = self.none_of("PLAIN", texts);
        let meant = || self.references.meant_or_new(attribute).or_else(|| self.references.likely(attribute));
        let named = if is_given_out(attribute) { meant() } else { None };
        let same = self.references.same(attribute);
        let heads: Vec<String> = self.references.inputs(&[attribute]).into_iter().chain(named).chain(same).collect();
        match heads.is_empty() {
            true => other,
            false => format!("{other} | {}", self.reference(&heads.join("|"))),
        }
    }
}

/// Whether an attribute may hold what anything is called by, as far as its words say.
fn may_name_anything(attribute: &str) -> bool {
    attribute.split('_').all(|word| OPEN_WORDS.contains(&word)) || matches!(attribute, "value" | "values")
}

/// Whether a type is one of lists of texts.
pub(super) fn is_list_of_texts(ty: &Type) -> bool {
    matches!(ty, Type::List(inner) | Type::Set(inner) if **inner == Type::String)
}

/// Whether an attribute holds what a cloud gives out for another thing.
fn is_given_out(attribute: &str) -> bool {
    ["_id", "_ids", "_arn", "_arns"].iter().any(|suffix| attribute.ends_with(suffix))
}

/// One of some texts.
fn either(texts: &[String]) -> String {
    texts.iter().map(|text| super::hcl::quote(text)).collect::<Vec<_>>().join(" | ")
}
