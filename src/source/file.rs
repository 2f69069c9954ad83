//! One file: its bytes and the spans of its blocks and attributes.

use std::ops::Range;

use crate::digest::sha256_hex;

use super::lex::{self, Kind, Token};
use super::{BlockAddr, RelPath, parse};

/// A file that cannot be read as HCL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SourceError {
    /// The file.
    pub file: RelPath,
    /// Line, from 1 (0 when the file could not be read at all).
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The parser's message.
    pub message: String,
}

/// A parsed file. Spans are byte ranges of [`SourceFile::text`], BOM included.
#[derive(Clone, Debug)]
pub struct SourceFile {
    path: RelPath,
    text: String,
    body: Body,
    /// Where each line starts.
    line_starts: Vec<usize>,
}

/// A body: what stands between braces, or the whole file.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// From behind the opening brace to before the closing one; the whole text for a file.
    pub span: Range<usize>,
    /// In order.
    pub items: Vec<Item>,
}

/// An attribute or a block.
#[derive(Clone, Debug)]
pub enum Item {
    /// `key = value`
    Attribute(Attribute),
    /// `keyword "label" { … }`
    Block(Block),
}

impl Item {
    /// The item's bytes.
    pub fn span(&self) -> &Range<usize> {
        match self {
            Self::Attribute(attribute) => &attribute.span,
            Self::Block(block) => &block.span,
        }
    }

    /// The attribute's key or the block's keyword.
    pub fn name(&self) -> &str {
        match self {
            Self::Attribute(attribute) => &attribute.key,
            Self::Block(block) => &block.keyword,
        }
    }
}

/// `key = value`
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Its name.
    pub key: String,
    /// From the first byte of the key to the last of the value (a heredoc's with its end marker).
    pub span: Range<usize>,
    /// The value's bytes.
    pub value: Range<usize>,
    /// The value as hcl-edit parsed it.
    pub expr: hcl_edit::expr::Expression,
    /// The value's text, where it may be a JSON document.
    pub text: Option<String>,
}

impl Attribute {
    /// The value, when it is a string with nothing to evaluate.
    pub fn as_str(&self) -> Option<&str> {
        match &self.expr {
            hcl_edit::expr::Expression::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The texts of a map of them.
    pub fn texts_of_map(&self) -> impl Iterator<Item = &str> {
        self.expr.as_object().into_iter().flatten().filter_map(|(_, value)| value.expr().as_str())
    }

    /// Whether the value is a string, number, boolean or `null`, with nothing to evaluate.
    pub fn is_literal(&self) -> bool {
        use hcl_edit::expr::Expression::{Bool, Null, Number, String};
        matches!(self.expr, Null(_) | Bool(_) | Number(_) | String(_))
    }

    /// The elements of a list of such values; `None` where the value is anything else.
    pub fn literals(&self) -> Option<Vec<serde_json::Value>> {
        use hcl_edit::expr::Expression::{Array, Bool, Null, Number, String};
        let Array(elements) = &self.expr else { return None };
        let literal = |element: &hcl_edit::expr::Expression| match element {
            Null(_) => Some(serde_json::Value::Null),
            Bool(value) => Some((**value).into()),
            Number(value) => serde_json::from_str(&value.to_string()).ok(),
            String(value) => Some(value.as_str().into()),
            _ => None,
        };
        elements.iter().map(literal).collect()
    }
}

/// `keyword "label" { … }`
#[derive(Clone, Debug)]
pub struct Block {
    /// The keyword or the nested block's type.
    pub keyword: String,
    /// Its labels, unquoted.
    pub labels: Vec<String>,
    /// From the first byte of the keyword to the closing brace.
    pub span: Range<usize>,
    /// What is in it.
    pub body: Body,
}

impl Block {
    /// Its address, for a top-level block.
    pub fn addr(&self) -> BlockAddr {
        BlockAddr { keyword: self.keyword.clone(), labels: self.labels.clone() }
    }
}

impl Body {
    /// The attributes in it and in its nested blocks, in order, each with the names that lead to it, joined by dots.
    pub fn by_path(&self) -> Vec<(String, &Attribute)> {
        let mut found = Vec::new();
        for item in &self.items {
            match item {
                Item::Attribute(attribute) => found.push((attribute.key.clone(), attribute)),
                Item::Block(block) => {
                    let inner = block.body.by_path().into_iter();
                    found.extend(inner.map(|(path, it)| (format!("{}.{path}", block.keyword), it)));
                }
            }
        }
        found
    }

    /// The attribute of that name.
    pub fn attribute(&self, key: &str) -> Option<&Attribute> {
        self.attributes().find(|a| a.key == key)
    }

    /// The attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.items.iter().filter_map(|item| match item {
            Item::Attribute(attribute) => Some(attribute),
            Item::Block(_) => None,
        })
    }

    /// The blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| match item {
            Item::Block(block) => Some(block),
            Item::Attribute(_) => None,
        })
    }
}

impl SourceFile {
    /// Parses a file's bytes. A BOM and both kinds of line ends are taken as Terraform takes them.
    ///
    /// # Errors
    /// When they are not UTF-8 or not HCL.
    pub fn parse(path: RelPath, bytes: Vec<u8>) -> Result<Self, SourceError> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.iter().filter(|b| **b == b'\n').count();
                let last = valid.rsplit(|b| *b == b'\n').next().unwrap_or_default();
                let column = 1 + String::from_utf8_lossy(last).chars().count();
                return Err(SourceError { file: path, line, column, message: "the file is not UTF-8".to_owned() });
            }
        };
        let body = parse::body(&path, &text)?;
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(Self { path, text, body, line_starts })
    }

    /// Its path.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Its text, byte for byte as on disk.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of its text, lower-case hex: what a change of the file is bound to.
    pub fn sha256(&self) -> String {
        sha256_hex(&self.text)
    }

    /// Its top level.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The text of a span.
    pub fn slice(&self, span: &Range<usize>) -> &str {
        &self.text[span.clone()]
    }

    /// The top-level block of that address.
    pub fn find(&self, addr: &BlockAddr) -> Option<&Block> {
        self.body.blocks().find(|b| b.keyword == addr.keyword && b.labels == addr.labels)
    }

    /// The top-level block that covers a line (from 1).
    pub fn block_at_line(&self, line: usize) -> Option<&Block> {
        self.body.blocks().find(|block| {
            let (first, last) = self.lines(&block.span);
            (first..=last).contains(&line)
        })
    }

    /// First and last line of a span, from 1.
    pub fn lines(&self, span: &Range<usize>) -> (usize, usize) {
        let line_of = |at: usize| self.line_starts.partition_point(|start| *start <= at);
        (line_of(span.start), line_of(span.end.saturating_sub(1).max(span.start)))
    }

    /// The comments in order, with their markers and without line ends; strings and heredocs hold none.
    pub fn comments(&self) -> Vec<Range<usize>> {
        let comments = lex::tokens_from(&self.text, 0).filter(|token| token.kind == Kind::Comment);
        comments.map(|Token { span, .. }| span).collect()
    }
}
