//! How a file is written: line ends, indentation, alignment; and the lines of a text as `terraform fmt` sees them.

use std::ops::Range;

use crate::source::lex::{Kind, Token, lex};

/// A file's habits, which inserted text follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// `\n` or `\r\n`.
    pub newline: &'static str,
    /// One level of indentation.
    pub unit: String,
    /// Whether the `=` of consecutive lines stand in one column, as `terraform fmt` puts them.
    pub aligned: bool,
    /// Whether that column is `terraform fmt`'s own: one space behind the widest key.
    pub tight: bool,
}

impl Style {
    /// The habits of a file; Terraform's own where the text does not show any.
    pub fn of(text: &str) -> Self {
        let crlf = text.matches("\r\n").count();
        let newline = if crlf * 2 > text.matches('\n').count() { "\r\n" } else { "\n" };
        let lines = Lines::of(text);
        let (aligned, tight) = alignment(&lines);
        Self { newline, unit: indent_unit(&lines), aligned, tight }
    }
}

impl Lines<'_> {
    /// The column that `terraform fmt` gives the `=` of a chain: one space behind its widest key.
    pub fn fmt_column(&self, chain: Range<usize>) -> Option<usize> {
        Some(chain.filter_map(|line| self.key_end(line)).max()? + 1)
    }

    /// The column behind the key of a single-line attribute.
    fn key_end(&self, line: usize) -> Option<usize> {
        Some(self.column(self.tokens[self.lines[line].assign? - 1].span.end))
    }

    /// The column that `terraform fmt` gives the comments behind a run of lines: one space behind the widest code.
    pub fn fmt_comment_column(&self, run: Range<usize>) -> Option<usize> {
        let code_end = |line: usize| Some(self.column(self.tokens[self.lines[line].comment? - 1].span.end));
        Some(run.filter_map(code_end).max()? + 1)
    }

    /// The run of commented lines around a line.
    pub fn comments(&self, line: usize) -> Range<usize> {
        self.run(line, |line| line.comment.is_some())
    }
}

/// A line as `terraform fmt` sees it: what stands between two line ends outside of heredocs and comments.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its tokens, as indexes.
    pub tokens: Range<usize>,
    /// From its first byte to before its line end.
    pub span: Range<usize>,
    /// The `=` of an attribute whose value closes all brackets that it opens on this line, as a token index. Chains of
    /// such lines are aligned. (hclwrite `format.go`: the "assign" cell.)
    pub assign: Option<usize>,
    /// A comment that ends the line behind other text, as a token index.
    pub comment: Option<usize>,
}

impl Line {
    /// Whether nothing stands on it.
    pub fn is_blank(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// A text's tokens and lines.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// The text.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl<'a> Lines<'a> {
    /// Cuts a text into lines.
    pub fn of(text: &'a str) -> Self {
        let tokens = lex(text);
        let mut lines = Vec::new();
        let (mut first, mut start) = (0, 0);
        for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Newline) {
            lines.push(line(text, &tokens, first..index, start..token.span.start));
            (first, start) = (index + 1, token.span.end);
        }
        lines.push(line(text, &tokens, first..tokens.len(), start..text.len()));
        Self { text, tokens, lines }
    }

    /// The index of the line that a byte is on.
    pub fn at(&self, byte: usize) -> usize {
        self.lines.partition_point(|line| line.span.start <= byte).saturating_sub(1)
    }

    /// A line's leading white space.
    pub fn indent(&self, line: usize) -> &'a str {
        let text = self.text[self.lines[line].span.clone()].trim_start_matches('\u{feff}');
        &text[..text.len() - text.trim_start_matches([' ', '\t']).len()]
    }

    /// The chain of aligned lines that a line belongs to; empty when it is no single-line attribute.
    pub fn chain(&self, line: usize) -> Range<usize> {
        self.run(line, |line| line.assign.is_some())
    }

    /// The run of lines around `line` that all are `like`.
    pub fn run(&self, line: usize, like: impl Fn(&Line) -> bool) -> Range<usize> {
        if !like(&self.lines[line]) {
            return line..line;
        }
        let before = self.lines[..line].iter().rev().take_while(|l| like(l)).count();
        let after = self.lines[line..].iter().take_while(|l| like(l)).count();
        line - before..line + after
    }

    /// The column of a byte: characters between the start of its (physical) line and it.
    pub fn column(&self, byte: usize) -> usize {
        let start = self.text[..byte].rfind('\n').map_or(0, |at| at + 1);
        self.text[start..byte].trim_start_matches('\u{feff}').chars().count()
    }

    /// The column of a line's `=`.
    pub fn assign_column(&self, line: usize) -> Option<usize> {
        Some(self.column(self.tokens[self.lines[line].assign?].span.start))
    }

    /// The one column of the `=` of some lines (those with one); `None` when they differ.
    pub fn common_column(&self, mut lines: impl Iterator<Item = usize>) -> Option<usize> {
        let first = self.assign_column(lines.next()?)?;
        lines.all(|line| self.assign_column(line) == Some(first)).then_some(first)
    }
}

fn line(text: &str, tokens: &[Token], range: Range<usize>, span: Range<usize>) -> Line {
    let mut end = range.end;
    let comment = (range.len() > 1 && tokens[end - 1].kind == Kind::Comment).then(|| {
        end -= 1;
        end
    });
    let assign = (range.start + 1..end).find(|i| tokens[*i].text(text) == "=").filter(|i| {
        let net: isize = tokens[*i..end].iter().map(|token| brackets(token.text(text))).sum();
        net == 0
    });
    Line { tokens: range, span, assign, comment }
}

/// How a token changes the depth of brackets.
pub fn brackets(token: &str) -> isize {
    match token {
        "{" | "[" | "(" => 1,
        "}" | "]" | ")" => -1,
        _ => 0,
    }
}

fn indent_unit(lines: &Lines) -> String {
    let mut votes = [("  ", 0_usize), ("    ", 0), ("\t", 0)];
    for (line, next) in (0..lines.lines.len()).zip(1..lines.lines.len()) {
        let opens =
            lines.tokens[lines.lines[line].tokens.clone()].last().is_some_and(|t| brackets(t.text(lines.text)) > 0);
        let step = lines.indent(next).strip_prefix(lines.indent(line));
        if let Some(vote) = votes.iter_mut().find(|(unit, _)| opens && step == Some(*unit)) {
            vote.1 += 1;
        }
    }
    let best = votes.iter().rev().max_by_key(|(_, count)| *count);
    best.filter(|(_, count)| *count > 0).map_or("  ", |(unit, _)| unit).to_owned()
}

/// Whether the `=` are aligned, and tightly, by the majority of the chains in which it shows: for the first, those with
/// keys of different length.
fn alignment(lines: &Lines) -> (bool, bool) {
    let (mut aligned, mut ragged, mut tight, mut wide) = (0, 0, 0, 0);
    let mut at = 0;
    while at < lines.lines.len() {
        let chain = lines.chain(at);
        at = chain.end.max(at + 1);
        let column = lines.common_column(chain.clone());
        let fmt_column = lines.fmt_column(chain.clone());
        let mixed = chain.clone().map(|line| lines.key_end(line)).any(|end| end != lines.key_end(chain.start));
        match column {
            None if mixed => ragged += 1,
            None => {}
            Some(_) => {
                aligned += usize::from(mixed);
                *(if column == fmt_column { &mut tight } else { &mut wide }) += 1;
            }
        }
    }
    (aligned >= ragged, tight >= wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_read_from_the_text() {
        let terraform = Style { newline: "\n", unit: "  ".to_owned(), aligned: true, tight: true };
        assert_eq!(Style::of(""), terraform);
        assert_eq!(Style::of("a {\n  b   = 1\n  ccc = 2\n}\n"), terraform);
        let other = Style::of("a {\r\n    b = 1\r\n    ccc = 2\r\n}\r\n");
        assert_eq!(other, Style { newline: "\r\n", unit: "    ".to_owned(), aligned: false, tight: true });
        assert!(!Style::of("a {\n  b     = 1\n  ccc   = 2\n}\n").tight);
        assert_eq!(Style::of("a {\n\tb = 1\n}\n").unit, "\t");
    }

    #[test]
    fn chains_are_broken_by_blank_lines_comments_and_open_brackets_but_not_by_heredocs() {
        let text = "a = 1\nb = <<E\nx = 1\nE\nc = {}\n\nd = [\n  1\n]\n# c\ne = 1 # x = 2\nf { g = 1 }\n";
        let lines = Lines::of(text);
        let chain_of = |needle| lines.chain(lines.at(text.find(needle).unwrap()));
        assert_eq!(chain_of("a ="), 0..3);
        assert_eq!(chain_of("c ="), 0..3);
        assert!(chain_of("d =").is_empty());
        assert_eq!(chain_of("e =").len(), 1);
        assert!(chain_of("f {").is_empty());
    }
}
