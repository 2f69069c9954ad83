//! What comes out of a run: the bundle, patches, SARIF, JSON, the terminal's table, and files written to the tree.
//!
//! In: a [`RunReport`](crate::outcome::RunReport), whose fixes are all [`VerifiedFix`](crate::validate::VerifiedFix)es,
//! or a bundle that one was written to. Out: files, written whole or not at all, and text for standard output.

pub mod apply;
pub mod audit;
pub mod bundle;
pub mod diff;
mod error;
pub mod findings;
pub mod json;
pub mod manifest;
pub mod patch;
pub mod sarif;
pub mod select;
pub mod stdout;
pub mod style;
pub mod table;

#[cfg(test)]
mod sample;

pub use error::OutputError;
