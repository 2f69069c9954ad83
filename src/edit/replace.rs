//! The edits that give an item another value, or take it out.

use std::ops::Range;

use super::changeset::TextEdit;
use super::format::{format, on_one_line};
use super::page::{Page, is_single};
use super::scope::{Scope, Slot};
use super::style::Line;

/// How long a line may get to keep a value on it, characters.
const LINE_WIDTH: usize = 120;

impl Page<'_> {
    /// Gives an attribute or object item another value. The key, the column of its `=` and a comment behind it stay
    /// where they are, as far as the new value lets them.
    pub fn set(&self, slot: &Slot, value: &str) -> Vec<TextEdit> {
        let Some(assignment) = &slot.assignment else { return Vec::new() };
        let row = self.lines.at(slot.span.start);
        let indent = self.lines.indent(row);
        let mut value = format(value, self.style, indent);
        let old = assignment.value.clone();
        let was_single = self.lines.lines[row].assign.is_some();
        if was_single && !self.text[old.clone()].contains('\n') && self.lines.chain(row).len() > 1 && !is_single(&value)
        {
            // A value of several lines would cut the chain in two, and the lines in it would have to move.
            let line = on_one_line(&value).map(|line| format(&line, self.style, indent));
            let short = line.filter(|line| self.lines.column(old.start) + line.chars().count() <= LINE_WIDTH);
            value = short.unwrap_or(value);
        }
        let single = is_single(&value);
        let plain = self.text[assignment.key_end..old.start].trim() == "=";
        let aligned = self.style.aligned && plain && self.starts_line(slot);
        let from_key = |gap| TextEdit::replace(assignment.key_end..old.end, format!("{}= {value}", " ".repeat(gap)));
        let mut edits = match (was_single, single) {
            (true, false) if aligned => vec![from_key(1)],
            (false, true) if aligned => self.join_chain(slot, assignment.key_end, from_key),
            _ => vec![TextEdit::replace(old.clone(), value.as_str())],
        };
        if was_single && single {
            edits.extend(self.place_comment(row, slot, &self.text[old], &value));
        }
        edits
    }

    /// A line that becomes one of the chain above and below it: in their column, else set apart by blank lines.
    fn join_chain(&self, slot: &Slot, key_end: usize, from_key: impl Fn(usize) -> TextEdit) -> Vec<TextEdit> {
        let (first, last) = (self.lines.at(slot.span.start), self.lines.at(slot.end));
        let above = first.checked_sub(1).map(|row| self.lines.chain(row)).unwrap_or_default();
        let below = self.lines.lines.get(last + 1).map(|_| self.lines.chain(last + 1)).unwrap_or_default();
        let column = self.lines.common_column(above.clone().chain(below.clone()));
        let gap = column.and_then(|column| column.checked_sub(self.lines.column(key_end))).filter(|gap| *gap > 0);
        if let Some(gap) = gap {
            return vec![from_key(gap)];
        }
        let blank = |chain: &Range<usize>, at| (!chain.is_empty()).then(|| TextEdit::insert(at, self.style.newline));
        let before = blank(&above, self.lines.lines[first].span.start);
        let after = blank(&below, self.lines.lines[last].span.end);
        before.into_iter().chain([from_key(1)]).chain(after).collect()
    }

    /// The comment behind a value of another length: left in its column as far as there is room.
    fn place_comment(&self, row: usize, slot: &Slot, old: &str, new: &str) -> Option<TextEdit> {
        let comment = self.lines.tokens[self.lines.lines[row].comment?].span.start;
        let gap = slot.end..comment;
        let alone = self.lines.comments(row).len() == 1;
        if alone || slot.end > comment || !self.text[gap.clone()].trim().is_empty() || new.contains('\n') {
            return None;
        }
        let width = gap.len() + old.chars().count();
        let spaces = width.saturating_sub(new.chars().count()).max(1);
        (spaces != gap.len()).then(|| TextEdit::replace(gap, " ".repeat(spaces)))
    }

    /// Takes an item out, with the lines that it fills and a blank line that would be one too many.
    pub fn remove(&self, scope: &Scope, slot: &Slot) -> TextEdit {
        let (first, last) = (self.lines.at(slot.span.start), self.lines.at(slot.end));
        let alone = scope
            .slots
            .iter()
            .filter(|other| other.span != slot.span)
            .all(|other| self.lines.at(other.end) < first || self.lines.at(other.span.start) > last);
        if !alone || scope.is_one_line(self.text) {
            return TextEdit::replace(self.part_of_line(scope, slot), "");
        }
        let line = |row: usize| self.lines.lines.get(row);
        let (mut from, mut to) = (first, last + 1);
        let opening = self.lines.at(scope.inner.start) + 1 == first;
        let closing = self.lines.at(scope.inner.end) == last + 1;
        let blank = |row: Option<usize>| row.and_then(line).is_some_and(Line::is_blank);
        if blank(Some(last + 1)) && (opening || blank(first.checked_sub(1))) {
            to += 1;
        } else if closing && !opening && blank(first.checked_sub(1)) {
            from -= 1;
        }
        let mut text = "";
        // Two chains that were apart must not become one: their `=` would have to move.
        let (above, below) = (first.checked_sub(1), last + 1);
        let columns =
            (above.and_then(|row| self.lines.assign_column(row)), line(below).and(self.lines.assign_column(below)));
        if let (Some(above), Some(below)) = columns
            && above != below
        {
            text = self.style.newline;
        }
        let start = self.lines.lines[from].span.start;
        let end = line(to).map_or(self.text.len(), |line| line.span.start);
        TextEdit::replace(start..end, text)
    }

    fn part_of_line(&self, scope: &Scope, slot: &Slot) -> Range<usize> {
        let at = scope.slots.iter().position(|other| other.span == slot.span).unwrap_or(0);
        match (at.checked_sub(1).map(|at| &scope.slots[at]), scope.slots.get(at + 1)) {
            (_, Some(next)) => slot.span.start..next.span.start,
            (Some(before), None) => before.span.end..slot.end,
            (None, None) if !self.text[slot.end..scope.inner.end].trim().is_empty() => slot.span.start..slot.end,
            (None, None) => scope.inner.clone(),
        }
    }
}
