//! Attributes and blocks of a body, or the items of an object, alike: what the merge sets, adds and takes out.

use std::iter::Peekable;
use std::ops::Range;

use crate::source::lex::{Kind, Token, lex, tokens_from};
use crate::source::{Body, Item};

use super::style::brackets;

/// A body or an object.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What stands between its braces.
    pub inner: Range<usize>,
    /// Its items in order.
    pub slots: Vec<Slot>,
    /// Whether it is an object.
    pub object: bool,
}

/// An attribute, a block or an object's item.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The attribute's key, unquoted, or the block's keyword.
    pub name: String,
    /// From its first byte to the last of its value or to its closing brace.
    pub span: Range<usize>,
    /// Behind the comma that ends an object's item, else the span's end.
    pub end: usize,
    /// Of an attribute: behind the key, and the value.
    pub assignment: Option<Assignment>,
}

/// Where key and value of an attribute are.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Behind the key.
    pub key_end: usize,
    /// `=` or `:`.
    pub operator: &'static str,
    /// The value's bytes.
    pub value: Range<usize>,
}

impl Scope {
    /// The items of a block's body.
    pub fn of_body(body: &Body) -> Self {
        let slots = body.items.iter().map(|item| Slot {
            name: item.name().to_owned(),
            span: item.span().clone(),
            end: item.span().end,
            assignment: match item {
                Item::Attribute(attribute) => Some(Assignment {
                    key_end: attribute.span.start + attribute.key.len(),
                    operator: "=",
                    value: attribute.value.clone(),
                }),
                Item::Block(_) => None,
            },
        });
        Self { inner: body.span.clone(), slots: slots.collect(), object: false }
    }

    /// The items of an object literal. `None` when `value` is none (a `for` expression is none).
    pub fn of_object(text: &str, value: &Range<usize>) -> Option<Self> {
        let mut tokens = tokens_from(text, value.start)
            .take_while(|token| token.span.end <= value.end)
            .filter(|token| token.kind != Kind::Comment)
            .peekable();
        let open = tokens.next().filter(|token| token.text(text) == "{")?;
        let mut slots = Vec::new();
        loop {
            while tokens.peek().is_some_and(|token| token.kind == Kind::Newline) {
                tokens.next();
            }
            let first = tokens.peek()?.clone();
            if first.text(text) == "}" {
                let inner = open.span.end..first.span.start;
                // Behind the brace of a literal nothing follows: no index, no operator.
                return (first.span.end == value.end).then_some(Self { inner, slots, object: true });
            }
            let key = take_until(&mut tokens, text, |token| matches!(token.text(text), "=" | ":"))?;
            let operator = if tokens.next()?.text(text) == "=" { "=" } else { ":" };
            // `{ for k, v in …`: a key of several words.
            if lex(&text[key.clone()]).iter().filter(|token| token.kind == Kind::Ident).count() > 1
                && first.text(text) == "for"
            {
                return None;
            }
            let ends = |token: &Token| token.kind == Kind::Newline || matches!(token.text(text), "," | "}");
            let value = take_until(&mut tokens, text, ends)?;
            let comma = tokens.next_if(|token| token.text(text) == ",");
            let end = comma.map_or(value.end, |comma| comma.span.end);
            let name = text[key.clone()].trim_matches('"').to_owned();
            let span = key.start..value.end;
            let assignment = Some(Assignment { key_end: key.end, operator, value });
            slots.push(Slot { name, span, end, assignment });
        }
    }

    /// Whether it stands on one line: no line ends between its braces and its first and last items.
    pub fn is_one_line(&self, text: &str) -> bool {
        match (self.slots.first(), self.slots.last()) {
            (Some(first), Some(last)) => {
                let gaps = [self.inner.start..first.span.start, last.end..self.inner.end];
                gaps.into_iter().all(|gap| !text[gap].contains('\n'))
            }
            _ => !text[self.inner.clone()].contains('\n'),
        }
    }
}

/// Takes the tokens up to one outside of brackets that `ends`; from the first to the last byte of those taken.
fn take_until(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    text: &str,
    ends: impl Fn(&Token) -> bool,
) -> Option<Range<usize>> {
    let (mut span, mut depth): (Option<Range<usize>>, isize) = (None, 0);
    while let Some(token) = tokens.next_if(|token| depth > 0 || !ends(token)) {
        depth += brackets(token.text(text));
        span = Some(span.map_or(token.span.clone(), |span| span.start..token.span.end));
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Option<Vec<(String, String)>> {
        let scope = Scope::of_object(text, &(0..text.len()))?;
        let item = |slot: &Slot| Some((slot.name.clone(), text[slot.assignment.as_ref()?.value.clone()].to_owned()));
        scope.slots.iter().map(item).collect()
    }

    #[test]
    fn objects_are_taken_apart() {
        let text =
            "{ # c\n  a = 1, \"b\" : f({ x = 1 }, [2]) // d\n  (var.k) = <<E\n}\nE\n  e = x ? { y = 1 } : { z = 2 } }";
        let items = object(text).unwrap();
        let items: Vec<(&str, &str)> = items.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            items,
            [("a", "1"), ("b", "f({ x = 1 }, [2])"), ("(var.k)", "<<E\n}\nE"), ("e", "x ? { y = 1 } : { z = 2 }"),]
        );
        assert_eq!(object("{}"), Some(vec![]));
        assert_eq!(object("{\n}"), Some(vec![]));
    }

    #[test]
    fn what_is_no_object_literal_is_refused() {
        for text in ["[1]", "{ for k, v in x : k => v }", "{ a = 1 }[\"a\"]", "{ a = 1 } == x", "x", ""] {
            assert_eq!(object(text), None, "{text}");
        }
    }
}
