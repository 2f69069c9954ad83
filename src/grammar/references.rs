//! The terminals of references: for each kind of value, the expressions that lead to one.
//!
//! A block can refer to all that the module and the answer declare, but for what leads back to itself, and to new blocks
//! of the types that a companion may have: what is named so must be declared after it (see [`super::stage`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use regex::Regex;

use crate::knowledge::Knowledge;
use crate::naming;
use crate::schema::{Block, Kind, Schemas};
use crate::source::{BlockAddr, references_of};

use super::companions::{CALLED_EXACTLY, New, called_by, leads_to, means};
use super::names::{Class, Names, Repetition};
use super::places::{self, Place};
use super::secrets::Secrets;
use super::{are_of_two_clouds, is_name};

/// Attributes by which a new block is referred to.
const REFERRED: [&str; 23] = [
    "account_id",
    "arn",
    "bucket",
    "bucket_domain_name",
    "client_id",
    "crypto_key_id",
    "dns_name",
    "email",
    "id",
    "json",
    "key_id",
    "member",
    "name",
    "object_id",
    "partition",
    "principal_id",
    "project",
    "region",
    "self_link",
    "subscription_id",
    "tenant_id",
    "url",
    "version_arn",
];

/// The terminal of references to given blocks, by which a connection is made, and that of strings with one in them.
pub(super) const LINK: &str = "LINK";
pub(super) const LINKING: &str = "LINKING";

/// Words of attributes that stand for whatever there is.
pub(super) const OPEN_WORDS: [&str; 8] =
    ["default", "destination", "endpoint", "main", "primary", "resource", "source", "target"];

/// What the user has given.
#[derive(Clone, Debug, Default)]
struct Given {
    knowledge: Arc<Knowledge>,
    /// What the block can name.
    known: BTreeSet<BlockAddr>,
}

/// An expression as a regular expression, and what it is.
type Head = (Class, String);

/// What a block's values can refer to.
#[derive(Clone, Debug)]
pub(super) struct References {
    heads: Vec<Head>,
    /// The type of the block.
    ty: String,
    /// References to resources, by type: to those that stand, and to new ones.
    resources: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// The blocks that a connection is to be made with.
    links: Vec<String>,
    /// What a new block says of where it is, by attribute; whether that is the target's own.
    places: BTreeMap<&'static str, (Vec<String>, bool)>,
    /// What the user has given for attributes of the block, by name.
    given: Given,
    /// What variables for secrets may be called, by what they are for.
    secrets: Secrets,
    /// Whether account numbers may stand in ARNs: the module has some.
    accounts: bool,
    /// What the module has in arguments that hold names of things.
    texts: BTreeMap<String, BTreeSet<String>>,
}

/// The kinds of values that have a terminal of their own, by its name.
const TERMINALS: [(Class, &str); 6] = [
    (Class::Text, "REF_TEXT"),
    (Class::Number, "REF_NUMBER"),
    (Class::Bool, "REF_BOOL"),
    (Class::List, "REF_LIST"),
    (Class::Map, "REF_MAP"),
    (Class::Open, "REF"),
];

impl References {
    /// What the block `of` can refer to.
    pub(super) fn new(names: &Names, schemas: &Schemas, of: &BlockAddr, new: &New<'_>) -> Self {
        let behind = names.behind(of);
        let own = of.resource_type().unwrap_or_default();
        let mut heads = Vec::new();
        let mut resources: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
        let mut blocks: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for (addr, name) in names.iter().filter(|(addr, _)| !behind.contains(*addr)) {
            if !addr.labels.iter().all(|label| is_name(label)) {
                continue;
            }
            match (addr.keyword.as_str(), addr.labels.as_slice(), name.repetition) {
                ("resource" | "data", [ty, _], _) if are_of_two_clouds(ty, own) => {}
                (keyword @ ("resource" | "data"), [ty, label], repetition) => {
                    let place = match repetition {
                        None => label.clone(),
                        Some(Repetition::Count) => format!(r"{label}\[0\]"),
                        // Its keys are not known.
                        Some(Repetition::ForEach) => continue,
                    };
                    blocks.entry((keyword, ty)).or_default().push(place);
                }
                ("module", [_], None) if !name.outputs.is_empty() => {
                    let outputs: Vec<&str> = name.outputs.iter().map(String::as_str).collect();
                    heads.push((Class::Open, format!(r"{}\.({})", escape(&addr.to_string()), outputs.join("|"))));
                }
                ("variable" | "local", [_], _) => heads.push((name.class, escape(&addr.to_string()))),
                _ => {}
            }
        }
        for ((keyword, ty), places) in blocks {
            let prefix = if keyword == "data" { r"data\." } else { "" };
            let place = format!(r"{prefix}{ty}\.({})", places.join("|"));
            let schema = Kind::of(keyword).and_then(|kind| schemas.get(kind, ty)).map(|(schema, _)| schema);
            heads.extend(attributes(&place, schema.as_ref(), |_| true));
            if keyword == "resource" {
                let known: &mut (Vec<String>, _) = resources.entry(ty.to_owned()).or_default();
                known.0.extend(texts(attributes(&place, schema.as_ref(), |name| REFERRED.contains(&name))));
            }
        }
        for (kind, ty, name) in new.referred(names, of) {
            let prefix = if kind == Kind::Data { r"data\." } else { "" };
            let schema = schemas.get(kind, ty).map(|(schema, _)| schema);
            let new = attributes(&format!(r"{prefix}{ty}\.{name}"), schema.as_ref(), |name| REFERRED.contains(&name));
            if kind == Kind::Resource {
                let known: &mut (_, Vec<String>) = resources.entry(ty.to_owned()).or_default();
                known.1.extend(texts(new.clone()));
            }
            heads.extend(new);
        }
        match names.repetition(of) {
            Some(Repetition::Count) => heads.push((Class::Number, r"count\.index".into())),
            Some(Repetition::ForEach) => {
                heads.push((Class::Text, r"each\.key".into()));
                heads.push((Class::Open, r"each\.value".into()));
            }
            None => {}
        }
        Self {
            heads,
            ty: own.to_owned(),
            resources,
            links: Vec::new(),
            places: BTreeMap::new(),
            given: Given::default(),
            secrets: Secrets::of(names, of),
            accounts: names.accounts,
            texts: names.texts.clone(),
        }
    }

    /// Adds the terminal of references to these blocks, by what new blocks are referred to.
    pub(super) fn with_links(mut self, names: &Names, schemas: &Schemas, blocks: &[BlockAddr]) -> Self {
        for addr in blocks {
            let place = match names.repetition(addr) {
                None => escape(&addr.to_string()),
                Some(Repetition::Count) => format!(r"{}\[0\]", escape(&addr.to_string())),
                Some(Repetition::ForEach) => continue,
            };
            let schema = Kind::of(&addr.keyword).zip(addr.labels.first()).and_then(|(kind, ty)| schemas.get(kind, ty));
            let heads = attributes(&place, schema.as_ref().map(|(schema, _)| schema), |name| REFERRED.contains(&name));
            self.links.extend(texts(heads));
        }
        self
    }

    /// Adds what the user has given for attributes of the block.
    pub(super) fn with_given(self, knowledge: &Arc<Knowledge>, names: &Names, of: &BlockAddr) -> Self {
        let behind = names.behind(of);
        let known = names.iter().map(|(addr, _)| addr).filter(|addr| !behind.contains(addr)).cloned().collect();
        Self { given: Given { knowledge: knowledge.clone(), known }, ..self }
    }

    /// What the user has given for an attribute, as far as the block can name it.
    pub(super) fn given(&self, attribute: &str) -> Vec<String> {
        let Given { knowledge, known } = &self.given;
        let can_be = |text: &String| {
            text.parse().is_ok_and(|expression| references_of(&expression).iter().all(|addr| known.contains(addr)))
        };
        knowledge.values(&self.ty, attribute).filter(can_be).collect()
    }

    /// What the texts are like that may be found for an attribute, as a regular expression.
    pub(super) fn pattern(&self, attribute: &str) -> Option<String> {
        let pattern = self.given.knowledge.pattern(&self.ty, attribute)?;
        Some(pattern.replace("\\/", "/").replace('/', "\\/"))
    }

    /// Adds what a new block may say of where it is.
    pub(super) fn with_places(mut self, names: &Names, of: &BlockAddr, target: &BlockAddr) -> Self {
        let behind = names.behind(of);
        for attribute in places::PLACES {
            let can_name = |it: &BlockAddr| names.declare(it) && !behind.contains(it);
            if let Some(choice) = Place::for_new(&names.places, attribute, of, target, &can_name) {
                self.places.insert(attribute, (choice.texts.into_iter().map(str::to_owned).collect(), choice.is_own));
            }
        }
        self
    }

    /// What a new block may say in an attribute of where it is, and whether it is to say it in any case.
    pub(super) fn place(&self, attribute: &str) -> Option<(&[String], bool)> {
        self.places.get(attribute).map(|(texts, is_own)| (texts.as_slice(), *is_own))
    }

    /// What may stand where a secret is wanted, as a regular expression: what the module has for one, else a new variable.
    pub(super) fn secret(&self, attribute: &str) -> String {
        self.secrets.heads(attribute)
    }

    /// References to what an attribute means by its name, or as that attribute of what the block around it means by its own,
    /// as a regular expression: to resources that stand, else to new ones.
    pub(super) fn meant(&self, attribute: &str, outer: Option<&str>) -> Option<String> {
        let of = |name: &str, take: &dyn Fn(&str, &str) -> Option<String>| {
            let meant: Vec<_> = self.resources.iter().filter(|(ty, _)| means(name, ty)).collect();
            let of_all =
                |heads: &[String], ty: &str| heads.iter().filter_map(|head| take(ty, head)).collect::<Vec<_>>();
            let standing: Vec<String> = meant.iter().flat_map(|(ty, (standing, _))| of_all(standing, ty)).collect();
            let new = || meant.iter().flat_map(|(ty, (_, new))| of_all(new, ty)).collect();
            let heads: Vec<String> = if standing.is_empty() { new() } else { standing };
            (!heads.is_empty()).then(|| heads.join("|"))
        };
        let called = |ty: &str, head: &str| {
            let exact = called_by(attribute, ty).and_then(|called| narrowed(head, called));
            Some(exact.unwrap_or_else(|| head.to_owned()))
        };
        of(attribute, &called).or_else(|| of(outer?, &|_, head| narrowed(head, attribute)))
    }

    /// References to what an attribute of a new block calls by a word alone, as a regular expression; nothing where that is how
    /// the block itself is called.
    pub(super) fn called(&self, attribute: &str) -> Option<String> {
        let types = CALLED_EXACTLY.iter().filter(|(called, ty)| *called == attribute && *ty != self.ty);
        let heads: Vec<String> = types
            .filter_map(|(_, ty)| self.resources.get(*ty).map(|(standing, new)| (*ty, standing, new)))
            .flat_map(|(ty, standing, new)| {
                let heads = if standing.is_empty() { new } else { standing };
                // IAM's own call a role by its name, all others by its ARN.
                let by = match ty {
                    "aws_iam_role" if self.ty.starts_with("aws_iam_") => Some("name"),
                    "aws_iam_role" => Some("arn"),
                    _ => called_by(attribute, ty),
                };
                heads.iter().filter_map(move |head| narrowed(head, by?)).collect::<Vec<_>>()
            })
            .collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// Whether an attribute of a new block calls another block by a word alone.
    pub(super) fn is_called(&self, attribute: &str) -> bool {
        let provider = super::provider_of(&self.ty);
        let calls =
            |(called, ty): &(&str, &str)| *called == attribute && *ty != self.ty && super::provider_of(ty) == provider;
        CALLED_EXACTLY.iter().any(calls)
    }

    /// References to what an attribute may lead to, by the words that it shares with types, as a regular expression: to all types
    /// where it says nothing of one.
    pub(super) fn likely(&self, attribute: &str) -> Option<String> {
        let (noun, by) = attribute.rsplit_once('_')?;
        // The last word says what it is, those before which one: an `iam_certificate` is no role.
        let telling = noun.split('_').rfind(|word| !OPEN_WORDS.contains(word));
        let fits = |head: &&str| {
            let ty = head.trim_start_matches(r"data\.").split('\\').next().unwrap_or_default();
            telling.is_none_or(|telling| ty.split('_').skip(1).any(|word| word == telling))
        };
        let by = by.trim_end_matches('s');
        let heads: Vec<String> = self.fitting(Class::Text).filter(fits).filter_map(|head| narrowed(head, by)).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// References to the same attribute of other blocks, as a regular expression: of a place that is theirs as well.
    pub(super) fn same(&self, attribute: &str) -> Option<String> {
        let group = |head: &str| match attribute {
            "resource_group_name" if head.starts_with(r"azurerm_resource_group\.") => narrowed(head, "name"),
            _ => narrowed(head, attribute),
        };
        let new: BTreeSet<&str> =
            self.resources.values().flat_map(|(_, new)| new).filter_map(|head| place(head)).collect();
        // A block is not added only to say where another one is.
        let stands =
            |head: &&str| place(head).is_none_or(|place| !new.contains(place) || place.contains("_resource_group"));
        let heads: Vec<String> = self.fitting(Class::Text).filter(stands).filter_map(group).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// The place of a new group of Azure's resources, as a regular expression.
    pub(super) fn group(&self, attribute: &str) -> Option<String> {
        let (ty, places) = places::GROUP;
        let (_, its) = places.into_iter().find(|(called, _)| *called == attribute)?;
        let named = self.of_type(ty, "name").filter(|_| self.ty != ty)?;
        Some(named.replace(r"\.name", &format!(r"\.{its}")))
    }

    /// Policy documents, as a regular expression.
    pub(super) fn policies(&self) -> Option<String> {
        let data = self.fitting(Class::Text).filter(|head| head.starts_with(r"data\."));
        let heads: Vec<String> =
            data.filter_map(|head| narrowed(head, "json").or_else(|| narrowed(head, "policy_data"))).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// References to what an attribute means by its name, to resources that stand and to new ones, as a regular expression.
    pub(super) fn meant_or_new(&self, attribute: &str) -> Option<String> {
        let meant = self.resources.iter().filter(|(ty, _)| means(attribute, ty));
        let heads: Vec<&str> =
            meant.flat_map(|(_, (standing, new))| standing.iter().chain(new)).map(String::as_str).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// References to an attribute of the standing resources of some types, as regular expressions.
    pub(super) fn of_types<'a>(&'a self, types: &'a [&str], attribute: &'a str) -> impl Iterator<Item = String> + 'a {
        let of_types = self.resources.iter().filter(|(ty, _)| types.contains(&ty.as_str()));
        of_types.flat_map(move |(_, (standing, _))| standing.iter().filter_map(move |head| narrowed(head, attribute)))
    }

    /// The type of the block.
    pub(super) fn ty(&self) -> &str {
        &self.ty
    }

    /// References to an attribute of the resources of a type, those that stand before new ones, as a regular expression.
    pub(super) fn of_type(&self, ty: &str, attribute: &str) -> Option<String> {
        let (standing, new) = self.resources.get(ty)?;
        let called = |heads: &[String]| heads.iter().filter_map(|head| narrowed(head, attribute)).collect::<Vec<_>>();
        let heads = if standing.is_empty() { called(new) } else { called(standing) };
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// References to attributes of what stands whose names match, as a regular expression.
    pub(super) fn with_attributes(&self, names: &Regex) -> Option<String> {
        let heads: Vec<String> = self.fitting(Class::Text).filter_map(|head| narrowed_to(head, names)).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// The texts that arguments of a name hold in the module.
    pub(super) fn texts_of(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.texts.get(attribute).into_iter().flatten().map(String::as_str)
    }

    /// Variables, locals and outputs of modules that can stand where a text is wanted and are called as one of some
    /// attributes is, as a regular expression.
    pub(super) fn inputs(&self, attributes: &[&str]) -> Option<String> {
        let is_input = |head: &&str| [r"var\.", r"local\.", r"module\."].iter().any(|kind| head.starts_with(kind));
        let is_called = |head: &&str| attributes.iter().any(|attribute| naming::is_called_alike(attribute, head));
        let heads: Vec<&str> = self.fitting(Class::Text).filter(is_input).filter(is_called).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// What stands in the module and can be a text, as a regular expression.
    pub(super) fn present(&self) -> Option<String> {
        // New blocks may be called in several ways.
        let heads: Vec<&str> = self.fitting(Class::Text).filter(|head| !head.contains("(_[a-z]+)?")).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
    }

    /// Whether an attribute leads to one of the blocks that a connection is to be made with, by its name.
    pub(super) fn leads(&self, attribute: &str) -> bool {
        let ty = |link: &String| link.split(['.', '\\']).next().unwrap_or_default().to_owned();
        self.links.iter().map(ty).any(|ty| leads_to(attribute, &ty))
    }

    /// References to the blocks that a connection is to be made with, as an attribute calls them, as a regular expression.
    pub(super) fn linked(&self, attribute: &str) -> Option<String> {
        let exact = |link: &String| {
            let ty = link.trim_start_matches(r"data\.").split('\\').next().unwrap_or_default();
            called_by(attribute, ty).and_then(|called| narrowed(link, called)).unwrap_or_else(|| link.clone())
        };
        self.links().then(|| self.links.iter().map(exact).collect::<Vec<_>>().join("|"))
    }

    /// Whether there is something to make a connection with.
    pub(super) fn links(&self) -> bool {
        !self.links.is_empty()
    }

    /// The terminal of references that can stand where such a value is wanted, if there are any.
    pub(super) fn terminal(&self, wanted: Class) -> Option<&'static str> {
        let (_, terminal) = TERMINALS.iter().find(|(class, _)| *class == wanted)?;
        self.fitting(wanted).next().map(|_| *terminal)
    }

    /// Whether an expression is a reference to what is known to be a list.
    pub(super) fn is_list(&self, expression: &str) -> bool {
        let head = escape(expression);
        self.heads.iter().any(|(class, known)| *class == Class::List && *known == head)
    }

    fn fitting(&self, wanted: Class) -> impl Iterator<Item = &str> {
        self.heads.iter().filter(move |(class, _)| class.fits(wanted)).map(|(_, head)| head.as_str())
    }

    /// The terminals, and strings with references in them. llguidance's lexer is greedy and does not go back, so each
    /// terminal is decided by its own characters: a plain part of a string holds no `${`.
    pub(super) fn lark(&self) -> String {
        let mut text = String::new();
        for (class, terminal) in TERMINALS {
            let heads: Vec<&str> = self.fitting(class).collect();
            if !heads.is_empty() {
                let _ = writeln!(text, "{terminal}: /{}/", heads.join("|"));
            }
        }
        let plain = r#"[^"\\$%\x00-\x1f\x7f]|\\["\\nrt]|[$%][^"\\{$%\x00-\x1f\x7f]"#;
        let heads: Vec<&str> = self.fitting(Class::Text).collect();
        let template = if heads.is_empty() { String::new() } else { format!(r"|\$\{{({})\}}", heads.join("|")) };
        let made_up =
            if self.accounts { "" } else { r" & ~/(.|\n)*arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:[0-9](.|\n)*/" };
        let _ = writeln!(text, "STRING: /\"({plain}{template})*\"/{made_up}");
        let _ = writeln!(text, "PLAIN: /\"({plain})*\"/");
        if self.links() {
            let links = self.links.join("|");
            let _ = writeln!(text, "{LINK}: /{links}/\n{LINKING}: /\"({plain})*\\$\\{{({links})\\}}({plain})*\"/");
        }
        text
    }
}

/// The block that a regular expression is about.
fn place(head: &str) -> Option<&str> {
    head.rsplit_once(r"\.(").map(|(place, _)| place)
}

/// A reference to one of the attributes that a regular expression ends with.
fn narrowed(head: &str, attribute: &str) -> Option<String> {
    let (place, names) = head.rsplit_once(r"\.(")?;
    names.trim_end_matches(')').split('|').any(|name| name == attribute).then(|| format!(r"{place}\.{attribute}"))
}

/// A reference to those of the attributes that a regular expression ends with whose names match.
fn narrowed_to(head: &str, names: &Regex) -> Option<String> {
    let (place, attributes) = head.rsplit_once(r"\.(")?;
    let matching: Vec<&str> = attributes.trim_end_matches(')').split('|').filter(|name| names.is_match(name)).collect();
    (!matching.is_empty()).then(|| format!(r"{place}\.({})", matching.join("|")))
}

fn texts(heads: Vec<Head>) -> impl Iterator<Item = String> {
    heads.into_iter().filter(|(class, _)| class.fits(Class::Text)).map(|(_, head)| head)
}

/// The attributes of blocks at some places, by kind.
fn attributes(places: &str, schema: Option<&Block>, wanted: impl Fn(&str) -> bool) -> Vec<Head> {
    let Some(schema) = schema else { return vec![(Class::Open, format!(r"{places}\.[a-z][a-z0-9_]*"))] };
    let mut by_class: BTreeMap<Class, BTreeSet<&str>> = BTreeMap::new();
    for (name, attribute) in schema.attributes.iter().filter(|(name, _)| wanted(name)) {
        by_class.entry(Class::of(&attribute.ty)).or_default().insert(name);
    }
    // Numbers and flags of other things say nothing of this one.
    let is_telling = |class: &Class| !matches!(class, Class::Other | Class::Number | Class::Bool);
    let alternatives = by_class.into_iter().filter(|(class, _)| is_telling(class));
    let head = |names: BTreeSet<&str>| format!(r"{places}\.({})", names.into_iter().collect::<Vec<_>>().join("|"));
    alternatives.map(|(class, names)| (class, head(names))).collect()
}

/// Escapes for a regular expression inside `/…/`; labels hold only letters, digits, `_`, `-`, addresses also `.`.
fn escape(text: &str) -> String {
    text.replace('.', "\\.")
}
