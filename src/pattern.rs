//! Regular expressions that are constants.

use regex::Regex;

/// A pattern that stands in the code: every test run compiles it.
#[expect(clippy::expect_used, reason = "a constant, compiled in every test run")]
pub fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern that compiles")
}
