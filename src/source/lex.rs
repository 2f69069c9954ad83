//! A flat lexer for HCL: what spans alone do not say (comments, line ends, brackets, operators), over text of any kind.
//!
//! String templates and heredocs are one token each, with all that is nested in them. The lexer accepts every text;
//! what it says of text that does not parse is of no use, but it never fails. After the scanner of HCL's specification
//! (hclsyntax, "Lexical Elements").

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `\n` or `\r\n`, outside of comments, strings and heredocs.
    Newline,
    /// `#…`, `//…` (without the line end) or `/*…*/`.
    Comment,
    /// An identifier or keyword.
    Ident,
    /// A number.
    Number,
    /// A quoted template, quotes included.
    Quoted,
    /// A heredoc, from `<<` to its end marker.
    Heredoc,
    /// An operator or bracket.
    Punct,
}

/// A token and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub span: Range<usize>,
}

impl Token {
    /// Its text.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        &source[self.span.clone()]
    }
}

/// Operators of more than one character.
const OPERATORS: [&str; 10] = ["...", "==", "!=", "<=", ">=", "&&", "||", "=>", "::", "${"];

/// All tokens of a text, in order.
pub fn lex(text: &str) -> Vec<Token> {
    tokens_from(text, 0).collect()
}

/// The tokens from a byte position on; it must not lie within a token.
pub fn tokens_from(text: &str, mut at: usize) -> impl Iterator<Item = Token> {
    std::iter::from_fn(move || {
        let token = next(text, at)?;
        at = token.span.end;
        Some(token)
    })
}

fn next(text: &str, from: usize) -> Option<Token> {
    let rest = text.get(from..)?;
    let start = from + rest.find(|c: char| !matches!(c, ' ' | '\t' | '\u{feff}'))?;
    let rest = &text[start..];
    let (kind, len) = measure(rest);
    Some(Token { kind, span: start..start + len })
}

/// Kind and length of the token that `rest` starts with; `rest` is not empty.
fn measure(rest: &str) -> (Kind, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '\n' => (Kind::Newline, 1),
        '\r' if rest.starts_with("\r\n") => (Kind::Newline, 2),
        '#' => (Kind::Comment, line_len(rest)),
        '/' if rest.starts_with("//") => (Kind::Comment, line_len(rest)),
        '/' if rest.starts_with("/*") => (Kind::Comment, rest[2..].find("*/").map_or(rest.len(), |n| n + 4)),
        '"' => (Kind::Quoted, quoted_len(rest)),
        '<' if rest.starts_with("<<") => match heredoc_len(rest) {
            Some(len) => (Kind::Heredoc, len),
            None => (Kind::Punct, 1),
        },
        '0'..='9' => (Kind::Number, number_len(rest)),
        c if is_ident_start(c) => (Kind::Ident, ident_len(rest)),
        c => {
            let operator = OPERATORS.iter().find(|op| rest.starts_with(**op));
            (Kind::Punct, operator.map_or(c.len_utf8(), |op| op.len()))
        }
    }
}

fn is_ident_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// Length of the identifier that a text starts with; `-` may stand in it.
pub fn ident_len(rest: &str) -> usize {
    let mut chars = rest.char_indices();
    match chars.next() {
        Some((_, c)) if is_ident_start(c) => {
            chars.find(|(_, c)| !(*c == '-' || *c == '_' || c.is_alphanumeric())).map_or(rest.len(), |(at, _)| at)
        }
        _ => 0,
    }
}

fn number_len(rest: &str) -> usize {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut len = digits(0);
    if rest[len..].starts_with('.') && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
    }
    if rest[len..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

fn line_len(rest: &str) -> usize {
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    line.strip_suffix('\r').unwrap_or(line).len()
}

/// Length of the quoted template that `rest` starts with, to the end of the text when it does not close.
fn quoted_len(rest: &str) -> usize {
    // What is open, innermost last: a string, or an interpolation with its depth of braces.
    let mut open = vec![Open::Quote];
    let mut at = 1;
    while let Some(c) = rest[at..].chars().next() {
        let tail = &rest[at..];
        match open.last_mut() {
            None => return at,
            Some(Open::Quote) => match c {
                '"' => {
                    open.pop();
                    at += 1;
                }
                '\\' => at += 1 + tail[1..].chars().next().map_or(0, char::len_utf8),
                '$' | '%' if tail.starts_with("$${") || tail.starts_with("%%{") => at += 3,
                '$' | '%' if tail[1..].starts_with('{') => {
                    open.push(Open::Brace(1));
                    at += 2;
                }
                _ => at += c.len_utf8(),
            },
            Some(Open::Brace(depth)) => match c {
                '"' => {
                    open.push(Open::Quote);
                    at += 1;
                }
                '{' => {
                    *depth += 1;
                    at += 1;
                }
                '}' => {
                    *depth -= 1;
                    if *depth == 0 {
                        open.pop();
                    }
                    at += 1;
                }
                ' ' | '\t' => at += 1,
                _ => at += measure(tail).1,
            },
        }
    }
    at
}

enum Open {
    Quote,
    Brace(usize),
}

/// Length of the heredoc that `rest` starts with; `None` when it is none.
fn heredoc_len(rest: &str) -> Option<usize> {
    let marker_at = if rest.starts_with("<<-") { 3 } else { 2 };
    let len = ident_len(&rest[marker_at..]);
    let marker = &rest[marker_at..marker_at + len];
    let mut at = marker_at + len;
    let head = &rest[at..];
    if len == 0 || !(head.starts_with('\n') || head.starts_with("\r\n")) {
        return None;
    }
    at += head.find('\n')? + 1;
    while at < rest.len() {
        let line_end = rest[at..].find('\n').map_or(rest.len(), |n| at + n);
        let line = &rest[at..line_end];
        if line.trim() == marker {
            return Some(at + line.trim_end().len());
        }
        at = line_end + 1;
    }
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(Kind, &str)> {
        lex(source).into_iter().map(|t| (t.kind, &source[t.span])).collect()
    }

    #[test]
    fn templates_are_one_token_however_deep() {
        for quoted in [
            r#""""#,
            r#""a\"b""#,
            r#""$${not} %%{not} $ % $$""#,
            r#""x${b ? "y${c}" : "z\"${d["e}"]}"}""#,
            r#""${jsonencode({a = {b = "}"}})}""#,
            "\"${/* } */ x}\"",
        ] {
            let source = format!("a = {quoted} # c");
            assert_eq!(texts(&source)[2], (Kind::Quoted, quoted));
            assert_eq!(texts(&source)[3], (Kind::Comment, "# c"));
        }
    }

    #[test]
    fn heredocs_end_at_their_marker_alone_on_a_line() {
        let source = "a = <<-EOT\r\n  EOTX ${x}\r\n  EOT y\r\n  EOT  \r\nb = 1";
        let tokens = texts(source);
        assert_eq!(tokens[2], (Kind::Heredoc, "<<-EOT\r\n  EOTX ${x}\r\n  EOT y\r\n  EOT"));
        assert_eq!(tokens[3], (Kind::Newline, "\r\n"));
        assert_eq!(tokens[4], (Kind::Ident, "b"));
    }

    #[test]
    fn comments_numbers_and_operators() {
        let source = "a-b=1.5e-3//x\r\n/*\n*/ c>=d...";
        assert_eq!(
            texts(source),
            [
                (Kind::Ident, "a-b"),
                (Kind::Punct, "="),
                (Kind::Number, "1.5e-3"),
                (Kind::Comment, "//x"),
                (Kind::Newline, "\r\n"),
                (Kind::Comment, "/*\n*/"),
                (Kind::Ident, "c"),
                (Kind::Punct, ">="),
                (Kind::Ident, "d"),
                (Kind::Punct, "..."),
            ]
        );
    }

    #[test]
    fn text_that_never_closes_ends_with_the_text() {
        for source in
            ["\"", "\"${", "\"\\", "<<A\n", "<<A", "/*", "\"%{\"", "é\u{feff}\u{200b}\"$", "1e", "\r", "<<-é\r\n"]
        {
            assert_eq!(lex(source).last().map(|t| t.span.end), Some(source.len()), "{source:?}");
        }
    }
}
