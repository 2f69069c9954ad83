//! JSON for other programs: the same versioned structs as in the bundle.

use serde::Serialize;

use crate::outcome::RunReport;

use super::OutputError;
use super::manifest::{self, v1};

/// A run for `--format json`.
#[derive(Serialize)]
struct Versioned {
    version: u32,
    #[serde(flatten)]
    run: v1::Run,
}

/// The run as JSON: the manifest without what it says of the bundle's files.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn run(report: &RunReport) -> Result<String, OutputError> {
    pretty(&Versioned { version: v1::VERSION, run: manifest::run(report) })
}

/// Any structure as indented JSON with a newline at its end.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn pretty(value: &impl Serialize) -> Result<String, OutputError> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn a_run_names_its_version_first() {
        let text = run(&sample::report()).unwrap();
        assert!(text.starts_with("{\n  \"version\": 1,\n  \"caulk\": "), "{text}");
        assert!(text.ends_with("}\n"));
    }
}
