//! Judges a run on cases: findings of which it is known where they are, one small module each.
//!
//! In: the cases, the run's report, and fresh scans of the cases before and after its changes, by a scanner that had no part
//! in the run. Out: a [`Row`] for each case, how far it came, and [`Funnel`]s over them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::{ExitStatus, Failure};
use crate::finding::Finding;
use crate::grammar::provider_of;
use crate::outcome::{Led, Outcome};
use crate::rules::Wish;
use crate::scanner::{CheckKey, Scan};
use crate::schema::{self, Schemas};
use crate::source::{Block, BlockAddr, RelPath, ResourceAddr, SourceTree};

/// A finding that a case is about. One line of a list is such an object as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Case {
    /// Its folder, relative to the cases' folder.
    pub case: String,
    /// The rule; lists that name it `check` are read as well.
    #[serde(alias = "check")]
    pub rule: String,
    /// The resource, by the scanner's name.
    pub resource: String,
}

impl Case {
    /// Reads a list.
    ///
    /// # Errors
    /// When it cannot be read or a line is no case.
    pub fn read(list: &Path) -> Result<Vec<Self>, Failure> {
        let fail = |why: String| {
            Failure::new(ExitStatus::Input, format!("{}: {why}", list.display()))
                .hint("a list has a line for each case: {\"case\": FOLDER, \"rule\": ID, \"resource\": ADDRESS}")
        };
        let text = std::fs::read_to_string(list).map_err(|e| fail(e.to_string()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(at, line)| serde_json::from_str(line).map_err(|e| fail(format!("line {}: {e}", at + 1)))).collect()
    }

    /// Whether a finding is the one that the case is about.
    pub fn is_about(&self, finding: &Finding) -> bool {
        let address = finding.address.as_ref().map(ToString::to_string);
        finding.rule == self.rule && self.holds(&finding.location.file) && address.as_deref() == Some(&self.resource)
    }

    fn holds(&self, file: &RelPath) -> bool {
        RelPath::new(&self.case).is_some_and(|folder| file.is_in(&folder))
    }

    /// The blocks of its files, as far as these parse.
    fn blocks<'t>(&self, tree: &'t SourceTree) -> impl Iterator<Item = (&'t RelPath, &'t Block)> {
        let files = tree.files().filter_map(|(path, file)| Some((path, file.ok()?)));
        let own = files.filter(|(path, _)| self.holds(path));
        own.flat_map(|(path, file)| file.body().blocks().map(move |block| (path, block)))
    }

    fn is_of(&self, key: &CheckKey) -> bool {
        key.rule == self.rule && key.resource == self.resource && self.holds(&key.file)
    }
}

/// How far a case came. Each step holds only for what came through the steps before it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// The rule.
    pub rule: String,
    /// The resource.
    pub resource: String,
    /// The resource's provider.
    pub provider: String,
    /// How the rule says what it wants: `key` and values, `code`, `graph` of conditions, or `none`.
    pub told: &'static str,
    /// What the accepted answer was held to; of one that was not accepted, the last.
    pub led: Option<Led>,
    /// A patch touches it.
    pub patched: bool,
    /// All its files parse.
    pub parses: bool,
    /// The block that the finding is about stands, and so do all others.
    pub kept: bool,
    /// The rule passes.
    pub removed: bool,
    /// No rule fails that did not before.
    pub clean: bool,
    /// Nothing is in it that the provider's schema does not have and that was not in it before.
    pub schema: bool,
    /// All of these.
    pub fixed: bool,
    /// Why it was not patched.
    pub reason: Option<String>,
    /// Attempts.
    pub attempts: usize,
    /// Tokens of all answers.
    pub tokens: usize,
    /// Of these, chosen by the model.
    pub chosen: usize,
    /// Wall time.
    pub seconds: f64,
}

/// What the cases are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The cases as they were.
    pub before: &'a SourceTree,
    /// With all changes.
    pub after: &'a SourceTree,
    /// Scans of both.
    pub scans: (&'a Scan, &'a Scan),
    /// What became of the findings.
    pub outcomes: &'a [Outcome],
    /// What the rules want.
    pub wishes: &'a BTreeMap<String, Wish>,
    /// Providers' schemas.
    pub schemas: &'a Schemas,
}

impl Evidence<'_> {
    /// Judges a case.
    pub fn judge(&self, case: &Case) -> Row {
        let outcome = self.outcomes.iter().find(|outcome| case.is_about(&outcome.finding));
        let wish = self.wishes.get(&case.rule);
        let mut row = Row {
            case: case.case.clone(),
            rule: case.rule.clone(),
            resource: case.resource.clone(),
            provider: provider(&case.resource),
            told: match wish {
                Some(wish) if wish.graph.is_some() => "graph",
                Some(wish) if wish.code => "code",
                Some(_) => "key",
                None => "none",
            },
            ..Row::default()
        };
        match outcome {
            Some(outcome) => row.take(outcome),
            None => row.reason = Some("the scanner does not find it".into()),
        }
        let changed = self.changed(case);
        let addresses = |tree| {
            case.blocks(tree)
                .map(|(path, block)| (path.clone(), block.addr()))
                .collect::<BTreeSet<(RelPath, BlockAddr)>>()
        };
        row.patched = !changed.is_empty();
        row.parses = row.patched && changed.iter().all(|path| self.after.file(path).is_some());
        row.kept = row.parses && addresses(self.before).is_subset(&addresses(self.after));
        let (before, after) = self.scans;
        row.removed = row.kept
            && !after.failed_keys.iter().any(|key| case.is_of(key))
            && after.passed_keys.iter().any(|key| case.is_of(key));
        let new = |key: &&CheckKey| case.holds(&key.file) && !before.failed_keys.contains(key);
        row.clean = row.removed && !after.failed_keys.iter().any(|key| new(&key));
        row.schema = row.clean && self.problems(self.after, case).is_subset(&self.problems(self.before, case));
        row.fixed = row.schema;
        row
    }

    fn changed(&self, case: &Case) -> Vec<RelPath> {
        let files = self.after.files().map(|(path, _)| path).filter(|path| case.holds(path));
        let text = |tree: &SourceTree, path: &RelPath| tree.file(path).map(|file| file.text().to_owned());
        files.filter(|path| text(self.before, path) != text(self.after, path)).cloned().collect()
    }

    fn problems(&self, tree: &SourceTree, case: &Case) -> BTreeSet<String> {
        let of = |(_, block): (&RelPath, &Block)| {
            let schema = self.schemas.of(&block.addr())?;
            let problems = schema::problems(&block.body, &schema).into_iter();
            Some(problems.map(|problem| format!("{}: {problem}", block.addr())).collect::<Vec<_>>())
        };
        case.blocks(tree).filter_map(of).flatten().collect()
    }
}

fn provider(resource: &str) -> String {
    let block = resource.parse::<ResourceAddr>().ok().map(|addr| addr.block);
    let ty = block.as_ref().and_then(|block| Some(block.labels.first()?.as_str())).unwrap_or(resource);
    provider_of(ty).to_owned()
}

impl Row {
    fn take(&mut self, outcome: &Outcome) {
        self.led = outcome.attempts.last().map(|attempt| attempt.led);
        self.reason = outcome.resolution.reason().map(str::to_owned);
        self.attempts = outcome.attempts.len();
        self.tokens = outcome.attempts.iter().map(|attempt| attempt.stats.answer_tokens).sum();
        let forced: usize = outcome.attempts.iter().map(|attempt| attempt.stats.forced_tokens).sum();
        self.chosen = self.tokens.saturating_sub(forced);
        self.seconds = outcome.seconds;
    }

    /// The cause of a case that is not fixed, without what is particular to it.
    pub fn cause(&self) -> Option<String> {
        if self.fixed {
            return None;
        }
        let step = [
            (self.parses, "does not parse"),
            (self.kept, "a block is gone"),
            (self.removed, "the rule does not pass"),
            (self.clean, "something new fails"),
            (self.schema, "not in the schema"),
        ];
        match (&self.reason, self.patched) {
            (_, true) => step.iter().find(|(holds, _)| !holds).map(|(_, cause)| format!("patched: {cause}")),
            (Some(reason), false) => Some(general(reason)),
            (None, false) => Some("closed by nothing".into()),
        }
    }
}

/// A reason's gate and the words of it that do not name anything.
fn general(reason: &str) -> String {
    let named = |word: &&str| !word.contains(|c: char| c.is_ascii_digit() || "._\"`".contains(c));
    let first = reason.split([';', '(']).next().unwrap_or_default();
    first.split_whitespace().filter(named).take(9).collect::<Vec<_>>().join(" ")
}

/// How many cases came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Funnel {
    /// Cases.
    pub cases: usize,
    /// See [`Row`].
    pub patched: usize,
    /// See [`Row`].
    pub parses: usize,
    /// See [`Row`].
    pub kept: usize,
    /// See [`Row`].
    pub removed: usize,
    /// See [`Row`].
    pub clean: usize,
    /// See [`Row`].
    pub schema: usize,
    /// See [`Row`].
    pub fixed: usize,
    /// Tokens of all answers.
    pub tokens: usize,
    /// Of these, chosen by the model.
    pub chosen: usize,
    /// Wall time of the cases, all added up.
    pub seconds: f64,
}

impl Funnel {
    /// Over rows.
    pub fn over<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        rows.into_iter().fold(Self::default(), |sum, row| Self {
            cases: sum.cases + 1,
            patched: sum.patched + usize::from(row.patched),
            parses: sum.parses + usize::from(row.parses),
            kept: sum.kept + usize::from(row.kept),
            removed: sum.removed + usize::from(row.removed),
            clean: sum.clean + usize::from(row.clean),
            schema: sum.schema + usize::from(row.schema),
            fixed: sum.fixed + usize::from(row.fixed),
            tokens: sum.tokens + row.tokens,
            chosen: sum.chosen + row.chosen,
            seconds: sum.seconds + row.seconds,
        })
    }

    /// Fixed of patched; `None` where nothing was patched.
    #[expect(clippy::cast_precision_loss, reason = "counts of cases")]
    pub fn precision(&self) -> Option<f64> {
        (self.patched > 0).then(|| self.fixed as f64 / self.patched as f64)
    }

    /// Fixed of all cases.
    #[expect(clippy::cast_precision_loss, reason = "counts of cases")]
    pub fn rate(&self) -> f64 {
        if self.cases == 0 { 0.0 } else { self.fixed as f64 / self.cases as f64 }
    }
}

/// Funnels by what `key` says of a row.
pub fn by<'a>(rows: &'a [Row], key: impl Fn(&'a Row) -> String) -> BTreeMap<String, Funnel> {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups.into_iter().map(|(name, rows)| (name, Funnel::over(rows))).collect()
}

/// The family of a rule: its id up to its number.
pub fn family(rule: &str) -> String {
    rule.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Location, Tool};
    use crate::outcome::Attempt;
    use crate::source::SourceFile;

    const BEFORE: &str = "resource \"aws_sns_topic\" \"a\" {\n}\nresource \"aws_sqs_queue\" \"b\" {\n}\n";

    fn tree(text: &str) -> SourceTree {
        SourceTree::from_files("/", [SourceFile::parse(path(), text.into()).unwrap()])
    }

    fn path() -> RelPath {
        RelPath::new("c1/main.tf").unwrap()
    }

    fn case() -> Case {
        Case { case: "c1".into(), rule: "R_1".into(), resource: "aws_sns_topic.a".into() }
    }

    fn key(rule: &str, resource: &str) -> CheckKey {
        CheckKey { rule: rule.into(), file: path(), resource: resource.into() }
    }

    fn scan(failed: &[(&str, &str)], passed: &[(&str, &str)]) -> Scan {
        let keys = |pairs: &[(&str, &str)]| pairs.iter().map(|(rule, resource)| key(rule, resource)).collect();
        Scan { failed_keys: keys(failed), passed_keys: keys(passed), ..Scan::default() }
    }

    fn judge(after: &str, scan_after: &Scan) -> Row {
        let before = scan(&[("R_1", "aws_sns_topic.a")], &[]);
        let location = Location { file: path(), start_line: 1, end_line: 2 };
        let finding = Finding::new(Tool::Checkov, "R_1", "t", location, "aws_sns_topic.a".parse().ok());
        let outcome = Outcome {
            finding,
            target: None,
            resolution: crate::outcome::Resolution::Unfixed {
                reason: "rescan: R_1 still fails on aws_sns_topic.a".into(),
            },
            attempts: Vec::<Attempt>::new(),
            seconds: 1.5,
        };
        let evidence = Evidence {
            before: &tree(BEFORE),
            after: &tree(after),
            scans: (&before, scan_after),
            outcomes: &[outcome],
            wishes: &BTreeMap::new(),
            schemas: &Schemas::embedded(),
        };
        evidence.judge(&case())
    }

    #[test]
    fn a_case_comes_as_far_as_its_first_fault() {
        let passes = scan(&[], &[("R_1", "aws_sns_topic.a")]);
        let with = |line: &str| BEFORE.replacen("{\n", &format!("{{\n{line}\n"), 1);
        let fixed = judge(&with("  name = \"x\""), &passes);
        assert!(fixed.fixed && fixed.cause().is_none(), "{fixed:?}");
        assert_eq!((fixed.provider.as_str(), fixed.told), ("aws", "none"));

        let untouched = judge(BEFORE, &passes);
        assert!(!untouched.patched && !untouched.fixed);
        assert_eq!(untouched.cause().as_deref(), Some("rescan: still fails on"));

        let gone = judge("resource \"aws_sns_topic\" \"a\" {\n  name = \"x\"\n}\n", &passes);
        assert!(gone.parses && !gone.kept);
        let vanished = judge(&with("  name = \"x\""), &Scan::default());
        assert!(vanished.kept && !vanished.removed, "no answer is no pass");
        let dirty = scan(&[("R_2", "aws_sqs_queue.b")], &[("R_1", "aws_sns_topic.a")]);
        assert_eq!(judge(&with("  name = \"x\""), &dirty).cause().as_deref(), Some("patched: something new fails"));
        assert_eq!(judge(&with("  nam = \"x\""), &passes).cause().as_deref(), Some("patched: not in the schema"));
    }

    #[test]
    fn funnels_count_and_divide() {
        let fixed = Row { patched: true, fixed: true, tokens: 7, ..Row::default() };
        let rows = [fixed, Row { patched: true, ..Row::default() }, Row::default()];
        let funnel = Funnel::over(&rows);
        assert_eq!((funnel.cases, funnel.patched, funnel.fixed, funnel.tokens), (3, 2, 1, 7));
        assert_eq!(funnel.precision(), Some(0.5));
        assert!((funnel.rate() - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(Funnel::over([]).precision(), None);
        assert_eq!(by(&rows, |row| row.patched.to_string())["true"].cases, 2);
    }

    #[test]
    fn families_are_ids_without_their_numbers() {
        assert_eq!(["CKV2_AWS_6", "AVD-AWS-0107", "x"].map(family), ["CKV2_AWS", "AVD-AWS", "x"]);
    }

    #[test]
    fn lists_are_read_and_bad_lines_named() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.jsonl");
        std::fs::write(
            &list,
            "{\"case\": \"c1\", \"check\": \"R_1\", \"resource\": \"aws_sns_topic.a\", \"name\": \"n\"}\n\n",
        )
        .unwrap();
        assert_eq!(Case::read(&list).unwrap(), [case()]);
        std::fs::write(&list, "{}\n").unwrap();
        assert!(Case::read(&list).unwrap_err().to_string().contains("line 1"));
    }
}
