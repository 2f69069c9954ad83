//! A text as the edits look at it: its lines, the file's habits, and where things stand. The edits themselves are in
//! `replace.rs` (set, take out) and `insert.rs` (add): each looks at the text as it is and says the edits; applying them
//! is the caller's.

use super::scope::{Scope, Slot};
use super::style::{Line, Lines, Style};

/// A text, its lines and the file's habits: what all edits are made from.
pub struct Page<'a> {
    pub(super) text: &'a str,
    pub(super) lines: Lines<'a>,
    pub(super) style: &'a Style,
}

impl<'a> Page<'a> {
    /// Looks at a text.
    pub fn new(text: &'a str, style: &'a Style) -> Self {
        Self { text, lines: Lines::of(text), style }
    }

    /// The indentation of a scope's items: that of the first one, else one level more than around it.
    pub(super) fn item_indent(&self, scope: &Scope) -> String {
        match scope.slots.iter().find(|slot| self.starts_line(slot)) {
            Some(slot) => self.lines.indent(self.lines.at(slot.span.start)).to_owned(),
            None => format!("{}{}", self.outer_indent(scope), self.style.unit),
        }
    }

    /// The indentation of the line that opens a scope.
    pub(super) fn outer_indent(&self, scope: &Scope) -> &'a str {
        self.lines.indent(self.lines.at(scope.inner.start))
    }

    pub(super) fn starts_line(&self, slot: &Slot) -> bool {
        self.text[self.line_of(slot.span.start).span.start..slot.span.start].trim().is_empty()
    }

    pub(super) fn line_of(&self, byte: usize) -> &Line {
        &self.lines.lines[self.lines.at(byte)]
    }
}

/// Whether a value stands in the aligned cell of its line: all brackets that its first line opens are closed there.
pub(super) fn is_single(value: &str) -> bool {
    Lines::of(&format!("k = {value}")).lines[0].assign.is_some()
}
