//! How text is set on standard output: width, colours, and what of foreign text may reach a terminal.

use std::io::IsTerminal;

/// Width and colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; `None` where lines are not broken (files, pipes).
    pub width: Option<u16>,
    /// Whether colours may be used.
    pub colour: bool,
}

impl Style {
    /// No colours, no line breaks.
    pub const PLAIN: Style = Style { width: None, colour: false };

    /// What standard output can do. Colours only on a terminal, and not with `NO_COLOR` (no-color.org) or `TERM=dumb`.
    pub fn stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { width: comfy_table::Table::new().width().filter(|width| *width > 0), colour: !set("NO_COLOR") && !dumb }
    }
}

/// The text on one line without control characters: reports and model answers must not steer the terminal.
pub(super) fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\n\tb \u{1b}[31mred\u{9b}0m"), "a b [31mred 0m");
    }
}
