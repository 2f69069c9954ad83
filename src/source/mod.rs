//! Source files as bytes with a span tree, the tree of files below a root, and what stands around a target block.
//!
//! In: paths. Out: [`SourceTree`], [`SourceFile`] with [`Block`] spans, [`context::Target`].

mod address;
pub mod context;
pub mod document;
mod file;
pub mod lex;
mod parse;
mod references;
mod tree;

pub use address::{BadAddress, BlockAddr, RelPath, ResourceAddr, local_addr};
pub use file::{Attribute, Block, Body, Item, SourceError, SourceFile};
pub use references::{references, references_of, uses};
pub use tree::SourceTree;

#[cfg(test)]
mod tests;
