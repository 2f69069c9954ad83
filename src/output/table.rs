//! The terminal's table: findings, what became of them and why, and a summary.

use std::collections::BTreeMap;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::eval::Funnel;
use crate::finding::Finding;
use crate::outcome::RunReport;

use super::manifest::{self, v1};
use super::style::{Style, one_line};

/// The table of a run and its summary.
pub fn run(report: &RunReport, style: Style) -> String {
    of_run(&manifest::run(report), style)
}

/// The table of a run as a bundle tells it.
pub fn of_run(run: &v1::Run, style: Style) -> String {
    let mut text = String::new();
    if !run.findings.is_empty() {
        let mut table = table(style, &["rule", "resource", "where", "outcome", "applicability", "fix", "reason"]);
        for finding in &run.findings {
            table.add_row(row(run, finding));
        }
        text.push_str(&rendered(&table));
        text.push('\n');
    }
    for file in &run.unreadable {
        let place = format!("{}:{}:{}", file.file, file.line, file.column);
        text.push_str(&format!("does not parse: {}: {}\n", one_line(&place), one_line(&file.message)));
    }
    for refused in &run.refused {
        let what = format!("{} in {}: {}", refused.rule, refused.path, refused.reason);
        text.push_str(&format!("refused: {}\n", one_line(&what)));
    }
    text.push_str(&summary(run));
    let validated = |fix: &v1::Fix| fix.verdicts.iter().all(|v| v.gate != "validate" || v.verdict != "unavailable");
    if !run.fixes.iter().all(validated) {
        text.push_str(
            "run `terraform init` in the modules to let `terraform validate` take part: fixes are `review` without\n",
        );
    }
    text
}

/// One line with counts and time.
pub fn summary(run: &v1::Run) -> String {
    let counts = run.counts;
    let plural = if counts.findings == 1 { "" } else { "s" };
    format!(
        "{} finding{plural}: {} fixed ({} safe, {} to review), {} unfixed, {} abstained, {} skipped; {:.1} s\n",
        counts.findings,
        counts.fixed,
        counts.safe,
        counts.fixed - counts.safe.min(counts.fixed),
        counts.unfixed,
        counts.abstained,
        counts.skipped,
        run.seconds,
    )
}

/// Findings before anything was done about them, for `caulk scan`.
pub fn findings(findings: &[Finding], style: Style) -> String {
    let mut text = String::new();
    if !findings.is_empty() {
        let mut table = table(style, &["rule", "severity", "resource", "where", "message"]);
        for finding in findings {
            let severity = finding.severity.map_or_else(String::new, |severity| format!("{severity:?}").to_lowercase());
            table.add_row([
                Cell::new(one_line(&finding.rule)),
                Cell::new(severity),
                Cell::new(one_line(&finding.address.as_ref().map_or_else(String::new, ToString::to_string))),
                Cell::new(one_line(&format!("{}:{}", finding.location.file, finding.location.start_line))),
                Cell::new(one_line(&finding.message)),
            ]);
        }
        text.push_str(&rendered(&table));
        text.push('\n');
    }
    let plural = if findings.len() == 1 { "" } else { "s" };
    text.push_str(&format!("{} finding{plural}\n", findings.len()));
    text
}

/// How many cases came how far, by a name.
pub fn funnels(name: &str, funnels: &BTreeMap<String, Funnel>, style: Style) -> String {
    let header = [
        name,
        "cases",
        "patched",
        "parses",
        "kept",
        "removed",
        "clean",
        "schema",
        "fixed",
        "rate",
        "precision",
        "tokens",
        "s",
    ];
    let mut table = table(style, &header);
    for (name, funnel) in funnels {
        let Funnel { cases, patched, parses, kept, removed, clean, schema, fixed, tokens, .. } = funnel;
        let counts = [cases, patched, parses, kept, removed, clean, schema, fixed].map(ToString::to_string);
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let precision = funnel.precision().map_or_else(|| "-".to_owned(), percent);
        let rest = [percent(funnel.rate()), precision, tokens.to_string(), format!("{:.0}", funnel.seconds)];
        table.add_row(std::iter::once(name.clone()).chain(counts).chain(rest).map(Cell::new));
    }
    rendered(&table) + "\n"
}

/// Two columns without a header: what is told, and the figure.
pub fn figures(rows: &[[String; 2]], style: Style) -> String {
    let mut table = table(style, &[]);
    for row in rows {
        table.add_row(row.iter().map(|text| Cell::new(one_line(text))));
    }
    rendered(&table)
}

fn row(run: &v1::Run, finding: &v1::Finding) -> Vec<Cell> {
    let fix = finding.fix.and_then(|number| run.fixes.get(number.checked_sub(1)?));
    let (outcome, colour) = match finding.outcome {
        v1::Outcome::Fixed => ("fixed", Color::Green),
        v1::Outcome::Unfixed => ("unfixed", Color::Red),
        v1::Outcome::Abstained => ("abstained", Color::Yellow),
        v1::Outcome::Skipped => ("skipped", Color::Yellow),
    };
    let applicability = match fix.map(|fix| fix.applicability) {
        Some(v1::Applicability::Safe) => Cell::new("safe"),
        Some(v1::Applicability::Review) => Cell::new("review").fg(Color::Yellow),
        None => Cell::new(""),
    };
    let reason = match (&finding.reason, fix) {
        (Some(reason), _) => reason.clone(),
        (None, Some(fix)) => fix.review_reasons.join("; "),
        (None, None) => String::new(),
    };
    vec![
        Cell::new(one_line(&finding.rule)),
        Cell::new(one_line(finding.address.as_deref().unwrap_or_default())),
        Cell::new(one_line(&format!("{}:{}", finding.file, finding.start_line))),
        Cell::new(outcome).fg(colour),
        applicability,
        Cell::new(finding.fix.map_or_else(String::new, |number| number.to_string())),
        Cell::new(one_line(&reason)),
    ]
}

fn table(style: Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.force_no_tty();
    if style.colour {
        table.enforce_styling();
    }
    match style.width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The table without the blanks that fill up its last column.
fn rendered(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn the_table_has_a_line_for_each_finding_and_a_summary() {
        let text = run(&sample::report(), Style::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[0]), ["rule", "resource", "where", "outcome", "applicability", "fix", "reason"]);
        assert_eq!(words(lines[1]), ["CKV_AWS_20", "aws_s3_bucket.data", "main.tf:1", "fixed", "safe", "1"]);
        assert!(lines[2].ends_with("review         2    terraform validate could not run"), "{text}");
        assert!(lines[4].ends_with("the office network is not known: name it in a variable"), "{text}");
        assert_eq!(lines[7], "does not parse: broken.tf:3:7: expected `}`");
        assert_eq!(lines[8], "refused: CKV_AWS_9 in ../other/x.tf: outside the root");
        assert_eq!(lines[9], "5 findings: 3 fixed (2 safe, 1 to review), 1 unfixed, 0 abstained, 1 skipped; 48.2 s");
        assert!(lines[10].starts_with("run `terraform init`"), "{text}");
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn lines_fit_the_terminal() {
        let text = run(&sample::report(), Style { width: Some(100), colour: false });
        let table = text.lines().take_while(|line| !line.is_empty());
        assert!(table.clone().count() > 6, "long cells are broken:\n{text}");
        assert!(table.clone().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        assert!(!run(&sample::report(), Style::PLAIN).contains('\u{1b}'));
        assert!(run(&sample::report(), Style { width: None, colour: true }).contains("\u{1b}[38;5;10mfixed"));
    }

    #[test]
    fn findings_have_a_table_of_their_own() {
        let report = sample::report();
        let all: Vec<_> = report.outcomes.iter().map(|outcome| outcome.finding.clone()).collect();
        let text = findings(&all, Style::PLAIN);
        assert!(text.contains("CKV_AWS_20   high      aws_s3_bucket.data"), "{text}");
        assert!(text.ends_with("\n5 findings\n"));
        assert_eq!(findings(&[], Style::PLAIN), "0 findings\n");
    }
}
