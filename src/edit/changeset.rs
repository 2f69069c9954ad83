//! Byte edits by file, bound to the hash of the text that they were made for.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::source::{RelPath, SourceError, SourceTree};

/// Replaces a byte range. An empty range inserts; an empty text deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextEdit {
    /// Bytes of the base text.
    pub range: Range<usize>,
    /// What stands there instead.
    pub insert: String,
}

impl TextEdit {
    /// An insertion at a position.
    pub fn insert(at: usize, text: impl Into<String>) -> Self {
        Self { range: at..at, insert: text.into() }
    }

    /// A replacement of a range.
    pub fn replace(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, insert: text.into() }
    }
}

/// The edits of one file, in order of their ranges, which do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// SHA-256 of the text that the ranges belong to, lower-case hex.
    pub base_sha256: String,
    /// The edits.
    pub edits: Vec<TextEdit>,
}

/// Edits of several files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changeset {
    /// By path relative to the root.
    pub files: BTreeMap<RelPath, FileChange>,
}

/// Edits that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is not the one that the edits were made for.
    #[error("{file} has changed since it was scanned (sha256 is {found}, not {expected})")]
    Base {
        /// The file.
        file: String,
        /// The hash that was expected.
        expected: String,
        /// The hash that was found.
        found: String,
    },
    /// Ranges overlap, are out of bounds, or cut a character.
    #[error("the edits of {file} overlap or leave the text at byte {at}")]
    Range {
        /// The file.
        file: String,
        /// Where.
        at: usize,
    },
    /// The tree has no such file, or it did not parse before.
    #[error("{file} is not there, or does not parse")]
    Missing {
        /// The file.
        file: String,
    },
    /// The edited text does not parse.
    #[error("after the edits: {0}")]
    Parse(SourceError),
}

impl FileChange {
    /// Edits of a text.
    pub fn new(base: &str, edits: Vec<TextEdit>) -> Self {
        Self { base_sha256: sha256_hex(base), edits }
    }

    /// The edited text. `file` is for messages.
    ///
    /// # Errors
    /// When `base` is not the text that the edits were made for, or the ranges are not sound.
    pub fn apply(&self, file: &RelPath, base: &str) -> Result<String, EditError> {
        let found = sha256_hex(base);
        if found != self.base_sha256 {
            return Err(EditError::Base { file: file.to_string(), expected: self.base_sha256.clone(), found });
        }
        apply_edits(base, &self.edits).map_err(|at| EditError::Range { file: file.to_string(), at })
    }
}

impl Changeset {
    /// Whether it edits nothing.
    pub fn is_empty(&self) -> bool {
        self.files.values().all(|change| change.edits.is_empty())
    }

    /// The tree with the edits in it, parsed anew.
    ///
    /// # Errors
    /// As [`FileChange::apply`]; when a file is not in the tree; when an edited text does not parse.
    pub fn apply(&self, tree: &SourceTree) -> Result<SourceTree, EditError> {
        let mut tree = tree.clone();
        for (path, change) in &self.files {
            let file = tree.file(path).ok_or_else(|| EditError::Missing { file: path.to_string() })?;
            let text = change.apply(path, file.text())?;
            tree = tree.with_file(path, text).map_err(EditError::Parse)?;
        }
        Ok(tree)
    }
}

/// Applies edits that are in order and do not overlap. The error is the byte where they are not.
pub fn apply_edits(base: &str, edits: &[TextEdit]) -> Result<String, usize> {
    let mut text = String::with_capacity(base.len() + edits.iter().map(|e| e.insert.len()).sum::<usize>());
    let mut at = 0;
    for TextEdit { range, insert } in edits {
        if range.start < at || range.end < range.start {
            return Err(range.start);
        }
        text.push_str(base.get(at..range.start).ok_or(range.start)?);
        text.push_str(insert);
        at = range.end;
        if !base.is_char_boundary(at) {
            return Err(at);
        }
    }
    text.push_str(base.get(at..).ok_or(at)?);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(base: &str, edits: &[(Range<usize>, &str)]) -> Result<String, EditError> {
        let edits = edits.iter().map(|(range, text)| TextEdit::replace(range.clone(), *text)).collect();
        FileChange::new(base, edits).apply(&RelPath::new("a.tf").unwrap(), base)
    }

    #[test]
    fn edits_replace_insert_and_delete_in_order() {
        assert_eq!(apply("abcdef", &[(0..1, "X"), (1..1, "Y"), (1..1, "Z"), (4..6, "")]).unwrap(), "XYZbcd");
        assert_eq!(apply("", &[(0..0, "a")]).unwrap(), "a");
    }

    #[test]
    fn unsound_ranges_are_refused() {
        let reversed = Range { start: 2, end: 1 };
        for (range, at) in [(0..9, 9), (7..7, 7), (0..2, 2), (reversed, 2)] {
            let error = apply("aé", &[(range, "x")]).unwrap_err();
            assert_eq!(error, EditError::Range { file: "a.tf".to_owned(), at });
        }
        assert!(apply("abc", &[(1..2, ""), (0..1, "")]).is_err());
        assert!(apply("abc", &[(0..2, ""), (1..3, "")]).is_err());
    }

    #[test]
    fn another_text_is_refused() {
        let change = FileChange::new("a = 1\n", vec![TextEdit::replace(4..5, "2")]);
        let error = change.apply(&RelPath::new("a.tf").unwrap(), "a = 2\n").unwrap_err();
        assert!(matches!(error, EditError::Base { .. }), "{error}");
    }
}
