//! hcl-edit's syntax tree into caulk's spans. Others look at single expressions, which `file.rs` keeps, but no
//! other file walks its bodies and blocks.
//!
//! hcl-edit refuses some files that Terraform takes. They are masked: some bytes replaced by as many others, so that
//! every span holds for the original text. What is masked, and only where the plain text does not parse:
//! - a BOM is cut off and its length added to every span,
//! - a key that an object has twice gets another name in the parsed expression (Terraform takes the last one),
//! - a heredoc's line that starts with its end marker and goes on (`EOT )`),
//! - `for` followed by a CRLF line end.
//!
//! Left over are hcl-edit's limits: 64 nested brackets, 128 operators in a row.

use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::parser::Error;
use hcl_edit::structure::{self, Structure};

use super::RelPath;
use super::file::{Attribute, Block, Body, Item, SourceError};
use super::lex::{self, Kind};

const BOM: &str = "\u{feff}";
/// Duplicate keys that are masked in one file before it is given up.
const MASKED_KEYS: usize = 100;

/// Parses a text.
///
/// # Errors
/// When it is not HCL.
pub fn body(path: &RelPath, text: &str) -> Result<Body, SourceError> {
    let shift = if text.starts_with(BOM) { BOM.len() } else { 0 };
    let parsed = parse_masked(&text[shift..]).map_err(|error| SourceError {
        file: path.clone(),
        line: error.location().line(),
        column: error.location().column(),
        message: error.message().to_owned(),
    })?;
    let items = Spans { text, shift }.items(parsed);
    Ok(Body { span: 0..text.len(), items })
}

fn parse_masked(text: &str) -> Result<structure::Body, Error> {
    let first = match hcl_edit::parser::parse_body(text) {
        Ok(body) => return Ok(body),
        Err(error) => error,
    };
    let mut masked = mask_heredoc_lines(&text.replace("for\r\n", "for \n"));
    for _ in 0..MASKED_KEYS {
        match hcl_edit::parser::parse_body(&masked) {
            Ok(body) => return Ok(body),
            Err(error) if error.message().contains("redefined object key") => {
                if !mask_key(&mut masked, error.location().offset()) {
                    return Err(first);
                }
            }
            Err(_) => return Err(first),
        }
    }
    Err(first)
}

/// Renames the key at `at` so that it is unlike all others.
fn mask_key(text: &mut String, at: usize) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(start) = text.get(at..).and_then(|rest| rest.find(word)).map(|n| at + n) else { return false };
    let len = text[start..].bytes().take_while(u8::is_ascii_alphanumeric).count().max(1);
    // A name of the same length that occurs nowhere in the text.
    let unused = (b'A'..=b'Z').chain(b'a'..=b'z').flat_map(|a| (b'a'..=b'z').chain(b'A'..=b'Z').map(move |b| (a, b)));
    for (a, b) in unused {
        let name: String = (0..len).map(|i| char::from(if i % 2 == 0 { a } else { b })).collect();
        if !text.contains(&name) {
            text.replace_range(start..start + len, &name);
            return true;
        }
    }
    false
}

fn mask_heredoc_lines(text: &str) -> String {
    let mut masked = text.to_owned();
    for heredoc in lex::lex(text).into_iter().filter(|token| token.kind == Kind::Heredoc) {
        let source = heredoc.text(text);
        let marker_at = if source.starts_with("<<-") { 3 } else { 2 };
        let marker = &source[marker_at..marker_at + lex::ident_len(&source[marker_at..])];
        let mut at = heredoc.span.start;
        for line in source.split_inclusive('\n') {
            let word = line.trim_start();
            if word.starts_with(marker) && word.trim_end() != marker {
                let start = at + line.len() - word.len();
                let first = marker.chars().next().map_or(0, char::len_utf8);
                masked.replace_range(start..start + first, &".".repeat(first));
            }
            at += line.len();
        }
    }
    masked
}

/// Turns hcl-edit's spans into spans of the original text.
struct Spans<'a> {
    text: &'a str,
    shift: usize,
}

impl Spans<'_> {
    fn of(&self, node: &impl Span) -> Option<Range<usize>> {
        node.span().map(|span| span.start + self.shift..span.end + self.shift)
    }

    fn items(&self, body: structure::Body) -> Vec<Item> {
        body.into_iter()
            .filter_map(|item| match item {
                Structure::Attribute(attribute) => self.attribute(attribute).map(Item::Attribute),
                Structure::Block(block) => self.block(block).map(Item::Block),
            })
            .collect()
    }

    fn attribute(&self, attribute: structure::Attribute) -> Option<Attribute> {
        let key = self.of(&attribute.key)?;
        let value = self.of(&attribute.value)?;
        let text = self.text.get(value.clone()).filter(|text| text.starts_with("<<") || text.starts_with("jsonencode"));
        Some(Attribute {
            text: text.map(str::to_owned),
            key: attribute.key.as_str().to_owned(),
            span: key.start..value.end,
            value,
            expr: attribute.value,
        })
    }

    fn block(&self, block: structure::Block) -> Option<Block> {
        let span = self.of(&block)?;
        let header_end = match block.labels.last() {
            Some(label) => self.of(label)?.end,
            None => self.of(&block.ident)?.end,
        };
        let open = lex::tokens_from(self.text, header_end).find(|token| token.text(self.text) == "{")?;
        Some(Block {
            keyword: block.ident.as_str().to_owned(),
            labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
            body: Body { span: open.span.end..span.end - 1, items: self.items(block.body) },
            span,
        })
    }
}
