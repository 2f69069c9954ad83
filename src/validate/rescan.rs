//! Compares two scans: what passes now, what vanished, what is new.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;
use crate::scanner::{CheckKey, Scan};

/// The keys of a scan that comparisons need; findings are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) failed: BTreeSet<CheckKey>,
    pub(super) passed: BTreeSet<CheckKey>,
    pub(super) skipped: BTreeSet<CheckKey>,
    pub(super) parse_errors: BTreeSet<String>,
    /// What the rules that fail are about, with the way out where the scanner tells one.
    told: BTreeMap<String, String>,
}

impl Keys {
    /// That a rule fails on a block, and what it is about.
    pub(super) fn fails(&self, key: &CheckKey) -> String {
        let told = self.told.get(&key.rule).map(|told| format!(" ({told})")).unwrap_or_default();
        format!("{} fails on {}{told}", key.rule, key.resource)
    }

    /// Whether the scan said anything of that rule on that block.
    pub(super) fn knows(&self, key: &CheckKey) -> bool {
        self.failed.contains(key) || self.passed.contains(key) || self.skipped.contains(key)
    }
}

impl From<&Scan> for Keys {
    fn from(scan: &Scan) -> Self {
        let told = |finding: &Finding| {
            let parts = [Some(finding.message.as_str()), finding.hints.resolution.as_deref()];
            let told: Vec<&str> = parts.into_iter().flatten().map(str::trim).filter(|text| !text.is_empty()).collect();
            (!told.is_empty()).then(|| (finding.rule.clone(), told.join(" → ")))
        };
        Self {
            told: scan.failed.iter().filter_map(told).collect(),
            failed: scan.failed_keys.clone(),
            passed: scan.passed_keys.clone(),
            skipped: scan.skipped_keys.clone(),
            parse_errors: scan.parse_errors.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Whether a scanner says what passes. Where it does not, a rule that no longer fails counts as passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    Told,
    NotTold,
}

/// Why a change is refused, by two scans of the same unit; empty when it is not. `wanted` are the keys that must pass
/// now: the finding's own, and those that earlier fixes closed.
pub(super) fn compare(before: &Keys, after: &Keys, wanted: &BTreeSet<CheckKey>, passes: Passes) -> Vec<String> {
    let mut reasons = Vec::new();
    for file in after.parse_errors.difference(&before.parse_errors) {
        reasons.push(format!("the scanner can no longer parse {file}"));
    }
    for key in wanted.intersection(&after.failed) {
        reasons.push(format!("{} still fails on {}", key.rule, key.resource));
    }
    for key in after.failed.difference(&before.failed) {
        reasons.push(format!("a new finding: {}", after.fails(key)));
    }
    // Gone is not closed: skipped, unknown, renamed or deleted.
    if passes == Passes::Told {
        let gone = before.failed.union(wanted).filter(|key| !after.failed.contains(key));
        for key in gone.filter(|key| !after.passed.contains(key)) {
            let how = if after.skipped.contains(key) { "is skipped" } else { "has no answer" };
            reasons.push(format!("{} {how} on {} any more; it must pass", key.rule, key.resource));
        }
    }
    reasons
}

/// What a change closed: failed before, does not fail now. Only to be asked of a change that [`compare`] let through.
pub(super) fn closed(before: &Keys, after: &Keys) -> BTreeSet<CheckKey> {
    before.failed.difference(&after.failed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RelPath;

    fn key(rule: &str, resource: &str) -> CheckKey {
        CheckKey { rule: rule.into(), file: RelPath::new("main.tf").unwrap(), resource: resource.into() }
    }

    fn keys(failed: &[(&str, &str)], passed: &[(&str, &str)]) -> Keys {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(rule, resource)| key(rule, resource)).collect();
        Keys { failed: set(failed), passed: set(passed), ..Keys::default() }
    }

    #[test]
    fn a_rule_that_passes_is_closed() {
        let (before, after) = (keys(&[("R1", "a.b"), ("R2", "a.b")], &[]), keys(&[("R2", "a.b")], &[("R1", "a.b")]));
        let wanted = BTreeSet::from([key("R1", "a.b")]);
        assert_eq!(compare(&before, &after, &wanted, Passes::Told), Vec::<String>::new());
        assert_eq!(closed(&before, &after), wanted);
    }

    #[test]
    fn a_rule_that_only_vanished_is_not_closed() {
        let before = keys(&[("R1", "a.b")], &[]);
        let wanted = BTreeSet::from([key("R1", "a.b")]);
        assert_eq!(compare(&before, &Keys::default(), &wanted, Passes::Told).len(), 1);
        assert_eq!(compare(&before, &Keys::default(), &wanted, Passes::NotTold).len(), 0);
        let skipped = Keys { skipped: wanted.clone(), ..Keys::default() };
        assert!(compare(&before, &skipped, &wanted, Passes::Told)[0].contains("skipped"));
    }

    #[test]
    fn what_an_earlier_fix_closed_must_go_on_to_pass() {
        let (before, held) = (keys(&[], &[("R1", "a.b")]), BTreeSet::from([key("R1", "a.b")]));
        assert_eq!(compare(&before, &Keys::default(), &held, Passes::Told).len(), 1);
        assert_eq!(compare(&before, &before, &held, Passes::Told).len(), 0);
    }

    #[test]
    fn what_is_new_and_what_still_fails_are_told() {
        let before = keys(&[("R1", "a.b")], &[]);
        let after = keys(&[("R1", "a.b"), ("R3", "a.c")], &[]);
        let reasons = compare(&before, &after, &BTreeSet::from([key("R1", "a.b")]), Passes::Told);
        assert_eq!(reasons, ["R1 still fails on a.b", "a new finding: R3 fails on a.c"]);
    }
}
