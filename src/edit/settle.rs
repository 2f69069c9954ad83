//! Brings the `=` and the comments of changed lines into the columns that `terraform fmt` gives them, where the lines
//! around stood in such columns before. Those lines themselves stay: where the widest of them went, they stand in their
//! old column beside the changed line's new one.

use std::ops::Range;

use super::changeset::TextEdit;
use super::style::{Lines, Style};

/// Which column is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// That of the `=`.
    Assign,
    /// That of the comments behind.
    Comment,
}

/// The edits of `text`, which `edits` made from `base`.
pub fn settle(base: &str, text: &str, edits: &[TextEdit], style: &Style, column: Column) -> Vec<TextEdit> {
    if !style.aligned || !style.tight {
        return Vec::new();
    }
    let (before, now) = (Lines::of(base), Lines::of(text));
    let moves = Moves { edits };
    let mut rows: Vec<usize> =
        moves.written(text).into_iter().flat_map(|span| now.at(span.start)..=now.at(span.end)).collect();
    rows.dedup();
    rows.into_iter()
        .filter_map(|row| {
            let start = now.lines[row].span.start + now.indent(row).len();
            let was = before.at(moves.origin(start)?);
            if cell(&before, was, column).is_some_and(|(old, fmt_old)| old != fmt_old) {
                return None;
            }
            let (is, wanted) = cell(&now, row, column)?;
            let token = match column {
                Column::Assign => now.lines[row].assign?,
                Column::Comment => now.lines[row].comment?,
            };
            let gap = now.tokens[token - 1].span.end..now.tokens[token].span.start;
            let spaces = (gap.len() + wanted).checked_sub(is)?;
            (is != wanted).then(|| TextEdit::replace(gap, " ".repeat(spaces)))
        })
        .collect()
}

/// The column of a line's cell, and the one that `terraform fmt` gives it.
fn cell(lines: &Lines, row: usize, column: Column) -> Option<(usize, usize)> {
    match column {
        Column::Assign => Some((lines.assign_column(row)?, lines.fmt_column(lines.chain(row))?)),
        Column::Comment => {
            let comment = lines.tokens[lines.lines[row].comment?].span.start;
            Some((lines.column(comment), lines.fmt_comment_column(lines.comments(row))?))
        }
    }
}

/// How edits moved the bytes.
struct Moves<'a> {
    edits: &'a [TextEdit],
}

impl Moves<'_> {
    /// Where a byte of the edited text was before; `None` for one that was written.
    fn origin(&self, at: usize) -> Option<usize> {
        let (mut base, mut now) = (0, 0);
        for edit in self.edits {
            let kept = edit.range.start - base;
            if at < now + kept {
                break;
            }
            now += kept + edit.insert.len();
            base = edit.range.end;
            if at < now {
                return None;
            }
        }
        Some(base + at - now)
    }

    /// What was written, less the white space around it.
    fn written(&self, text: &str) -> Vec<Range<usize>> {
        let (mut base, mut now) = (0, 0);
        let mut spans = Vec::new();
        for edit in self.edits {
            let start = now + edit.range.start - base;
            now = start + edit.insert.len();
            base = edit.range.end;
            let written = &text[start..now];
            let lead = written.len() - written.trim_start().len();
            if !written.trim().is_empty() {
                spans.push(start + lead..start + lead + written.trim().len() - 1);
            }
        }
        spans
    }
}
