//! Merges as data: `tests/fixtures/merge/*.txt` hold a file before, the answer, and the file after or the error. The
//! target is the first resource (or variable) of the file. `CAULK_BLESS=1` writes what comes out; look at it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::merge::{MergeError, merge};
use crate::process::{Cmd, run};
use crate::source::{BlockAddr, RelPath, SourceTree};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/merge");

struct Case {
    name: String,
    before: String,
    answer: String,
    /// The text after, or the error.
    outcome: Result<String, String>,
}

fn cases() -> Vec<Case> {
    let mut paths: Vec<_> = std::fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 50, "{} cases", paths.len());
    paths.iter().map(|path| read_case(path)).collect()
}

fn read_case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    let mut part = "";
    for line in text.split_inclusive('\n') {
        match line.trim_end().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")) {
            Some("no final newline") => {
                parts.get_mut(part).unwrap().pop();
            }
            Some(name) => {
                part = name;
                parts.insert(name, String::new());
            }
            None => parts.get_mut(part).unwrap().push_str(line),
        }
    }
    let mut take = |name| parts.remove(name);
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        before: take("before").unwrap(),
        answer: take("answer").unwrap(),
        outcome: take("after").ok_or_else(|| take("error").unwrap_or_default().trim_end().to_owned()),
    }
}

fn bless(case: &Case, outcome: &Result<String, String>) {
    let part = |name: &str, text: &str| match text.ends_with('\n') {
        true => format!("-- {name} --\n{text}"),
        false => format!("-- {name} --\n{text}\n-- no final newline --\n"),
    };
    let outcome = match outcome {
        Ok(after) => part("after", after),
        Err(error) => format!("-- error --\n{error}\n"),
    };
    let text = part("before", &case.before) + &part("answer", &case.answer) + &outcome;
    std::fs::write(Path::new(CASES).join(format!("{}.txt", case.name)), text).unwrap();
}

fn tree(dir: &Path, text: &str) -> SourceTree {
    std::fs::write(dir.join("main.tf"), text).unwrap();
    SourceTree::load(dir, &[RelPath::default()]).unwrap()
}

fn target(tree: &SourceTree) -> BlockAddr {
    let file = tree.file(&main_tf()).unwrap();
    file.body().blocks().find(|block| matches!(block.keyword.as_str(), "resource" | "variable")).unwrap().addr()
}

fn main_tf() -> RelPath {
    RelPath::new("main.tf").unwrap()
}

/// The text after the merge; the merged text does not change when the answer is merged again.
fn merged(before: &str, answer: &str) -> Result<String, MergeError> {
    let dir = tempfile::tempdir().unwrap();
    let before = tree(dir.path(), before);
    let target = target(&before);
    let merged = merge(&before, &main_tf(), &target, None, answer)?;
    let after = merged.changeset.apply(&before).unwrap();
    for companion in &merged.companions {
        assert!(companion.keyword == "locals" || after.find(&RelPath::default(), companion).is_some());
    }
    assert_eq!(merge(&after, &main_tf(), &target, None, answer).err(), Some(MergeError::Empty), "merged again");
    Ok(after.file(&main_tf()).unwrap().text().to_owned())
}

#[test]
fn answers_merge_as_the_cases_say() {
    let blessing = std::env::var_os("CAULK_BLESS").is_some();
    for case in cases() {
        let outcome = merged(&case.before, &case.answer).map_err(|error| error.to_string());
        if blessing {
            bless(&case, &outcome);
        } else {
            assert_eq!(outcome, case.outcome, "{}", case.name);
        }
    }
}

#[test]
fn crlf_files_get_crlf() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    for case in cases() {
        let Ok(after) = &case.outcome else { continue };
        for answer in [case.answer.clone(), crlf(&case.answer)] {
            assert_eq!(merged(&crlf(&case.before), &answer).unwrap(), crlf(after), "{}", case.name);
        }
    }
}

#[test]
fn a_bom_stays() {
    for case in cases() {
        let Ok(after) = &case.outcome else { continue };
        let bom = format!("\u{feff}{}", case.before);
        assert_eq!(merged(&bom, &case.answer).unwrap(), format!("\u{feff}{after}"), "{}", case.name);
    }
}

fn fmt(text: &str) -> String {
    let cmd = Cmd::new("terraform", Duration::from_secs(60)).args(["fmt", "-"]).env("TF_CLI_CONFIG_FILE", "");
    let out = run(&cmd.env("CHECKPOINT_DISABLE", "1").stdin(text)).unwrap();
    assert!(out.success(), "{}\n{text}", out.stderr_text());
    String::from_utf8(out.stdout).unwrap()
}

/// The cases where lines beside the change would have to move, which the merge never does: the widest line of a column
/// went, or several lines came where one was.
const NEIGHBOURS_MOVE: [&str; 3] = ["set_value_keeps_comment", "heredoc_to_jsonencode", "unicode_columns"];

#[test]
fn terraform_fmt_has_nothing_to_add_where_it_had_not_before() {
    for case in cases() {
        let Ok(after) = &case.outcome else { continue };
        if fmt(&case.before) == case.before && !NEIGHBOURS_MOVE.contains(&case.name.as_str()) {
            assert_eq!(&fmt(after), after, "{}", case.name);
        }
    }
}

#[test]
fn where_there_can_be_one_block_another_name_is_no_second_block() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str| {
        format!("resource \"kubernetes_service_account\" \"a\" {{\n  metadata {{\n    name = \"{name}\"\n  }}\n}}\n")
    };
    let before = tree(dir.path(), &text("default"));
    let target = target(&before);
    let after = |schema: Option<&crate::schema::Block>| {
        let merged = merge(&before, &main_tf(), &target, schema, &text("own")).unwrap();
        merged.changeset.apply(&before).unwrap().file(&main_tf()).unwrap().text().to_owned()
    };
    let schema = crate::schema::Schemas::embedded().of(&target);
    assert_eq!(after(schema.as_ref()), text("own"));
    assert_eq!(after(None).matches("metadata").count(), 2);
}

#[test]
fn where_the_schema_has_a_block_an_object_becomes_one() {
    let dir = tempfile::tempdir().unwrap();
    let text = |item: &str| {
        format!(
            "resource \"google_storage_bucket\" \"a\" {{\n  name = \"a\"\n\n  {item}\n    # as it was\n    enabled = true\n  }}\n}}\n"
        )
    };
    let before = tree(dir.path(), &text("versioning = {").replace("true", "false"));
    let answer = "resource \"google_storage_bucket\" \"a\" {\n  versioning {\n    enabled = true\n  }\n}";
    let target = target(&before);
    let schema = crate::schema::Schemas::embedded().of(&target);
    let merged = merge(&before, &main_tf(), &target, schema.as_ref(), answer).unwrap();
    let after = merged.changeset.apply(&before).unwrap();
    assert_eq!(after.file(&main_tf()).unwrap().text(), text("versioning {"));
    assert!(matches!(merge(&before, &main_tf(), &target, None, answer), Err(MergeError::Ambiguous(_))));
    // Items between commas, and comments that would be lost, are left as they are.
    for other in ["versioning = { enabled = false, x = 1 }", "versioning = /* off */ {\n    enabled = false\n  }"] {
        let before = tree(dir.path(), &format!("resource \"google_storage_bucket\" \"a\" {{\n  {other}\n}}\n"));
        let merged = merge(&before, &main_tf(), &target, schema.as_ref(), answer);
        assert!(matches!(merged, Err(MergeError::Ambiguous(_))), "{other}: {merged:?}");
    }
}
