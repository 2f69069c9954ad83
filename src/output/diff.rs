//! Diffs for the terminal, `--diff`.

use crate::outcome::RunReport;

use super::style::Style;
use super::{OutputError, patch};

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const CYAN: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// All fixes of a run as one diff; empty when there is none.
///
/// # Errors
/// When the edits do not belong to the base.
pub fn run(report: &RunReport, style: Style) -> Result<String, OutputError> {
    if report.fixes.is_empty() {
        return Ok(String::new());
    }
    let patch = patch::unified(&report.base, &report.all)?;
    Ok(coloured(&String::from_utf8_lossy(&patch), style))
}

/// A patch in the colours of `git diff`; as it is where there are none, so that it can still be applied.
pub fn coloured(patch: &str, style: Style) -> String {
    if !style.colour {
        return patch.to_owned();
    }
    let mut text = String::with_capacity(patch.len() * 2);
    let mut in_hunk = false;
    for line in patch.lines() {
        in_hunk = line.starts_with("@@") || in_hunk && !line.starts_with("diff ");
        let colour = match line.as_bytes().first() {
            _ if line.starts_with("@@") => CYAN,
            _ if !in_hunk => BOLD,
            Some(b'+') => GREEN,
            Some(b'-') => RED,
            _ => "",
        };
        text.push_str(colour);
        // What the source holds must not steer the terminal.
        text.extend(line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }));
        text.push_str(if colour.is_empty() { "" } else { RESET });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    const COLOUR: Style = Style { width: None, colour: true };

    #[test]
    fn without_colours_the_patch_is_untouched() {
        let text = run(&sample::report(), Style::PLAIN).unwrap();
        assert!(text.starts_with("diff --git a/main.tf b/main.tf\n"));
        assert!(text.contains("\n-  acl    = \"public-read\"\n+  acl    = \"private\"\n"));
    }

    #[test]
    fn lines_have_the_colours_of_git() {
        let text = coloured("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n--- b\n+c\u{1b}[2J\n d\n", COLOUR);
        let expected = "\
\u{1b}[1mdiff --git a/x b/x\u{1b}[0m
\u{1b}[1m--- a/x\u{1b}[0m
\u{1b}[1m+++ b/x\u{1b}[0m
\u{1b}[36m@@ -1 +1 @@\u{1b}[0m
\u{1b}[31m-a\u{1b}[0m
\u{1b}[31m--- b\u{1b}[0m
\u{1b}[32m+c\u{fffd}[2J\u{1b}[0m
 d
";
        assert_eq!(text, expected);
    }
}
