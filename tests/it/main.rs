//! The integration tests: one binary, real `caulk`.
//!
//! `cases` runs the scenario folders of `tests/cases`; `CASE=text` picks those whose names hold the text, `UPDATE=1`
//! rewrites what they expect.

mod cases;
mod common;
mod explore;
mod fix;
mod model;
mod scanner;
mod seal;
