//! A wish in words, for the prompt.

use hcl::format::Format;
use serde_json::Value;

use super::{At, Must, Wanted, Way, Wish, graph};
use crate::source::document::Step;

/// Longest list of values that is written out.
const LISTED: usize = 12;
/// Values that are known to fail, at most, where others do not.
const TRIED: usize = 3;

impl Wish {
    /// What the rule checks, in at most `budget` characters, cut at the end of a line: key and values in plain words, the
    /// condition tree of a graph rule, or the rule's own code. Without the title.
    pub fn to_prompt(&self, budget: usize) -> String {
        let mut lines = self.key_sentences();
        lines.extend(self.resolution.iter().flat_map(|text| text.lines()).map(str::to_owned));
        if let Some(definition) = &self.graph {
            lines.push("It passes when:".to_owned());
            lines.extend(graph::lines(definition, &self.resource_types));
            if graph::wants_connection(definition) {
                lines.push("Connected means that one refers to the other; what is missing must be added.".to_owned());
            }
        }
        if let Some(source) = &self.source {
            lines.push(match self.code {
                true => "It is decided by this code (conf holds each attribute's value in a list; PASSED is wanted):"
                    .to_owned(),
                false => "Exception, as code:".to_owned(),
            });
            lines.extend(source.lines().map(str::to_owned));
        }
        within(lines, budget)
    }

    fn key_sentences(&self) -> Vec<String> {
        let Some(key) = &self.inspected_key else { return Vec::new() };
        if self.keys_by_type.is_empty() {
            return self.key_sentence(key).into_iter().collect();
        }
        // One sentence for each key, with the types that have it.
        let mut keys: Vec<(&String, Vec<&str>)> = Vec::new();
        for (resource_type, key) in &self.keys_by_type {
            match keys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, types)) => types.push(resource_type),
                None => keys.push((key, vec![resource_type])),
            }
        }
        let sentence = |(key, types): (&String, Vec<&str>)| {
            self.key_sentence(key).map(|sentence| format!("In {}: {sentence}", types.join(", ")))
        };
        keys.into_iter().filter_map(sentence).collect()
    }

    /// `None` when the rule says nothing of values.
    fn key_sentence(&self, key: &str) -> Option<String> {
        let path = names_of(key);
        let name = path.join(".");
        let (expected, forbidden) = (literals(&self.expected), literals(&self.forbidden));
        let (must, value) = if self.any_value {
            ("must be set, to a value that is not empty".to_owned(), None)
        } else if self.forbid_any {
            ("must not be set: take it out".to_owned(), None)
        } else if let [only] = expected.as_slice() {
            (format!("must be {only}"), Some(only.clone()))
        } else if let [first, ..] = expected.as_slice() {
            (format!("must be one of {}", list(&expected)), Some(first.clone()))
        } else if let [Value::Bool(bad)] = self.forbidden.as_slice() {
            (format!("must be {}", !bad), Some((!bad).to_string()))
        } else if let [only] = forbidden.as_slice() {
            (format!("must not be {only}"), None)
        } else if !forbidden.is_empty() {
            (format!("must be none of {}", list(&forbidden)), None)
        } else {
            return None;
        };
        let absent = match (self.absent_passes, self.forbid_any) {
            (_, true) => "",
            (true, false) => ", or be left out",
            (false, false) if forbidden.is_empty() => "",
            (false, false) => ", and must be set",
        };
        let inside = match path.as_slice() {
            [_] | [] => String::new(),
            [outer @ .., last] => {
                let body = value.map_or_else(|| last.clone(), |value| format!("{last} = {value}"));
                format!(" ({})", outer.iter().rev().fold(body, |body, block| format!("{block} {{ {body} }}")))
            }
        };
        Some(format!("Attribute `{name}` {must}{absent}{inside}."))
    }
}

/// What lets a rule pass, as running it has shown, in at most `budget` characters: a line for each way, the likeliest first.
/// Shorter than the rule's code, and what is not in it the answer may not do anyway. Nothing where it is not the whole truth:
/// what fails beside the values that were tried, only the code tells.
pub fn shown(ways: &[Way], budget: usize) -> String {
    let many = |wanted: &Wanted| matches!(&wanted.must, Must::NotBe(values) if values.len() > TRIED);
    if ways.iter().flat_map(|way| &way.target).any(many) {
        return String::new();
    }
    let line = |way: &Way| way.target.iter().map(sentence).collect::<Vec<_>>().join(" and ");
    let mut lines: Vec<String> = ways.iter().map(line).filter(|line| !line.is_empty()).collect();
    if lines.len() > 1 {
        lines.insert(0, "One of these:".to_owned());
    }
    within(lines, budget)
}

fn sentence(wanted: &Wanted) -> String {
    let name = wanted.path.join(".");
    let place = match &wanted.at {
        At::Inside(steps) => {
            let steps = steps.iter().map(|step| match step {
                Step::Key(key) => format!(".{key}"),
                Step::Position(position) => format!("[{position}]"),
            });
            format!("in the document `{name}`, `{}`", steps.collect::<String>().trim_start_matches('.'))
        }
        At::New => format!("in a new block, `{name}`"),
        At::All | At::These(_) => format!("`{name}`"),
    };
    let must = match &wanted.must {
        Must::Be(values) => match literals(values).as_slice() {
            [only] => format!("must be {only}"),
            several => format!("must be one of {}", list(several)),
        },
        Must::NotBe(values) => match literals(values).as_slice() {
            [] => "must be set".to_owned(),
            [only] => format!("must be another value than {only}"),
            several => format!("must be none of {}", list(several)),
        },
        Must::Exist => "must be set".to_owned(),
        Must::NotExist => "must be taken out".to_owned(),
    };
    format!("{place} {must}")
}

/// The names of a key's path: list positions dropped.
pub fn names_of(key: &str) -> Vec<String> {
    let position = |part: &str| part.starts_with('[') || part == "*" || part.bytes().all(|b| b.is_ascii_digit());
    key.split('/').filter(|part| !part.is_empty() && !position(part)).map(str::to_owned).collect()
}

/// A JSON value as HCL writes it, on one line.
pub(super) fn literal(value: &Value) -> String {
    let mut formatter = hcl::format::Formatter::builder().compact(true).build_vec();
    let expression = hcl::expr::to_expression(value).unwrap_or(hcl::Expression::Null);
    match expression.format(&mut formatter) {
        Ok(()) => String::from_utf8_lossy(&formatter.into_inner()).trim().to_owned(),
        Err(_) => value.to_string(),
    }
}

/// Values as HCL literals, each once: Checkov lists `"1.2"` beside `1.2`.
fn literals(values: &[Value]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut literals = Vec::new();
    for value in values {
        let text = literal(value);
        let bare = text.trim_matches('"').to_lowercase();
        if !seen.contains(&bare) {
            seen.push(bare);
            literals.push(text);
        }
    }
    literals
}

fn list(literals: &[String]) -> String {
    let shown = literals[..literals.len().min(LISTED)].join(", ");
    match literals.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} others"),
    }
}

/// The lines that fit, with `…` where some were cut.
fn within(lines: Vec<String>, budget: usize) -> String {
    let mut text = String::new();
    for line in lines {
        let room = budget.saturating_sub(text.chars().count() + 2);
        if line.chars().count() + 1 > room {
            if text.is_empty() {
                text.extend(line.chars().take(room));
            }
            text.push('…');
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(key: &str) -> Wish {
        Wish { title: "Title".into(), inspected_key: Some(key.into()), ..Wish::default() }
    }

    #[test]
    fn one_expected_value_shows_where_it_goes() {
        let wish = Wish { expected: vec![json!(true)], ..key("logs/[0]/failed_request_tracing") };
        assert_eq!(
            wish.to_prompt(500),
            "Attribute `logs.failed_request_tracing` must be true (logs { failed_request_tracing = true })."
        );
    }

    #[test]
    fn several_values_are_listed_once() {
        let wish = Wish { expected: vec![json!("1.2"), json!(1.2), json!("1.3")], absent_passes: true, ..key("tls") };
        assert_eq!(wish.to_prompt(500), "Attribute `tls` must be one of \"1.2\", \"1.3\", or be left out.");
        let many = Wish { forbidden: (0..20).map(|n| json!(n)).collect(), absent_passes: true, ..key("runtime") };
        assert!(many.to_prompt(500).contains("11 and 8 others, or be left out"));
    }

    #[test]
    fn any_value_none_at_all_and_a_forbidden_flag() {
        let any = Wish { any_value: true, ..key("kms_key_id") };
        assert!(any.to_prompt(500).ends_with("`kms_key_id` must be set, to a value that is not empty."));
        let none = Wish { forbid_any: true, absent_passes: true, ..key("user") };
        assert!(none.to_prompt(500).ends_with("`user` must not be set: take it out."));
        let flag = Wish { forbidden: vec![json!(true)], absent_passes: true, ..key("public") };
        assert!(flag.to_prompt(500).ends_with("`public` must be false, or be left out."));
        let required = Wish { forbidden: vec![json!("x")], ..key("mode") };
        assert!(required.to_prompt(500).ends_with("`mode` must not be \"x\", and must be set."));
    }

    #[test]
    fn keys_of_several_types_are_told_apart() {
        let keys = [("t1", "min_tls"), ("t2", "minimum_tls"), ("t3", "minimum_tls")];
        let wish = Wish {
            expected: vec![json!("1.2")],
            keys_by_type: keys.map(|(t, k)| (t.to_owned(), k.to_owned())).into(),
            ..key("min_tls")
        };
        let text = wish.to_prompt(500);
        assert!(
            text.contains("In t1: Attribute `min_tls`") && text.contains("In t2, t3: Attribute `minimum_tls`"),
            "{text}"
        );
        assert!(wish.for_type("t2").to_prompt(500).ends_with("Attribute `minimum_tls` must be \"1.2\"."));
    }

    #[test]
    fn code_is_cut_at_a_line() {
        let wish =
            Wish { title: "T".into(), code: true, source: Some("a = 1\nb = 2\nccccccccc".into()), ..Wish::default() };
        let whole = wish.to_prompt(1000);
        assert!(whole.ends_with("a = 1\nb = 2\nccccccccc"), "{whole}");
        let cut = wish.to_prompt(whole.chars().count() - 3);
        assert!(cut.ends_with("a = 1\nb = 2\n…"), "{cut}");
        assert_eq!(Wish { resolution: Some("A long text".into()), ..Wish::default() }.to_prompt(8), "A long…");
    }

    #[test]
    fn what_running_a_rule_has_shown_is_told_line_by_line() {
        let path = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
        let wanted = |name: &str, must: Must| Wanted::new(path(name), must);
        let way = |target: Vec<Wanted>| Way { target, ..Way::default() };
        let size = way(vec![
            wanted("a.size", Must::Be(vec![json!(1), json!(2)])),
            wanted("a.mode", Must::NotBe(vec![json!("open")])),
        ]);
        let gone = way(vec![wanted("b", Must::NotExist)]);
        let steps = vec![Step::Key("Statement".into()), Step::Position(0), Step::Key("Action".into())];
        let inside = Wanted { at: At::Inside(steps), ..wanted("policy", Must::Exist) };
        assert_eq!(
            shown(&[size.clone(), gone], 200),
            "One of these:\n`a.size` must be one of 1, 2 and `a.mode` must be another value than \"open\"\n`b` must be taken out"
        );
        assert_eq!(shown(&[way(vec![inside])], 200), "in the document `policy`, `Statement[0].Action` must be set");
        assert_eq!(shown(&[], 200), "");
        let many = wanted("a", Must::NotBe((0..4).map(|n| json!(n)).collect()));
        assert_eq!(shown(&[way(vec![many])], 200), "", "the code says what else fails");
        assert!(shown(&[size.clone(), size], 60).ends_with('…'));
    }
}
