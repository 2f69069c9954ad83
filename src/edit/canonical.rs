//! What two pieces of HCL have in common when their form is left aside: comments, white space, separators.

use crate::source::lex::{Kind, ident_len};

use super::format::unwrapped;
use super::style::{Lines, brackets};

/// A text's comments taken out, with the lines that hold nothing else.
pub fn without_comments(text: &str) -> String {
    let lines = Lines::of(text);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for line in &lines.lines {
        let comments = lines.tokens[line.tokens.clone()].iter().filter(|token| token.kind == Kind::Comment);
        let count = comments.clone().count();
        if count > 0 && count == line.tokens.len() {
            out.push_str(&text[at..line.span.start]);
            at = lines.lines.iter().map(|l| l.span.start).find(|start| *start > line.span.end).unwrap_or(text.len());
            continue;
        }
        for comment in comments {
            out.push_str(&text[at..comment.span.start]);
            out.push(' ');
            at = comment.span.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

/// A text in a form in which two that differ only in white space, comments, separators of objects, trailing commas or
/// the indentation of `<<-` heredocs are equal.
pub fn canonical(text: &str) -> Vec<String> {
    let lines = Lines::of(text);
    let mut out: Vec<String> = Vec::new();
    let mut open = Vec::new();
    for token in &lines.tokens {
        let word = token.text(text);
        let in_items = matches!(open.last(), None | Some(&"{"));
        match (token.kind, word) {
            (Kind::Comment, _) => {}
            (Kind::Newline, _) if !in_items => {}
            (Kind::Newline, _) | (_, ",") => {
                if !out.is_empty() && !matches!(out.last().map(String::as_str), Some("," | "{")) {
                    out.push(",".to_owned());
                }
            }
            (Kind::Quoted, _) => match unwrapped(word) {
                inner if inner.len() < word.len() => out.extend(canonical(inner)),
                _ => out.push(word.to_owned()),
            },
            (Kind::Heredoc, _) if word.starts_with("<<-") => out.push(dedented(word)),
            (Kind::Heredoc, _) => out.push(word.lines().collect::<Vec<_>>().join("\n")),
            _ => {
                if brackets(word) > 0 {
                    open.push(word);
                }
                if brackets(word) < 0 {
                    open.pop();
                    if out.last().is_some_and(|last| last == ",") {
                        out.pop();
                    }
                }
                out.push(word.to_owned());
            }
        }
    }
    if out.last().is_some_and(|last| last == ",") {
        out.pop();
    }
    out
}

fn dedented(heredoc: &str) -> String {
    let marker = &heredoc[3..3 + ident_len(&heredoc[3..])];
    let body: Vec<&str> = heredoc.lines().skip(1).filter(|line| line.trim() != marker).collect();
    let width = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let common = body.iter().filter(|line| !line.trim().is_empty()).map(width).min().unwrap_or(0);
    let body: Vec<&str> = body.iter().map(|line| line.get(common..).unwrap_or_default()).collect();
    format!("<<-{}", body.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_with_the_lines_they_fill() {
        assert_eq!(without_comments("# a\nb = 1 # c\n/* d\n*/\ne /* f */ = \"# g\"\n// h"), "b = 1  \ne   = \"# g\"\n");
    }

    #[test]
    fn what_differs_only_in_form_is_equal() {
        for (a, b) in [
            ("{ a = 1, b = [1, 2] }", "{\n  a = 1 # c\n  b = [\n    1,\n    2,\n  ]\n}"),
            ("<<-E\n  a\n    b\n  E", "<<-E\n      a\n        b\n    E"),
            ("\"${var.x}\"", "var.x"),
        ] {
            assert_eq!(canonical(a), canonical(b));
        }
        assert_ne!(canonical("[a, -b]"), canonical("[a - b]"));
        assert_ne!(canonical("\"a  b\""), canonical("\"a b\""));
        assert_ne!(canonical("<<E\n a\nE"), canonical("<<E\na\nE"));
    }
}
