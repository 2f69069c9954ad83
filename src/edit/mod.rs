//! Changes as byte edits on the original text, and the merge that makes them from the model's override.
//!
//! In: a source tree and the answer's text. Out: [`Changeset`].

pub mod canonical;
mod changeset;
mod draft;
pub mod format;
mod insert;
pub mod layers;
mod matching;
pub mod merge;
mod page;
mod replace;
mod scope;
mod settle;
pub mod style;

pub use changeset::{Changeset, EditError, FileChange, TextEdit, apply_edits};

#[cfg(test)]
mod tests;
