//! What something in a block must be, for a rule to pass: a place, and what is wanted there.
//!
//! In: conditions, or what running a rule has shown. Out: [`Wanted`], which languages of answers are made of, and what would be
//! lost by it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::document::Step;
use crate::source::{Block, Body, Item};

/// Attributes that say what traffic a rule of a firewall is about: with another one it may leave open what it was found for.
pub const TRAFFIC: [&str; 11] = [
    "from_port",
    "to_port",
    "protocol",
    "ip_protocol",
    "direction",
    "destination_port_range",
    "destination_port_ranges",
    "ports",
    "source_port_range",
    "source_port_ranges",
    "self",
];
/// Attributes that say from which addresses a rule of a firewall, or a service, lets in.
pub const RANGES: [&str; 11] = [
    "api_server_authorized_ip_ranges",
    "authorized_ip_ranges",
    "cidr_block",
    "cidr_blocks",
    "cidr_ipv4",
    "cidr_ipv6",
    "ipv6_cidr_blocks",
    "public_access_cidrs",
    "source_address_prefix",
    "source_address_prefixes",
    "source_ranges",
];
/// Attributes that tell such a range by its first and its last address.
pub const ENDS: [(&str, &str); 2] = [("start_ip_address", "end_ip_address"), ("start_ip", "end_ip")];
/// Attributes that say which thing a block is.
const NAMES: [&str; 3] = ["name", "id", "key"];

/// Of the versions of TLS that do, the earliest: who does not speak a later one could no longer come.
pub(super) fn least(path: &[String], mut values: Vec<Value>) -> Vec<Value> {
    if !path.last().is_some_and(|name| name.contains("tls_version")) {
        return values;
    }
    let version = |value: &Value| {
        let text = value.to_string();
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        numbers.map(|digits| digits.parse().unwrap_or(u64::MAX)).collect::<Vec<_>>()
    };
    let least = values.iter().map(version).filter(|version| !version.is_empty()).min();
    values.retain(|value| least.as_ref().is_none_or(|least| version(value) == *least));
    values
}

/// What something in a block must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// The names that lead to it, blocks first.
    pub path: Vec<String>,
    /// In which blocks, where several of a type stand on the way to it.
    pub at: At,
    /// What it must be.
    pub must: Must,
}

/// Which of the nested blocks of a type, where the first several of one type stand on a path, or where in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// All of them.
    #[default]
    All,
    /// Those at these positions.
    These(Vec<usize>),
    /// One more of the innermost type.
    New,
    /// Not the attribute itself: what is at this place of the JSON document that it holds.
    Inside(Vec<Step>),
}

/// What an attribute or a block must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Must {
    /// One of these values.
    Be(Vec<Value>),
    /// There, and none of these values.
    NotBe(Vec<Value>),
    /// There, whatever it holds.
    Exist,
    /// Not there.
    NotExist,
}

/// What would satisfy a rule: alternatives, each a list of what must be together.
pub type Alternatives = Vec<Vec<Wanted>>;

/// What running a rule on a changed block has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Explored {
    /// What satisfies it.
    pub ways: Alternatives,
    /// Whether it looks at anything that can be set.
    pub is_settable: bool,
}

impl Explored {
    /// Where it was not run, or could not be.
    pub fn nothing() -> Self {
        Self { ways: Vec::new(), is_settable: true }
    }
}

impl Wanted {
    /// What must be in all blocks that the path leads through.
    pub fn new(path: Vec<String>, must: Must) -> Self {
        Self { path, at: At::All, must }
    }

    /// Adds itself to what is known.
    pub fn join(self, known: &mut Vec<Self>) {
        match known.iter_mut().find(|same| same.path == self.path && same.at == self.at) {
            Some(same) => same.must = std::mem::replace(&mut same.must, Must::Exist).and(self.must),
            None => known.push(self),
        }
    }

    /// With what the rule saw as a value left open where the configuration has an expression: that must not be lost.
    pub(super) fn kept_open(mut self, target: &Block) -> Self {
        let Must::Be(values) = &self.must else { return self };
        if self.is_inside() {
            return self;
        }
        let is_written = |place: &Place<'_>| match place {
            Place::Item(Item::Attribute(attribute)) if values.iter().any(Value::is_array) => {
                attribute.literals().is_some()
            }
            Place::Item(Item::Attribute(attribute)) => attribute.expr.is_object(),
            _ => false,
        };
        let of_parts = values.iter().any(|value| value.is_array() || value.is_object());
        if of_parts && !found(&target.body, &self.path).iter().all(is_written) {
            self.must = Must::Exist;
        }
        self
    }

    /// With the least of what does, where more shuts more people out.
    pub(super) fn least(mut self) -> Self {
        if let Must::Be(values) = &mut self.must {
            *values = least(&self.path, std::mem::take(values));
        }
        self
    }

    /// Whether something is lost by it: emptied, switched off, made another thing, moved to other traffic.
    pub(super) fn loses(&self, target: &Block) -> bool {
        if self.is_inside() {
            // An element of a list is one of several.
            return self.takes_out();
        }
        let all = |is: &dyn Fn(&Value) -> bool| matches!(&self.must, Must::Be(values) if values.iter().all(is));
        let Some(name) = self.path.last().map(String::as_str) else { return false };
        let now = found(&target.body, &self.path);
        let is_on = |place: &Place<'_>| matches!(place, Place::Item(Item::Attribute(attribute)) if attribute.expr.as_bool() == Some(true));
        let is_off = all(&|value| *value == Value::Bool(false) || *value == "false");
        all(&is_empty)
            || is_off && now.iter().any(is_on)
            || self.switches_off()
            || TRAFFIC.contains(&name)
            // Of another kind, it is another thing.
            || name == "kind" || name.ends_with("_kind")
            || self.renames(target)
    }

    /// Whether it is about what the block is called: another name makes it another thing.
    pub(super) fn renames(&self, target: &Block) -> bool {
        let is_name = matches!(self.path.as_slice(), [name] if NAMES.contains(&name.as_str()));
        is_name && !found(&target.body, &self.path).is_empty()
    }

    /// Whether it is about a document that the attribute holds.
    pub fn is_inside(&self) -> bool {
        matches!(self.at, At::Inside(_))
    }

    /// Whether a setting is taken out: more than an element of a document's list.
    pub(super) fn takes_out(&self) -> bool {
        let is_element = matches!(&self.at, At::Inside(steps) if matches!(steps.last(), Some(Step::Position(_))));
        self.must == Must::NotExist && !is_element
    }

    /// Whether the block itself does nothing any more.
    pub(super) fn switches_off(&self) -> bool {
        let all = |flag: bool| {
            let is = |value: &Value| {
                *value == Value::Bool(flag) || value.as_str() == Some(if flag { "true" } else { "false" })
            };
            matches!(&self.must, Must::Be(values) if values.iter().all(is))
        };
        match self.path.as_slice() {
            [name] if name == "enabled" => all(false),
            [name] if name == "disabled" => all(true),
            _ => false,
        }
    }
}

impl Must {
    /// Whether a value has to be found for it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::NotBe(_) | Self::Exist)
    }

    /// Both, where both are about one place.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Be(one), Self::Be(other)) if let Some(entries) = united(&one, &other) => Self::Be(vec![entries]),
            (Self::Be(one), Self::Be(other)) => {
                let both: Vec<_> = one.iter().filter(|value| other.contains(value)).cloned().collect();
                // Rules that contradict one another: nothing satisfies both.
                Self::Be(if both.is_empty() { one } else { both })
            }
            (Self::NotBe(mut one), Self::NotBe(other)) => {
                one.extend(other);
                Self::NotBe(one)
            }
            (Self::Exist, other) | (other, Self::Exist) => other,
            (Self::NotBe(_), other) | (other, _) => other,
        }
    }
}

/// The entries of two maps; what the first says of one counts.
fn united(one: &[Value], other: &[Value]) -> Option<Value> {
    let ([Value::Object(one)], [Value::Object(other)]) = (one, other) else { return None };
    Some(other.iter().chain(one).map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// What a path leads to.
pub(super) enum Place<'a> {
    Item(&'a Item),
    /// Somewhere inside a value.
    Inside,
}

/// What stands at the end of a path, in all blocks that lead there.
pub(super) fn found<'a>(body: &'a Body, path: &[String]) -> Vec<Place<'a>> {
    let Some((name, rest)) = path.split_first() else { return Vec::new() };
    let mut places = Vec::new();
    for item in body.items.iter().filter(|item| item.name() == name) {
        match item {
            _ if rest.is_empty() => places.push(Place::Item(item)),
            Item::Attribute(_) => places.push(Place::Inside),
            Item::Block(block) => places.extend(found(&block.body, rest)),
        }
    }
    places
}
