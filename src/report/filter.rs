//! Which findings are meant: the options that `scan` and `fix` share.

use crate::finding::{Finding, Severity};
use crate::source::RelPath;

/// Which findings are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only these rules; `*` stands for any characters (repeatable, or separated by commas)
    #[arg(long = "rule", value_name = "ID", value_delimiter = ',', value_parser = pattern)]
    pub rules: Vec<glob::Pattern>,

    /// Only findings of this severity or a higher one. Findings without a severity are kept: Checkov gives none
    /// without its platform
    #[arg(long, value_name = "SEVERITY")]
    pub min_severity: Option<Severity>,

    /// Leave out files that match, or that lie in a folder that matches, relative to the scanned folder: `examples`,
    /// `**/test`, `*.gen.tf` (repeatable)
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = pattern)]
    pub exclude: Vec<glob::Pattern>,
}

fn pattern(text: &str) -> Result<glob::Pattern, String> {
    glob::Pattern::new(text.trim_end_matches('/')).map_err(|error| error.to_string())
}

/// Whether a finding's rule matches a pattern, in any case.
fn is_of(rule: &glob::Pattern, finding: &Finding) -> bool {
    let ids = glob::MatchOptions { case_sensitive: false, ..glob::MatchOptions::default() };
    rule.matches_with(&finding.rule, ids)
}

impl Filter {
    /// Whether a finding is meant.
    pub fn matches(&self, finding: &Finding) -> bool {
        let rule = self.rules.is_empty() || self.rules.iter().any(|rule| is_of(rule, finding));
        let severe = match (self.min_severity, finding.severity) {
            (Some(least), Some(severity)) => severity >= least,
            _ => true,
        };
        rule && severe && !self.excludes(&finding.location.file)
    }

    /// The findings that are meant.
    pub fn apply(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        findings.retain(|finding| self.matches(finding));
        findings
    }

    /// A line for each `--rule` that none of the findings is of: it may be misspelt.
    pub fn idle(&self, findings: &[Finding]) -> Vec<String> {
        let idle = self.rules.iter().filter(|rule| !findings.iter().any(|finding| is_of(rule, finding)));
        idle.map(|rule| format!("--rule {rule}: no finding is of this rule")).collect()
    }

    /// Whether the file, or a folder that it lies in, matches an excluded pattern.
    pub fn excludes(&self, file: &RelPath) -> bool {
        let file = file.as_str();
        let paths = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        let folders = file.match_indices('/').map(|(at, _)| &file[..at]);
        let mut parts = folders.chain([file]);
        parts.any(|part| self.exclude.iter().any(|pattern| pattern.matches_with(part, paths)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Location, Tool};
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        filter: Filter,
    }

    fn kept(args: &[&str], rule: &str, severity: Option<Severity>, file: &str) -> bool {
        let filter = Cli::parse_from(["caulk"].iter().chain(args)).filter;
        let location = Location { file: RelPath::new(file).unwrap(), start_line: 1, end_line: 1 };
        let mut finding = Finding::new(Tool::Checkov, rule, "", location, None);
        finding.severity = severity;
        filter.matches(&finding)
    }

    #[test]
    fn rules_are_exact_or_patterns_in_any_case() {
        let kept = |args: &[&str]| kept(args, "CKV_AWS_18", None, "main.tf");
        assert!(kept(&[]));
        assert!(kept(&["--rule", "ckv_aws_18"]));
        assert!(kept(&["--rule", "CKV_AWS_1,CKV_AWS_18"]));
        assert!(kept(&["--rule", "CKV_AZURE_1", "--rule", "CKV_AWS_*"]));
        assert!(!kept(&["--rule", "CKV_AWS_1"]));
    }

    #[test]
    fn a_rule_of_which_there_is_no_finding_is_told() {
        let filter = Cli::parse_from(["caulk", "--rule", "CKV_AWS_1,ckv_aws_*,CKV_AWZ_18"]).filter;
        let location = Location { file: RelPath::new("main.tf").unwrap(), start_line: 1, end_line: 1 };
        let lines = filter.idle(&[Finding::new(Tool::Checkov, "CKV_AWS_18", "", location, None)]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("CKV_AWS_1:") && lines[1].contains("CKV_AWZ_18"), "{lines:?}");
    }

    #[test]
    fn findings_without_a_severity_are_kept() {
        let kept = |severity| kept(&["--min-severity", "high"], "R", severity, "main.tf");
        assert!(kept(None));
        assert!(kept(Some(Severity::Critical)) && kept(Some(Severity::High)));
        assert!(!kept(Some(Severity::Medium)));
    }

    #[test]
    fn excluded_folders_take_what_is_in_them() {
        let kept = |glob: &str, file: &str| kept(&["--exclude", glob], "R", None, file);
        assert!(!kept("examples/", "examples/a/main.tf"));
        assert!(kept("examples", "a/examples/main.tf"));
        assert!(!kept("**/examples", "a/examples/main.tf"));
        assert!(!kept("**/*.gen.tf", "a/b/x.gen.tf"));
        assert!(kept("*.gen.tf", "a/x.gen.tf"));
        assert!(!kept("a/*/main.tf", "a/b/main.tf"));
        assert!(kept("a/*/main.tf", "a/b/c/main.tf"));
    }

    #[test]
    fn a_bad_pattern_is_a_usage_error() {
        assert!(Cli::try_parse_from(["caulk", "--exclude", "a***"]).is_err());
    }
}
