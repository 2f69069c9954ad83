//! Writes a piece of HCL the way `terraform fmt` would, in a file's style: what the model writes is brought into this
//! form before it is inserted. Rules after hclwrite's `format.go`: lines stay as they are cut, each is indented by its
//! brackets, spaced token by token, and its `=` and trailing comment are aligned with the lines around.

use std::ops::Range;

use crate::source::lex::{Kind, Token, lex};

use super::style::{Lines, Style, brackets};

/// Formats a piece of HCL (a value, attributes, blocks) whose first line will stand at `indent`; the first line itself
/// is not indented. Blank lines at the ends, behind an opening and before a closing bracket go; several become one.
pub fn format(text: &str, style: &Style, indent: &str) -> String {
    let lines = Lines::of(text);
    let mut rows: Vec<Row> = Vec::new();
    let mut depth = Depth::default();
    for line in &lines.lines {
        let tokens = &lines.tokens[line.tokens.clone()];
        if tokens.is_empty() {
            if rows.last().is_some_and(|row| !row.blank && !row.opens) {
                rows.push(Row { blank: true, ..Row::default() });
            }
            continue;
        }
        let net = tokens.iter().map(|token| brackets(token.text(text))).sum();
        let level = depth.place(net);
        let starts_closed = brackets(tokens[0].text(text)) < 0;
        if starts_closed && rows.last().is_some_and(|row| row.blank) {
            rows.pop();
        }
        let indent = format!("{indent}{}", style.unit.repeat(level));
        let end = line.comment.unwrap_or(line.tokens.end);
        let lead_end = line.assign.filter(|_| style.aligned).unwrap_or(end);
        let words = Words { lines: &lines, style, indent: &indent };
        rows.push(Row {
            lead: words.join(line.tokens.start..lead_end),
            assign: words.join(lead_end..end),
            comment: words.join(end..line.tokens.end),
            blank: false,
            opens: tokens.last().is_some_and(|token| brackets(token.text(text)) > 0),
            indent,
            ..Row::default()
        });
    }
    while rows.last().is_some_and(|row| row.blank) {
        rows.pop();
    }
    align(&mut rows, |row| !row.assign.is_empty(), |row| row.lead_width(), |row, gap| row.assign_gap = gap);
    align(&mut rows, |row| !row.comment.is_empty(), Row::code_width, |row, gap| row.comment_gap = gap);
    let rows: Vec<String> = rows.iter().enumerate().map(|(number, row)| row.text(number > 0)).collect();
    rows.join(style.newline)
}

#[derive(Default)]
struct Row {
    indent: String,
    lead: String,
    assign: String,
    assign_gap: usize,
    comment: String,
    comment_gap: usize,
    blank: bool,
    opens: bool,
}

impl Row {
    fn lead_width(&self) -> usize {
        self.indent.chars().count() + self.lead.chars().count()
    }

    fn code_width(&self) -> usize {
        self.lead_width() + self.assign_gap + self.assign.chars().count()
    }

    fn text(&self, indented: bool) -> String {
        let indent = if indented { self.indent.as_str() } else { "" };
        let (gap, comment_gap) = (" ".repeat(self.assign_gap), " ".repeat(self.comment_gap));
        let text = format!("{indent}{}{gap}{}{comment_gap}{}", self.lead, self.assign, self.comment);
        if self.blank { String::new() } else { text }
    }
}

/// Puts one cell of consecutive rows into one column.
fn align(rows: &mut [Row], has: impl Fn(&Row) -> bool, width: impl Fn(&Row) -> usize, set: impl Fn(&mut Row, usize)) {
    for chain in rows.chunk_by_mut(|a, b| has(a) == has(b)).filter(|chain| has(&chain[0])) {
        let widest = chain.iter().map(&width).max().unwrap_or(0);
        for row in chain {
            let gap = widest - width(row) + 1;
            set(row, gap);
        }
    }
}

/// The levels of indentation that are open: one for each line that opened brackets, with how many.
#[derive(Default)]
struct Depth(Vec<isize>);

impl Depth {
    /// The level of a line that opens (or closes, below 0) `net` brackets.
    fn place(&mut self, net: isize) -> usize {
        if net > 0 {
            self.0.push(net);
            return self.0.len() - 1;
        }
        let mut closed = -net;
        while closed > 0
            && let Some(open) = self.0.last_mut()
        {
            if closed < *open {
                *open -= closed;
                break;
            }
            closed -= *open;
            self.0.pop();
        }
        self.0.len()
    }
}

struct Words<'a> {
    lines: &'a Lines<'a>,
    style: &'a Style,
    indent: &'a str,
}

impl Words<'_> {
    /// Tokens of one line with the spaces between them.
    fn join(&self, range: Range<usize>) -> String {
        let mut out = String::new();
        for index in range.clone() {
            let token = &self.lines.tokens[index];
            if index > range.start && self.spaced(index) {
                out.push(' ');
            }
            match token.kind {
                Kind::Heredoc => out.push_str(&self.heredoc(token)),
                Kind::Quoted if self.is_whole_value(index) => out.push_str(self.value(index)),
                _ => out.push_str(token.text(self.lines.text)),
            }
        }
        out
    }

    /// A quoted value: without a template that is not needed, and without quotes around a variable's type.
    fn value(&self, index: usize) -> &str {
        let text = self.lines.text;
        let word = |index: usize| self.lines.tokens[index].text(text);
        match word(index) {
            ty @ ("\"string\"" | "\"number\"" | "\"bool\"" | "\"any\"")
                if word(0) == "variable" && index >= 2 && word(index - 2) == "type" =>
            {
                ty.trim_matches('"')
            }
            quoted => unwrapped(quoted),
        }
    }

    /// Whether a token is the whole value of an attribute, or the whole text.
    fn is_whole_value(&self, index: usize) -> bool {
        let ends = |token: Option<&Token>| token.is_none_or(|t| matches!(t.kind, Kind::Newline | Kind::Comment));
        let after = self.lines.tokens.get(index + 1);
        match index.checked_sub(1).map(|before| self.lines.tokens[before].text(self.lines.text)) {
            Some("=") => ends(after),
            None => after.is_none(),
            Some(_) => false,
        }
    }

    /// Whether a space stands before a token of a line.
    fn spaced(&self, index: usize) -> bool {
        let kind = |index: usize| self.lines.tokens[index].kind;
        let text = |index: usize| self.lines.tokens[index].text(self.lines.text);
        let (before, after) = (text(index - 1), text(index));
        let operand = matches!(kind(index - 1), Kind::Ident) && !matches!(before, "in" | "if");
        match (before, after) {
            (_, "(") if kind(index - 1) == Kind::Ident => false,
            ("::" | ".", _) | (_, "::" | "." | "," | "...") => false,
            (",", _) => true,
            ("-", _) => index >= 2 && ends_operand(kind(index - 2), text(index - 2)),
            ("!", _) => false,
            ("{", "}") => false,
            ("{", _) | (_, "}") => true,
            (_, "[") if operand || matches!(before, "]" | ")" | "}") => false,
            ("[" | "(", _) | (_, "]" | ")") => false,
            _ => true,
        }
    }

    /// A heredoc in the file's line ends; one that may be indented (`<<-`) moves with its line.
    fn heredoc(&self, token: &Token) -> String {
        let text = token.text(self.lines.text);
        let mut lines = text.lines();
        let mut out = lines.next().unwrap_or_default().to_owned();
        let movable = text.starts_with("<<-") && !text[2..].contains("<<");
        let width = |line: &&str| line.len() - line.trim_start_matches(' ').len();
        let common = lines.clone().filter(|line| !line.trim().is_empty()).map(|line| width(&line)).min();
        for line in lines {
            out.push_str(self.style.newline);
            match common {
                Some(_) if movable && line.trim().is_empty() => {}
                Some(common) if movable => {
                    out.push_str(self.indent);
                    out.push_str(&line[common..]);
                }
                _ => out.push_str(line),
            }
        }
        out
    }
}

fn ends_operand(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Ident | Kind::Number | Kind::Quoted | Kind::Heredoc => true,
        _ => brackets(text) < 0,
    }
}

/// A value of several lines on one: lists and objects without the line ends in them. `None` when it holds a heredoc.
pub fn on_one_line(value: &str) -> Option<String> {
    let (mut out, mut open) = (String::new(), Vec::new());
    let mut separator = false;
    for token in lex(value) {
        let word = token.text(value);
        match token.kind {
            Kind::Heredoc | Kind::Comment => return None,
            Kind::Newline => separator |= open.last() == Some(&"{"),
            _ if word == "," => separator = true,
            _ => {
                if separator && brackets(word) >= 0 && !out.ends_with('{') {
                    out.push(',');
                }
                separator = false;
                match brackets(word) {
                    1 => open.push(word),
                    -1 => drop(open.pop()),
                    _ => {}
                }
                out.push(' ');
                out.push_str(word);
            }
        }
    }
    Some(out)
}

/// `"${x}"` without the template around it, as far as it is one expression on one line.
pub fn unwrapped(quoted: &str) -> &str {
    let Some(inner) = quoted.strip_prefix("\"${").and_then(|rest| rest.strip_suffix("}\"")) else { return quoted };
    let mut depth = 0;
    let closed = lex(inner).iter().any(|token| {
        depth += brackets(token.text(inner));
        depth < 0
    });
    let strips = inner.starts_with('~') || inner.ends_with('~');
    if closed || strips || inner.contains('\n') { quoted } else { inner.trim() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terraform() -> Style {
        Style::of("")
    }

    #[test]
    fn pieces_are_spaced_indented_and_aligned() {
        let text = "x=[ 1,2 ,-y,z -1 ]\nlonger = {a=[1]}[ \"k\" ] // c\n\n\n b {\n\n c = !d?f( g... ) :h [0]\n\n}\n";
        let expected =
            "x      = [1, 2, -y, z - 1]\n  longer = { a = [1] }[\"k\"] // c\n\n  b {\n    c = !d ? f(g...) : h[0]\n  }";
        assert_eq!(format(text, &terraform(), "  "), expected);
    }

    #[test]
    fn values_are_indented_by_their_brackets() {
        let text = "jsonencode({\nA = [{\nB = 1\n}]\n})";
        let expected = "jsonencode({\n    A = [{\n      B = 1\n    }]\n  })";
        assert_eq!(format(text, &terraform(), "  "), expected);
    }

    #[test]
    fn heredocs_move_only_when_they_may() {
        let style = Style { newline: "\r\n", ..terraform() };
        assert_eq!(format("<<-E\n    a\n      b\n\n    E", &style, "  "), "<<-E\r\n  a\r\n    b\r\n\r\n  E");
        assert_eq!(format("<<E\n    a\nE", &style, "  "), "<<E\r\n    a\r\nE");
    }

    #[test]
    fn values_are_put_on_one_line() {
        let line = |value| Some(format(&on_one_line(value)?, &terraform(), ""));
        assert_eq!(
            line("[\n  1,\n  {\n    a = 1\n    b = f(\n      2\n    )\n  },\n]").unwrap(),
            "[1, { a = 1, b = f(2) }]"
        );
        assert_eq!(line("{\n  a = [], b : 2,\n\n  c = {\n  }\n}").unwrap(), "{ a = [], b : 2, c = {} }");
        assert_eq!(line("[<<E\na\nE\n]"), None);
    }

    #[test]
    fn a_lone_interpolation_is_unwrapped() {
        assert_eq!(format("a = \"${ var.x }\"\nb = [\"${var.x}\"]", &terraform(), ""), "a = var.x\nb = [\"${var.x}\"]");
        for whole in ["\"${a}${b}\"", "\"${~a~}\"", "\"$${a}\"", "\"x${a}\""] {
            assert_eq!(unwrapped(whole), whole);
        }
    }
}
