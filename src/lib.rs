//! caulk closes scanner findings in Infrastructure as Code, on the machine where the code is.
//!
//! The modules stand in the order in which the data flows:
//!
//! ```text
//! report / scanner → Finding → Target → Prompt + Grammar → Override → Changeset → Verdicts → VerifiedFix → bundle
//! ```
//!
//! ARCHITECTURE.md says what each file does and which invariants hold between them.

// Ground that every stage stands on.
mod addresses;
pub mod digest;
pub mod exit;
pub mod interrupt;
mod naming;
mod pattern;
pub mod process;
pub mod progress;
pub mod seal;
pub mod secret;
mod time;

// What caulk needs on the machine.
pub mod cache;
pub mod doctor;
pub mod setup;

// In.
pub mod finding;
pub mod report;
pub mod scanner;

// Understand.
pub mod knowledge;
pub mod rules;
pub mod schema;
pub mod source;

// Ask and generate.
pub mod grammar;
pub mod model;
pub mod prompt;

// Change.
pub mod edit;

// Prove.
pub mod validate;

// The loop over findings, and what comes out.
pub mod engine;
pub mod eval;
pub mod outcome;
pub mod output;

// The command line.
pub mod cli;
