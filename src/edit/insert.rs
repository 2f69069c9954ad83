//! The edits that add items to a body or an object.

use std::ops::Range;

use super::changeset::TextEdit;
use super::format::format;
use super::page::{Page, is_single};
use super::scope::{Scope, Slot};
use super::style::Line;

/// Attributes that stay behind new ones.
const LAST_ATTRIBUTES: [&str; 4] = ["tags", "tags_all", "labels", "depends_on"];
/// Items that stay behind new blocks.
const LAST_BLOCKS: [&str; 5] = ["lifecycle", "depends_on", "provisioner", "connection", "timeouts"];

/// An attribute or object item to add, as the answer writes it.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The key with its quotes, if it has any.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Page<'_> {
    /// Adds attributes or object items.
    pub fn add(&self, scope: &Scope, additions: &[Addition]) -> Vec<TextEdit> {
        let operator = scope.slots.last().and_then(|slot| slot.assignment.as_ref()).map_or("=", |a| a.operator);
        let written: Vec<String> = additions.iter().map(|a| format!("{} {operator} {}", a.key, a.value)).collect();
        if scope.object && scope.is_one_line(self.text) && (!scope.slots.is_empty() || written.len() == 1) {
            return vec![self.add_to_line(scope, &written)];
        }
        if scope.slots.is_empty() || scope.is_one_line(self.text) {
            return vec![self.open_up(scope, &written.join("\n"))];
        }
        let Some(anchor) = self.anchor(scope) else {
            // Only blocks: before the first one, set apart.
            let at = self.line_of(scope.inner.start).span.end;
            let text = format!("{}{}", self.on_new_lines(scope, &written.join("\n")), self.style.newline);
            return vec![TextEdit::insert(at, text)];
        };
        let comma = if anchor.end > anchor.span.end { "," } else { "" };
        let row = self.lines.at(anchor.end);
        let chain = self.lines.chain(row);
        let indent = self.item_indent(scope);
        let (mut fitting, mut rest) = (Vec::new(), Vec::new());
        for (addition, written) in additions.iter().zip(&written) {
            let value = format(&addition.value, self.style, &indent);
            let single = is_single(&value);
            let key_end = indent.chars().count() + addition.key.chars().count();
            let gap = match operator {
                _ if !single => None,
                "=" if self.style.aligned => self.gap_in_chain(&chain, key_end),
                _ => Some(1),
            };
            match gap {
                Some(gap) => fitting.push(format!("{}{}{operator} {value}{comma}", addition.key, " ".repeat(gap))),
                None => rest.push((format!("{written}{comma}"), single)),
            }
        }
        let chain_end = chain.end.max(row + 1) - 1;
        // Between two comments in one column nothing may come: the column would fall apart.
        let commented = |row: usize| self.lines.lines.get(row).is_some_and(|line| line.comment.is_some());
        let fit_row = if commented(row) && row < chain_end && commented(row + 1) { chain_end } else { row };
        let newline = self.style.newline;
        let mut edits = Vec::new();
        if !fitting.is_empty() {
            let text: String = fitting.iter().map(|line| format!("{newline}{indent}{line}")).collect();
            edits.push(TextEdit::insert(self.lines.lines[fit_row].span.end, text));
        }
        if let Some((_, first_single)) = rest.first() {
            let mut text = String::new();
            for (number, (written, single)) in rest.iter().enumerate() {
                let apart = !scope.object && number > 0 && !(*single && rest[number - 1].1);
                text += match number {
                    0 => "",
                    _ if apart => "\n\n",
                    _ => "\n",
                };
                text += written;
            }
            let apart = if scope.object && (!first_single || chain.is_empty()) { "" } else { newline };
            let next = self.lines.lines.get(chain_end + 1);
            let after = if next.is_some_and(|line| line.assign.is_some()) { newline } else { "" };
            let text = format!("{apart}{}{after}", self.on_new_lines(scope, &text));
            edits.push(TextEdit::insert(self.lines.lines[chain_end].span.end, text));
        }
        edits
    }

    /// The item behind which new attributes go: the last one on one line before the first nested block, leaving those
    /// that people keep last behind it.
    fn anchor<'s>(&self, scope: &'s Scope) -> Option<&'s Slot> {
        if scope.object {
            return scope.slots.last();
        }
        let leading: Vec<&Slot> = scope.slots.iter().take_while(|slot| slot.assignment.is_some()).collect();
        let all: Vec<&Slot> = match leading.is_empty() {
            true => scope.slots.iter().filter(|slot| slot.assignment.is_some()).collect(),
            false => leading,
        };
        let ordinary = |slot: &&&Slot| !LAST_ATTRIBUTES.contains(&slot.name.as_str());
        let single = |slot: &&&Slot| self.line_of(slot.span.start).assign.is_some();
        let mut found = all.iter().rev().filter(ordinary).find(single);
        found = found.or_else(|| all.iter().rev().find(ordinary));
        found.or(all.last()).copied()
    }

    /// Adds a nested block: behind the last one of its type, else at the end.
    pub fn add_block(&self, scope: &Scope, keyword: &str, block: &str) -> TextEdit {
        if scope.slots.is_empty() {
            return self.open_up(scope, block);
        }
        if scope.is_one_line(self.text) {
            return self.open_up(scope, &format!("\n{block}"));
        }
        let same = |slot: &Slot| slot.assignment.is_none() && slot.name == keyword;
        let ordinary = |slot: &Slot| !LAST_BLOCKS.contains(&slot.name.as_str());
        let last = scope.slots.iter().rposition(same).or_else(|| scope.slots.iter().rposition(ordinary));
        let last = last.unwrap_or(scope.slots.len() - 1);
        let after = &scope.slots[last];
        let dense = same(after)
            && last > 0
            && same(&scope.slots[last - 1])
            && self.lines.at(scope.slots[last - 1].end) + 1 == self.lines.at(after.span.start);
        let row = self.lines.at(after.end);
        let newline = self.style.newline;
        let apart = if dense { "" } else { newline };
        let next = self.lines.lines.get(row + 1);
        let closing = self.lines.at(scope.inner.end) == row + 1;
        let end = if dense || closing || next.is_none_or(Line::is_blank) { "" } else { newline };
        let text = format!("{apart}{}{end}", self.on_new_lines(scope, block));
        TextEdit::insert(self.lines.lines[row].span.end, text)
    }

    /// Spaces before the `=` of a new line in a chain. `None` when its key is too long, or the chain's column is not
    /// the one that `terraform fmt` would put the new line into (the chain's widest key went).
    fn gap_in_chain(&self, chain: &Range<usize>, key_end: usize) -> Option<usize> {
        if chain.is_empty() {
            return None;
        }
        match self.lines.common_column(chain.clone()) {
            Some(column) if self.style.tight && self.lines.fmt_column(chain.clone()) != Some(column) => None,
            Some(column) => column.checked_sub(key_end).filter(|gap| *gap > 0),
            None => Some(1),
        }
    }

    /// `{ a = 1 }` with more items on its line.
    fn add_to_line(&self, scope: &Scope, written: &[String]) -> TextEdit {
        let text: Vec<String> = written.iter().map(|item| format(item, self.style, self.outer_indent(scope))).collect();
        let text = text.join(", ");
        match scope.slots.last() {
            Some(last) if last.end > last.span.end => TextEdit::insert(last.end, format!(" {text}")),
            Some(last) => TextEdit::insert(last.end, format!(", {text}")),
            None => TextEdit::replace(scope.inner.clone(), format!(" {text} ")),
        }
    }

    /// A scope that is empty or on one line becomes one on several lines, with more in it.
    fn open_up(&self, scope: &Scope, more: &str) -> TextEdit {
        let inner = &self.text[scope.inner.clone()];
        let comments = scope.slots.is_empty() && !inner.trim().is_empty();
        if comments && inner.contains('\n') {
            let at = self.line_of(scope.inner.end).span.start;
            let text = self.on_new_lines(scope, more);
            let text = text.strip_prefix(self.style.newline).unwrap_or(&text);
            return TextEdit::insert(at, format!("{text}{}", self.style.newline));
        }
        let all = format!("{}\n{more}", inner.trim());
        let text = self.on_new_lines(scope, &all);
        let text = format!("{text}{}{}", self.style.newline, self.outer_indent(scope));
        TextEdit::replace(scope.inner.clone(), text)
    }

    /// Formatted text on lines of its own, a line end first.
    fn on_new_lines(&self, scope: &Scope, text: &str) -> String {
        let indent = self.item_indent(scope);
        format!("{}{indent}{}", self.style.newline, format(text, self.style, &indent))
    }
}
