//! JSON documents that attributes hold (policies, container definitions), with the bytes of each value in them.
//!
//! In: an expression's text, a heredoc of JSON or `jsonencode(…)`. Out: [`Document`], and from changes at places in it the
//! text around what is to be written there ([`Part`]), every other byte as it stands.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Attribute;
use super::lex::{self, Kind, Token};

/// How deep a document may be nested.
const DEPTH: usize = 32;

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// To the value of an object's key.
    Key(String),
    /// To the element of a list.
    Position(usize),
}

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something else is written there; the key, too, where the object has none.
    Write,
    /// The element or the key is taken out.
    Remove,
}

/// A piece of a changed document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stands there.
    Text(String),
    /// What is written for the change at this position of those asked for.
    Hole(usize),
}

/// A document in the text of an expression.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    /// Whether it is written as JSON; else as HCL.
    json: bool,
    root: Node,
}

#[derive(Clone, Debug)]
struct Node {
    span: Range<usize>,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    Object(Vec<Entry>),
    List(Vec<Node>),
    Other,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    /// From the key to the end of the value.
    span: Range<usize>,
    value: Node,
}

impl Document {
    /// The document that an attribute holds, if its text stays as it is when it is written: without comments, and without
    /// what hcl-edit writes in another way.
    pub fn of(attribute: &Attribute) -> Option<Self> {
        let text = attribute.text.as_deref()?;
        let stays = attribute.expr.to_string().trim() == text.trim();
        let has_comments = text.starts_with("jsonencode") && lex::lex(text).iter().any(|t| t.kind == Kind::Comment);
        if stays && !has_comments { Self::parse(text) } else { None }
    }

    /// The document that an expression is; `None` where it is none, or one of another form.
    pub fn parse(expression: &str) -> Option<Self> {
        let text = expression.trim().to_owned();
        let json = text.starts_with("<<");
        let inner = if json {
            // The end marker has a line of its own.
            text.find('\n')? + 1..text.rfind('\n')?
        } else {
            let open = text.strip_prefix("jsonencode")?.trim_start().strip_prefix('(')?;
            text.len() - open.len()..text.len() - 1
        };
        let mut tokens: Vec<Token> =
            lex::lex(text.get(inner.clone())?).into_iter().map(|t| shifted(t, inner.start)).collect();
        tokens.retain(|token| token.kind != Kind::Comment && (!json || token.kind != Kind::Newline));
        let mut reader = Reader { text: &text, tokens: &tokens, at: 0 };
        let root = reader.value(0)?;
        reader.skip_newlines();
        (reader.at == tokens.len()).then_some(Self { json, root, text })
    }

    /// What it holds; what has to be evaluated is a text.
    pub fn value(&self) -> Value {
        self.value_of(&self.root)
    }

    fn value_of(&self, node: &Node) -> Value {
        match &node.held {
            Held::Object(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), self.value_of(&entry.value))).collect()
            }
            Held::List(elements) => elements.iter().map(|element| self.value_of(element)).collect(),
            Held::Other => {
                let text = &self.text[node.span.clone()];
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
        }
    }

    /// Whether values are written as in JSON; else as in HCL.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// What stands at a place.
    pub fn text_at(&self, steps: &[Step]) -> Option<&str> {
        let node = steps.iter().try_fold(&self.root, |node, step| node.step(step))?;
        self.text.get(node.span.clone())
    }

    /// The expression's text with changes, which must not be about one another. `None` where there is no such place.
    pub fn changed(&self, changes: &[(&[Step], Change)]) -> Option<Vec<Part>> {
        let mut edits: Vec<(Range<usize>, Vec<Part>)> = Vec::new();
        for (index, (steps, change)) in changes.iter().enumerate() {
            let (last, outer) = steps.split_last()?;
            let inner = outer.iter().try_fold(&self.root, |node, step| node.step(step))?;
            edits.push(match (change, inner.step(last)) {
                (Change::Write, Some(node)) => (node.span.clone(), vec![Part::Hole(index)]),
                (Change::Write, None) => self.added(inner, last, index)?,
                (Change::Remove, _) => (inner.without(last)?, Vec::new()),
            });
        }
        edits.sort_by_key(|(range, _)| range.start);
        let mut parts = Vec::new();
        let mut at = 0;
        for (range, written) in edits {
            parts.push(Part::Text(self.text.get(at..range.start)?.to_owned()));
            parts.extend(written);
            at = range.end;
        }
        parts.push(Part::Text(self.text.get(at..)?.to_owned()));
        Some(parts)
    }

    /// A new key behind those that an object has.
    fn added(&self, object: &Node, key: &Step, index: usize) -> Option<(Range<usize>, Vec<Part>)> {
        let (Held::Object(entries), Step::Key(key)) = (&object.held, key) else { return None };
        let name = if self.json { format!("\"{key}\": ") } else { format!("{key} = ") };
        let Some(last) = entries.last() else {
            let (open, close) = if self.json { ("{", "}") } else { ("{ ", " }") };
            let parts = vec![Part::Text(format!("{open}{name}")), Part::Hole(index), Part::Text(close.to_owned())];
            return Some((object.span.clone(), parts));
        };
        // As the last key stands behind what is before it.
        let before = entries.iter().rev().nth(1).map_or(object.span.start + 1, |entry| entry.span.end);
        let between = self.text.get(before..last.span.start)?;
        let gap = match (between.rfind('\n'), self.json) {
            (Some(at), true) => format!(",{}", &between[at..]),
            (Some(at), false) => between[at..].to_owned(),
            (None, _) => ", ".to_owned(),
        };
        Some((last.span.end..last.span.end, vec![Part::Text(format!("{gap}{name}")), Part::Hole(index)]))
    }
}

impl Node {
    fn step(&self, step: &Step) -> Option<&Self> {
        match (&self.held, step) {
            (Held::Object(entries), Step::Key(key)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Held::List(elements), Step::Position(at)) => elements.get(*at),
            _ => None,
        }
    }

    /// What has to go for an element or a key to be gone; `None` where it is the only one: nothing would be left.
    fn without(&self, step: &Step) -> Option<Range<usize>> {
        let (spans, at): (Vec<&Range<usize>>, usize) = match (&self.held, step) {
            (Held::Object(entries), Step::Key(key)) => {
                (entries.iter().map(|entry| &entry.span).collect(), entries.iter().position(|e| e.key == *key)?)
            }
            (Held::List(elements), Step::Position(at)) => (elements.iter().map(|element| &element.span).collect(), *at),
            _ => return None,
        };
        let this = spans.get(at)?;
        match (spans.get(at + 1), at.checked_sub(1).and_then(|before| spans.get(before))) {
            (Some(next), _) => Some(this.start..next.start),
            (None, Some(before)) => Some(before.end..this.end),
            (None, None) => None,
        }
    }
}

fn shifted(token: Token, by: usize) -> Token {
    Token { span: token.span.start + by..token.span.end + by, ..token }
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|token| token.text(self.text))
    }

    fn is_newline(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Newline)
    }

    fn skip_newlines(&mut self) {
        while self.is_newline() {
            self.at += 1;
        }
    }

    /// Takes a token if it is one of these.
    fn takes(&mut self, texts: &[&str]) -> bool {
        let is = self.peek().is_some_and(|text| texts.contains(&text));
        self.at += usize::from(is);
        is
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.skip_newlines();
        let start = self.tokens.get(self.at)?.span.start;
        let held = match self.peek()? {
            _ if depth > DEPTH => return None,
            "{" => self.object(depth)?,
            "[" => self.list(depth)?,
            _ => self.other()?,
        };
        // What is gone on with (`[…][0]`, `{…}.x`) is no plain value.
        let is_over = self.is_newline() || self.peek().is_none_or(|text| [",", "}", "]"].contains(&text));
        let end = self.tokens.get(self.at.checked_sub(1)?)?.span.end;
        is_over.then_some(Node { span: start..end, held })
    }

    fn object(&mut self, depth: usize) -> Option<Held> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip_newlines();
            if self.takes(&["}"]) {
                return Some(Held::Object(entries));
            }
            let token = self.tokens.get(self.at)?;
            let start = token.span.start;
            let key = match token.kind {
                Kind::Quoted => token.text(self.text).trim_matches('"').to_owned(),
                // A comprehension is no plain object.
                Kind::Ident if token.text(self.text) != "for" => token.text(self.text).to_owned(),
                _ => return None,
            };
            self.at += 1;
            if !self.takes(&[":", "="]) {
                return None;
            }
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, span: start..value.span.end, value });
            self.takes(&[","]);
        }
    }

    fn list(&mut self, depth: usize) -> Option<Held> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.skip_newlines();
            if self.takes(&["]"]) {
                return Some(Held::List(elements));
            }
            if self.peek()? == "for" {
                return None;
            }
            elements.push(self.value(depth + 1)?);
            self.skip_newlines();
            self.takes(&[","]);
        }
    }

    /// Any other expression: as far as it goes.
    fn other(&mut self) -> Option<Held> {
        let mut open = 0usize;
        let first = self.at;
        while let Some(text) = self.peek() {
            match text {
                "," | "}" | "]" if open == 0 => break,
                "\n" | "\r\n" if open == 0 => break,
                "(" | "[" | "{" | "${" => open += 1,
                ")" | "]" | "}" => open = open.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
        }
        (self.at > first).then_some(Held::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{RelPath, SourceFile};

    fn steps(path: &str) -> Vec<Step> {
        path.split('.').map(|step| step.parse().map_or_else(|_| Step::Key(step.to_owned()), Step::Position)).collect()
    }

    /// The text with `@` for what is written.
    fn changed(text: &str, changes: &[(&str, Change)]) -> Option<String> {
        let paths: Vec<(Vec<Step>, Change)> = changes.iter().map(|(path, change)| (steps(path), *change)).collect();
        let changes: Vec<(&[Step], Change)> = paths.iter().map(|(path, change)| (path.as_slice(), *change)).collect();
        let parts = Document::parse(text)?.changed(&changes)?;
        Some(parts.into_iter().map(|part| if let Part::Text(text) = part { text } else { "@".into() }).collect())
    }

    const JSON: &str =
        "<<-EOF\n  {\n    \"A\": [\"x\", \"${a.b[\"k\"].arn}/*\"],\n    \"B\": {\"c\": true}\n  }\n  EOF";
    const HCL: &str =
        "jsonencode([\n  {\n    name = \"one\" # first\n    f    = max(1, 2)\n  },\n  { name : a.b, \"x\" = {} }\n])";

    #[test]
    fn a_value_is_replaced_and_all_else_stays() {
        assert_eq!(changed(JSON, &[("A.1", Change::Write)]).unwrap(), JSON.replace("\"${a.b[\"k\"].arn}/*\"", "@"));
        assert_eq!(
            changed(JSON, &[("B.c", Change::Write), ("A.0", Change::Write)]).unwrap(),
            JSON.replace("true", "@").replace("\"x\"", "@")
        );
        assert_eq!(changed(HCL, &[("0.f", Change::Write)]).unwrap(), HCL.replace("max(1, 2)", "@"));
        assert_eq!(changed(HCL, &[("1.name", Change::Write)]).unwrap(), HCL.replace("a.b", "@"));
    }

    #[test]
    fn elements_and_keys_are_taken_out_with_what_parts_them() {
        assert_eq!(changed(JSON, &[("A.0", Change::Remove)]).unwrap(), JSON.replace("\"x\", ", ""));
        assert_eq!(changed(JSON, &[("A.1", Change::Remove)]).unwrap(), JSON.replace(", \"${a.b[\"k\"].arn}/*\"", ""));
        assert_eq!(
            changed(HCL, &[("0.f", Change::Remove)]).unwrap(),
            HCL.replace(" # first\n    f    = max(1, 2)", "")
        );
        assert_eq!(changed(JSON, &[("B.c", Change::Remove)]), None, "nothing would be left");
    }

    #[test]
    fn a_key_is_added_in_the_way_of_the_others() {
        assert_eq!(changed(JSON, &[("d", Change::Write)]).unwrap(), JSON.replace("true}", "true},\n    \"d\": @"));
        assert_eq!(changed(JSON, &[("B.d", Change::Write)]).unwrap(), JSON.replace("true", "true, \"d\": @"));
        assert_eq!(changed(HCL, &[("0.d", Change::Write)]).unwrap(), HCL.replace("max(1, 2)", "max(1, 2)\n    d = @"));
        assert_eq!(changed(HCL, &[("1.x.d", Change::Write)]).unwrap(), HCL.replace("{}", "{ d = @ }"));
    }

    #[test]
    fn what_it_holds_is_told() {
        let value = |text: &str| Document::parse(text).unwrap().value();
        assert_eq!(value(JSON), serde_json::json!({ "A": ["x", "\"${a.b[\"k\"].arn}/*\""], "B": { "c": true } }));
        let template = "<<EOF\n[{\"cpu\": ${var.cpu}, \"on\": false}]\nEOF";
        assert_eq!(value(template), serde_json::json!([{ "cpu": "${var.cpu}", "on": false }]));
        assert_eq!(changed(template, &[("0.on", Change::Write)]).unwrap(), template.replace("false", "@"));
    }

    #[test]
    fn what_would_not_stay_as_it_is_is_none() {
        let of = |text: &str| {
            let file =
                SourceFile::parse(RelPath::default(), format!("a \"b\" \"c\" {{\n  x = {text}\n}}\n").into_bytes())
                    .unwrap();
            Document::of(file.body().blocks().next().unwrap().body.attribute("x").unwrap()).is_some()
        };
        assert!(of("jsonencode({ a = 1 })") && of("<<EOF\n{\"a\": 1}\nEOF"));
        assert!(!of("jsonencode({\n    a = 1 # one\n  })") && !of("\"{}\""));
        // A key that is there twice is another one to hcl-edit.
        assert!(!of("jsonencode({\n    a = 1\n    a = 2\n  })"));
    }

    #[test]
    fn what_is_no_plain_document_is_none() {
        for text in [
            "\"x\"",
            "jsonencode(local.x)",
            "jsonencode({ for k in x : k => 1 })",
            "<<EOF\nplain text\nEOF",
            "jsonencode({a = 1}",
            "jsonencode([1][0])",
            "<<EOF",
            "jsonencode",
            "jsonencode(",
        ] {
            assert!(
                Document::parse(text)
                    .is_none_or(|document| document.changed(&[(&steps("a"), Change::Write)]).is_none()),
                "{text}"
            );
        }
        assert_eq!(changed(HCL, &[("2", Change::Write)]), None);
        assert_eq!(changed(HCL, &[("0.name.x", Change::Write)]), None);
    }
}
