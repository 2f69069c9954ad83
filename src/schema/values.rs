//! The values that a text may have, as the description of its attribute lists them.
//!
//! In: a provider's own words on an attribute. Out: the values. Lists are looked for behind words such as "Possible values",
//! in quotes, in backticks or as constants (`FULL_ACCESS`), with an explanation behind each or none; where the provider says
//! it otherwise, nothing is found, and the attribute is any text. A list need not be all that the provider takes.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

/// What begins a list.
static LIST: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:possible|accepted|valid|allowed|available|supported) (?:values?|options|choices)(?: (?:are|currently|field|following|for|includes?|including|is|of|the|this))* ?:? ?\[?",
    )
});

/// What is between the values of a list: no other words than these.
static BETWEEN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:\s|[,;*-]|or\b|and\b)*"));

/// A value: in quotes, in backticks, a constant, or a name of several parts (`logging.googleapis.com/kubernetes`).
static VALUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?:"([^"\s]+)"|'([^'\s]+)'|`"?([^`"\s]+)"?`|([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z][A-Z0-9]+|[a-z][a-z0-9-]*(?:[./][a-z0-9-]+)+)(?:[^\w]|$))"#,
    )
});

/// What is said of a value: in brackets, or behind a colon up to the next point of the list.
static SAID: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*(?:\([^)]*\)|:[^*]*(\*))"));

/// The values that a description lists; none where it lists fewer than two, or forms that a value may have instead. Those that
/// stand for no value at all (`TYPE_UNSPECIFIED`) are left out.
pub(super) fn listed(description: &str) -> Vec<String> {
    let text = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let lists = LIST.find_iter(&text).map(|list| values(&text[list.end()..]));
    let mut values = lists.max_by_key(Vec::len).unwrap_or_default();
    values.retain(|value| !value.contains("UNSPECIFIED") && value != "UNKNOWN");
    if values.len() < 2 || values.iter().any(|value| is_form(value)) {
        return Vec::new();
    }
    values
}

/// Whether it shows how a value is written: an address, or with a place to be filled in.
fn is_form(value: &str) -> bool {
    value.contains("://") || value.contains(['{', '}', '<', '>', '*'])
}

fn values(mut rest: &str) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        rest = &rest[BETWEEN.find(rest).map_or(0, |between| between.end())..];
        let Some(found) = VALUE.captures(rest) else { return values };
        let Some(value) = found.iter().skip(1).flatten().next() else { return values };
        if !values.iter().any(|known| known == value.as_str()) {
            values.push(value.as_str().to_owned());
        }
        // A constant's match has what ends it in it.
        let end = found.get(4).or(found.get(0)).map_or(rest.len(), |whole| whole.end());
        rest = &rest[end..];
        if let Some(said) = SAID.captures(rest) {
            // The point of the next value stays.
            let end = match (said.get(1), said.get(0)) {
                (Some(point), _) => point.start(),
                (None, said) => said.map_or(0, |said| said.end()),
            };
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_the_forms_that_providers_write_them_in() {
        for (description, values) in [
            (r#"SSL mode. Default value: "A" Possible values: ["A", "B_C"]"#, "A B_C"),
            ("Allowed values are \"Never\" and \"IfNeeded\". Never: the webhook is not called", "Never IfNeeded"),
            ("The action to take. Possible values are `Allow` or `Deny`.", "Allow Deny"),
            ("Supported values include MYSQL_5_6, MYSQL_5_7, and POSTGRES_15.", "MYSQL_5_6 MYSQL_5_7 POSTGRES_15"),
            ("Possible values:GVNIC, VIRTIO_NET, and IRDMA", "GVNIC VIRTIO_NET IRDMA"),
            (
                "The mode. Possible values: MODE_UNSPECIFIED INSPECT_ONLY INSPECT_AND_BLOCK",
                "INSPECT_ONLY INSPECT_AND_BLOCK",
            ),
            (
                "The selected channel. Accepted values are:\n* UNSPECIFIED: Not set.\n* RAPID: Weekly.\n* STABLE: Once a month.",
                "RAPID STABLE",
            ),
            ("Possible values include: * 'a.com': One * 'b.com': Other", "a.com b.com"),
            (
                "Allowed values are \"http1\" (HTTP/1) and \"h2c\" (HTTP/2 end-to-end). Defaults to \"http1\".",
                "http1 h2c",
            ),
            (
                "Available options include logging.example.com(Legacy), logging.example.com/new(The other one), and none.",
                "logging.example.com logging.example.com/new",
            ),
            ("Possible values include `apple`, `twitter` and the `name` of your provider.", "apple twitter"),
            ("Possible values: UNSPECIFIED_ACTION, LOG, BLOCK", "LOG BLOCK"),
        ] {
            assert_eq!(listed(description).join(" "), values, "{description}");
        }
    }

    #[test]
    fn what_is_no_list_of_values_is_none() {
        for description in [
            "The name. Must be set.",
            "Possible values are between `1` and `30`. Defaults to `3`.",
            "See the documentation for possible values. ALL of them work",
            "The only possible value is \"a\"",
            "Possible values: [\"MODE_UNSPECIFIED\", \"ONE\"]",
            "The scheme must be one of \"http\" or \"https\", and the port be there.",
            "Valid values are `https://a/{name}` and `{name}`",
            "",
        ] {
            assert!(listed(description).is_empty(), "{description}");
        }
    }
}
