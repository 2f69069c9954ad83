//! What expressions of a module can name: its blocks, variables, locals and the outputs of its modules, with the kind of
//! value that each is.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::{Expression, FuncCall};

use super::places::Place;
use crate::naming;
use crate::schema::Type;
use crate::source::{Attribute, Block, BlockAddr, RelPath, SourceTree, local_addr, references, references_of};

/// Kinds of values as far as terraform turns one into another by itself: what can stand where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// A string.
    Text,
    /// A number; it can stand for a string.
    Number,
    /// A bool; it can stand for a string.
    Bool,
    /// A list or set of the three above.
    List,
    /// A map of them.
    Map,
    /// What cannot be told from the configuration: it can stand for anything.
    Open,
    /// Objects, and collections of collections: only whole documents are made of such.
    Other,
}

impl Class {
    /// That of an attribute's type.
    pub(super) fn of(ty: &Type) -> Self {
        match ty {
            Type::String => Self::Text,
            Type::Number => Self::Number,
            Type::Bool => Self::Bool,
            Type::Any => Self::Open,
            Type::List(inner) | Type::Set(inner) if Self::of(inner).is_single() => Self::List,
            Type::Map(inner) if Self::of(inner).is_single() => Self::Map,
            Type::List(_) | Type::Set(_) | Type::Map(_) | Type::Object(_) => Self::Other,
        }
    }

    fn is_single(self) -> bool {
        matches!(self, Self::Text | Self::Number | Self::Bool)
    }

    /// Whether a value of this kind can stand where one of the other kind is wanted.
    pub(super) fn fits(self, wanted: Self) -> bool {
        match wanted {
            _ if self == Self::Open => true,
            Self::Text => self.is_single(),
            Self::Open => true,
            wanted => self == wanted,
        }
    }

    /// That of a literal value; [`Class::Open`] for what must be evaluated.
    fn of_value(value: &Expression) -> Self {
        match value {
            Expression::String(_) | Expression::StringTemplate(_) | Expression::HeredocTemplate(_) => Self::Text,
            Expression::Number(_) => Self::Number,
            Expression::Bool(_) => Self::Bool,
            Expression::Array(values) => match values.iter().all(|value| Self::of_value(value).fits(Self::Text)) {
                true => Self::List,
                false => Self::Other,
            },
            Expression::Object(object) => {
                match object.iter().all(|(_, value)| Self::of_value(value.expr()).fits(Self::Text)) {
                    true => Self::Map,
                    false => Self::Other,
                }
            }
            _ => Self::Open,
        }
    }

    /// That of a variable's type constraint (Terraform language, "Type Constraints").
    fn of_constraint(constraint: &Expression) -> Self {
        match constraint {
            Expression::Variable(name) => match name.as_str() {
                "string" => Self::Text,
                "number" => Self::Number,
                "bool" => Self::Bool,
                _ => Self::Open,
            },
            Expression::FuncCall(call) => Self::of_collection(call),
            _ => Self::Open,
        }
    }

    fn of_collection(call: &FuncCall) -> Self {
        let inner = call.args.iter().next().map_or(Self::Open, Self::of_constraint);
        match call.name.name.as_str() {
            "list" | "set" if inner.is_single() => Self::List,
            "map" if inner.is_single() => Self::Map,
            "optional" => inner,
            _ => Self::Other,
        }
    }
}

/// How a block is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// `count`
    Count,
    /// `for_each`
    ForEach,
}

impl Repetition {
    /// That of a block.
    pub fn of(block: &Block) -> Option<Self> {
        let has = |key: &str| block.body.attribute(key).is_some();
        match (has("count"), has("for_each")) {
            (true, _) => Some(Self::Count),
            (false, true) => Some(Self::ForEach),
            (false, false) => None,
        }
    }
}

/// One thing that can be named.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// What a variable or local is.
    pub class: Class,
    /// The outputs of a local module.
    pub outputs: BTreeSet<String>,
    /// How a block is repeated.
    pub repetition: Option<Repetition>,
    /// What it refers to itself.
    uses: BTreeSet<BlockAddr>,
}

/// What a module declares, and what an answer adds to it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: BTreeMap<BlockAddr, Name>,
    /// Whether there is a number in its texts that may be an account's.
    pub(super) accounts: bool,
    /// Where its blocks are.
    pub(super) places: Vec<Place>,
    /// What stands in arguments that hold names of things, by argument.
    pub(super) texts: BTreeMap<String, BTreeSet<String>>,
}

impl Names {
    /// What the module in `dir` declares.
    pub fn of(tree: &SourceTree, dir: &RelPath) -> Self {
        let calls = tree.calls(dir);
        let may_be_account = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() == 12);
        let accounts = tree.module(dir).any(|file| may_be_account(file.text()));
        let mut names = Self { accounts, ..Self::default() };
        for block in tree.module(dir).flat_map(|file| file.body().blocks()) {
            names.places.extend(Place::of(block));
            names.add_texts(block);
            match block.keyword.as_str() {
                "locals" => block.body.attributes().for_each(|local| names.add_local(local)),
                "module" => {
                    let called = block.labels.first().and_then(|name| calls.get(name));
                    let outputs = called.map(|called| outputs(tree, called)).unwrap_or_default();
                    names.insert(block, Class::Other, outputs);
                }
                "variable" => names.insert(block, class_of_variable(block), BTreeSet::new()),
                _ => names.insert(block, Class::Other, BTreeSet::new()),
            }
        }
        names
    }

    /// Adds a block of an answer: a new one, or the override of one that is there.
    pub fn add(&mut self, block: &Block) {
        match self.names.get_mut(&block.addr()) {
            Some(name) => name.uses.extend(references(block)),
            None => self.insert(block, Class::Other, BTreeSet::new()),
        }
    }

    /// Adds a block of which nothing but the header is known yet.
    pub(super) fn add_new(&mut self, addr: &BlockAddr) {
        let name = Name { class: Class::Other, outputs: BTreeSet::new(), repetition: None, uses: BTreeSet::new() };
        self.names.insert(addr.clone(), name);
    }

    /// Whether it is declared.
    pub fn declare(&self, addr: &BlockAddr) -> bool {
        self.names.contains_key(addr)
    }

    /// All that is declared.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BlockAddr, &Name)> {
        self.names.iter()
    }

    /// How a block is repeated.
    pub fn repetition(&self, addr: &BlockAddr) -> Option<Repetition> {
        self.names.get(addr)?.repetition
    }

    /// What refers to a block, itself among it, at any distance: what that block cannot refer to.
    pub(super) fn behind(&self, addr: &BlockAddr) -> BTreeSet<BlockAddr> {
        let mut behind = BTreeSet::from([addr.clone()]);
        let mut grown = true;
        while grown {
            let more = self.names.iter().filter(|(addr, _)| !behind.contains(addr));
            let more: Vec<_> = more.filter(|(_, name)| !name.uses.is_disjoint(&behind)).collect();
            grown = !more.is_empty();
            behind.extend(more.into_iter().map(|(addr, _)| addr.clone()));
        }
        behind
    }

    fn insert(&mut self, block: &Block, class: Class, outputs: BTreeSet<String>) {
        let uses = references(block).into_iter().collect();
        let name = Name { class, outputs, repetition: Repetition::of(block), uses };
        self.names.insert(block.addr(), name);
    }

    fn add_texts(&mut self, block: &Block) {
        for (path, attribute) in block.body.by_path() {
            let name = path.rsplit('.').next().unwrap_or(&path);
            if !naming::holds_name(name) {
                continue;
            }
            let one = attribute.as_str().map(str::to_owned);
            let several =
                attribute.literals().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned));
            self.texts.entry(name.to_owned()).or_default().extend(several.chain(one));
        }
    }

    fn add_local(&mut self, local: &Attribute) {
        let uses = references_of(&local.expr).into_iter().collect();
        let name = Name { class: Class::of_value(&local.expr), outputs: BTreeSet::new(), repetition: None, uses };
        self.names.insert(local_addr(&local.key), name);
    }
}

fn class_of_variable(block: &Block) -> Class {
    match (block.body.attribute("type"), block.body.attribute("default")) {
        (Some(constraint), _) => Class::of_constraint(&constraint.expr),
        (None, Some(default)) => Class::of_value(&default.expr),
        (None, None) => Class::Open,
    }
}

fn outputs(tree: &SourceTree, dir: &RelPath) -> BTreeSet<String> {
    let blocks = tree.module(dir).flat_map(|file| file.body().blocks());
    blocks.filter(|block| block.keyword == "output").filter_map(|block| block.labels.first().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    fn names(text: &str) -> Names {
        let file = |path: &str, text: &str| SourceFile::parse(RelPath::new(path).unwrap(), text.into()).unwrap();
        let files = [file("main.tf", text), file("m/out.tf", "output \"id\" {\n  value = 1\n}\n")];
        Names::of(&SourceTree::from_files("/", files), &RelPath::default())
    }

    fn class(names: &Names, keyword: &str, name: &str) -> Class {
        names.names[&BlockAddr { keyword: keyword.into(), labels: vec![name.into()] }].class
    }

    #[test]
    fn variables_and_locals_have_a_kind_of_value() {
        let names = names(
            "variable \"a\" {\n  type = list(string)\n}\nvariable \"b\" {\n  default = 7\n}\nvariable \"c\" {}\n\
             variable \"d\" {\n  type = object({ x = string })\n}\nvariable \"e\" {\n  type = map(list(string))\n}\n\
             locals {\n  f = \"x-${var.c}\"\n  g = { x = 1 }\n  h = concat([], [])\n  i = [{}]\n}\n",
        );
        for (name, expected) in [("a", Class::List), ("b", Class::Number), ("c", Class::Open), ("d", Class::Other)] {
            assert_eq!(class(&names, "variable", name), expected, "{name}");
        }
        assert_eq!(class(&names, "variable", "e"), Class::Other);
        for (name, expected) in [("f", Class::Text), ("g", Class::Map), ("h", Class::Open), ("i", Class::Other)] {
            assert_eq!(class(&names, "local", name), expected, "{name}");
        }
    }

    #[test]
    fn a_local_module_has_its_outputs() {
        let names = names("module \"m\" {\n  source = \"./m\"\n}\nmodule \"n\" {\n  source = \"x/n/aws\"\n}\n");
        let outputs = |name: &str| {
            let addr = BlockAddr { keyword: "module".into(), labels: vec![name.into()] };
            names.names[&addr].outputs.iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(outputs("m"), ["id"]);
        assert_eq!(outputs("n"), Vec::<String>::new());
    }

    #[test]
    fn what_leads_to_a_block_is_behind_it() {
        let names = names(
            "resource \"t\" \"a\" {\n}\nresource \"t\" \"b\" {\n  x = t.a.id\n}\nlocals {\n  c = t.b.id\n}\n\
             resource \"t\" \"d\" {\n  x = local.c\n}\nresource \"t\" \"e\" {\n}\n",
        );
        let behind = names.behind(&BlockAddr::resource("t", "a"));
        assert_eq!(behind.iter().map(ToString::to_string).collect::<Vec<_>>(), ["local.c", "t.a", "t.b", "t.d"]);
    }

    #[test]
    fn values_stand_where_terraform_converts_them() {
        assert!(Class::Number.fits(Class::Text) && Class::Open.fits(Class::Bool) && Class::Map.fits(Class::Open));
        assert!(!Class::Text.fits(Class::Bool) && !Class::List.fits(Class::Text) && !Class::Text.fits(Class::List));
    }
}
