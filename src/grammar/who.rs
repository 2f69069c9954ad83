//! Who may come: what stands where a range of addresses or a principal is wanted. Which ones are right, only a person knows; what
//! is no range and nobody is not even a suggestion.
//!
//! In: the attribute, and what the module has. Out: an expression for one such value.

use std::sync::LazyLock;

use regex::Regex;

use crate::addresses::range;
use crate::pattern::pattern;
use crate::rules::ENDS;
use crate::source::Attribute;

use super::hcl::quote;
use super::literals::failing;
use super::references::References;
use super::typed::{Form, Typed};

/// Ranges of private addresses (RFC 1918), and the unique local ones (RFC 4193).
const RANGES: &str =
    r#"/"(10\.0\.0\.0\/8|10\.[0-9]{1,2}\.0\.0\/16|172\.16\.0\.0\/12|192\.168\.0\.0\/16|192\.168\.[0-9]{1,2}\.0\/24)"/"#;
const LOCAL_RANGES: &str = r#"/"fd[0-9a-f]{2}:[0-9a-f]{4}:[0-9a-f]{4}::\/48"/"#;

/// The first and the last address of a private range, where both are to be told until a person says which they are.
const FIRST: &str = "10.0.0.0";
const LAST: &str = "10.0.0.255";

/// How many others a list may hold beside those that stand in it: lists of made-up ranges have no end.
const OTHERS: usize = 3;

/// What inputs are called that hold ranges, and those that hold principals.
const RANGES_INPUTS: [&str; 5] = ["address", "cidr", "ip", "network", "range"];
const MEMBERS_INPUTS: [&str; 4] = ["account", "group", "member", "principal"];

/// Attributes of others that hold ranges.
static OF_RANGES: LazyLock<Regex> = LazyLock::new(|| pattern("cidr|address_prefix|address_space|ip_range"));

/// Whether an attribute says which addresses may come.
pub(super) fn is_of_ranges(attribute: &str) -> bool {
    crate::rules::RANGES.contains(&attribute)
        || ["cidrs", "_cidr_blocks", "_ip_ranges", "address_prefixes"].iter().any(|end| attribute.ends_with(end))
}

/// Whether what stands there is a range, or a list of some: the attribute is one of those then, whatever it is called.
fn holds_ranges(attribute: &Attribute) -> bool {
    let is_range = |text: &str| text.contains('/') && range(text).is_some();
    let elements = attribute.literals().unwrap_or_default();
    attribute.as_str().is_some_and(is_range) || elements.iter().any(|text| text.as_str().is_some_and(is_range))
}

/// The other end of the range that an attribute tells one end of.
pub(super) fn other_end(attribute: &str) -> Option<&'static str> {
    ENDS.iter().find_map(|(start, end)| match attribute {
        _ if attribute == *start => Some(*end),
        _ if attribute == *end => Some(*start),
        _ => None,
    })
}

/// Whether an attribute names principals of Google's.
pub(super) fn is_of_members(attribute: &str, ty: &str) -> bool {
    matches!(attribute, "member" | "members") && ty.starts_with("google_")
}

impl Typed<'_> {
    /// One of those that an attribute names; `None` where it names neither addresses nor principals.
    pub(super) fn who(&mut self, attribute: &str, form: &Form<'_>) -> Option<String> {
        let references: &References = self.references;
        let mut one: Vec<String> = Vec::new();
        let stands = form.over.and_then(|body| body.attribute(attribute));
        let inputs = if is_of_ranges(attribute) || stands.is_some_and(holds_ranges) {
            let is_v6 = |it: &Attribute| it.as_str().is_some_and(|text| text.contains(':'));
            let ranges = if attribute.contains("ipv6") || stands.is_some_and(is_v6) { LOCAL_RANGES } else { RANGES };
            one.push(self.terminal(ranges));
            let known = references.with_attributes(&OF_RANGES);
            one.extend(known.map(|heads| self.terminal(&format!("/{heads}/"))));
            if attribute.starts_with("source_address_prefix") {
                one.push("\"\\\"VirtualNetwork\\\"\"".to_owned());
            }
            references.inputs(&RANGES_INPUTS)
        } else if other_end(attribute).is_some() {
            let is_first = ENDS.iter().any(|(start, _)| *start == attribute);
            one.push(quote(&quote(if is_first { FIRST } else { LAST })));
            references.inputs(&[attribute])
        } else if is_of_members(attribute, references.ty()) {
            let accounts = references.of_type("google_service_account", "member")?;
            one.push(self.terminal(&format!("/{accounts}/")));
            references.inputs(&MEMBERS_INPUTS)
        } else {
            return None;
        };
        one.extend(inputs.map(|heads| self.terminal(&format!("/{heads}/"))));
        Some(one.join(" | "))
    }

    /// A list of those that an attribute names: of the ones that stand in it and are somebody, and of a few others.
    pub(super) fn whom(&mut self, attribute: &str, depth: usize, form: &Form<'_>) -> Option<String> {
        let one = self.who(attribute, form)?;
        let failing = failing(form.must_be(attribute), attribute, form.over);
        let standing = form.over.and_then(|body| body.attribute(attribute)).and_then(|it| it.expr.as_array());
        let standing = standing.into_iter().flatten().filter_map(|it| it.as_str());
        let kept: Vec<String> = standing
            .filter(|text| is_somebody(text) && !failing.iter().any(|it| it == text))
            .map(|text| quote(&quote(text)))
            .collect();
        let most = kept.len() + OTHERS;
        let one = kept.into_iter().chain([one]).collect::<Vec<_>>().join(" | ");
        Some(list(&format!("({one})"), most, depth))
    }

    /// A list of references.
    pub(super) fn several(&mut self, one: &str, depth: usize) -> String {
        let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        format!("\"[\" ({one}) (\", \" ({one}))* \"]\" | \"[\\n\" (\"{deeper}\" ({one}) \",\\n\")+ \"{pad}]\"")
    }
}

/// A list of so many elements, at most, on one line or on several.
pub(super) fn list(one: &str, most: usize, depth: usize) -> String {
    let (pad, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    let others = most.saturating_sub(1);
    format!(
        "\"[\" {one} (\", \" {one}){{0,{others}}} \"]\" | \"[\\n\" (\"{deeper}\" {one} \",\\n\"){{1,{most}}} \"{pad}]\""
    )
}

/// The shortest prefix of somebody: shorter ones are of nobody in particular: `0.0.0.0/1` is half of all addresses.
const WIDEST: u8 = 8;

/// Whether a text is an address or a range of some, or one principal (Google Cloud, "Principal identifiers").
fn is_somebody(text: &str) -> bool {
    match range(text) {
        Some((ip, prefix)) => !ip.is_unspecified() && prefix >= WIDEST,
        None => text.split_once(':').is_some_and(|(kind, _)| ["group", "serviceAccount", "user"].contains(&kind)),
    }
}
