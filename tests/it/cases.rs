//! Scenario folders: `tests/cases/NNN_name/`.
//!
//! ```text
//! cmd.toml           the command, see `Cmd`
//! input/             the working folder before
//! expected/stdout    standard output, redacted
//! expected/stderr    standard error, redacted, unless `stderr = false`
//! expected/tree/     the files that it wrote or changed; every other file must be as it was
//! expected/removed   the files that it removed, one a line
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use walkdir::WalkDir;

use crate::common;

/// `cmd.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cmd {
    /// Arguments of `caulk`.
    args: Vec<String>,
    /// The exit status.
    #[serde(default)]
    exit: i32,
    /// Further environment variables.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Folders of `tests/` that are copied into the working folder before `input/` is: place = folder.
    #[serde(default)]
    copy: BTreeMap<String, String>,
    /// Whether scanners and the small model must be there.
    #[serde(default)]
    tools: bool,
    /// Whether standard error is compared.
    #[serde(default = "yes")]
    stderr: bool,
}

fn yes() -> bool {
    true
}

/// Files by path.
type Tree = BTreeMap<String, Vec<u8>>;

#[test]
fn scenarios() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let wanted = std::env::var("CASE").unwrap_or_default();
    let mut names: Vec<String> = fs::read_dir(&cases)
        .expect("tests/cases is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("names are UTF-8"))
        .filter(|name| name.contains(&wanted))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no case is named {wanted:?}");
    let failures: Vec<String> = names
        .iter()
        .filter_map(|name| run(&cases.join(name)).err().map(|error| format!("--- {name}\n{error}")))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed; UPDATE=1 rewrites what they expect\n{}",
        failures.len(),
        names.len(),
        failures.join("\n")
    );
}

fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case.join("cmd.toml")).map_err(|error| format!("cmd.toml: {error}"))?;
    let cmd: Cmd = toml::from_str(&text).map_err(|error| format!("cmd.toml: {error}"))?;
    if cmd.tools {
        common::ready();
    }
    let temp = tempfile::tempdir().expect("a temporary folder");
    let dir = temp.path().canonicalize().expect("it is there").join("work");
    fs::create_dir(&dir).expect("it can be written");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let copies = cmd.copy.iter().map(|(place, from)| (tests.join(from), dir.join(place)));
    for (from, to) in copies.chain([(case.join("input"), dir.clone())]) {
        for (path, bytes) in tree(&from) {
            put(&to.join(path), &bytes);
        }
    }
    let before = tree(&dir);
    let mut command = common::caulk();
    let output = command.args(&cmd.args).envs(&cmd.env).current_dir(&dir).output().map_err(|e| e.to_string())?;
    let after = tree(&dir);
    let removed: Vec<&str> = before.keys().filter(|path| !after.contains_key(*path)).map(String::as_str).collect();
    let written = after.iter().filter(|(path, bytes)| before.get(*path) != Some(bytes));

    let redact = |bytes: &[u8]| redacted(&String::from_utf8_lossy(bytes), &dir).into_bytes();
    let mut found = Tree::new();
    found.insert("stdout".to_owned(), redact(&output.stdout));
    if cmd.stderr {
        found.insert("stderr".to_owned(), redact(&output.stderr));
    }
    if !removed.is_empty() {
        found.insert("removed".to_owned(), format!("{}\n", removed.join("\n")).into_bytes());
    }
    for (path, bytes) in written {
        // Sources and patches must match to the byte; only what caulk reports about itself has times and paths.
        let report = [".json", ".jsonl", ".sarif"].iter().any(|extension| path.ends_with(extension));
        found.insert(format!("tree/{path}"), if report { redact(bytes) } else { bytes.clone() });
    }
    found.retain(|_, bytes| !bytes.is_empty());

    if output.status.code() != Some(cmd.exit) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("exit status: expected {}, found {:?}; it said: {said}", cmd.exit, output.status.code()));
    }
    let expected = case.join("expected");
    if std::env::var_os("UPDATE").is_some() {
        let _ = fs::remove_dir_all(&expected);
        for (path, bytes) in &found {
            put(&expected.join(path), bytes);
        }
    }
    difference(&tree(&expected), &found)
}

fn difference(expected: &Tree, found: &Tree) -> Result<(), String> {
    let mut said = Vec::new();
    for path in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        match (expected.get(path), found.get(path)) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(expected), Some(found)) => said.push(format!("{path} differs\n{}", diff(expected, found))),
            (Some(_), None) => said.push(format!("{path} is expected and not there")),
            (None, Some(found)) => said.push(format!("{path} is not expected:\n{}", String::from_utf8_lossy(found))),
            (None, None) => {}
        }
    }
    if said.is_empty() { Ok(()) } else { Err(said.join("\n")) }
}

fn diff(expected: &[u8], found: &[u8]) -> String {
    let patch = git2::Patch::from_buffers(expected, None, found, None, None);
    let text = patch.and_then(|mut patch| Ok(String::from_utf8_lossy(&patch.to_buf()?).into_owned()));
    text.unwrap_or_else(|error| error.to_string())
}

/// The files below a folder; empty when there is none.
fn tree(dir: &Path) -> Tree {
    let entries = WalkDir::new(dir).into_iter().filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir());
    let read = |path: PathBuf| {
        let name = path.strip_prefix(dir).expect("it is below").to_str().expect("names are UTF-8").to_owned();
        (name, fs::read(&path).expect("it can be read"))
    };
    entries.map(|entry| read(entry.into_path())).collect()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("it can be written");
    fs::write(path, bytes).expect("it can be written");
}

/// What differs from run to run and machine to machine, by what stands for it.
static REDACTIONS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[WHEN]"),
        (r"\b[0-9a-f]{64}\b", "[SHA256]"),
        (r#"("(?:seconds|prefill_s|decode_s)": ?)[0-9.e-]+"#, "${1}[SECONDS]"),
        (r"\b\d+\.\d+ (s|MiB|GiB|tok/s)\b", "[N] $1"),
        (concat!(r#"(\bcaulk[ ":]+)"#, env!("CARGO_PKG_VERSION")), "${1}[VERSION]"),
    ]
    .map(|(pattern, instead)| (Regex::new(pattern).expect("it is a pattern"), instead))
    .into()
});

fn redacted(text: &str, dir: &Path) -> String {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home");
    let cache = common::cache();
    let places = [(dir, "[DIR]"), (&home, "[HOME]"), (&cache, "[CACHE]")];
    let mut text = text.to_owned();
    for (place, name) in places {
        text = text.replace(&*place.to_string_lossy(), name);
    }
    for (pattern, instead) in REDACTIONS.iter() {
        text = pattern.replace_all(&text, *instead).into_owned();
    }
    text
}

#[test]
fn redaction_takes_out_what_differs_and_nothing_else() {
    let dir = Path::new("/tmp/x/work");
    let text = r#"{"seconds": 1.25e-3, "at": "2025-01-31T08:00:00Z"} in /tmp/x/work/a.tf, 3 fixed; 48.2 s, t = 1.5"#;
    let expected = r#"{"seconds": [SECONDS], "at": "[WHEN]"} in [DIR]/a.tf, 3 fixed; [N] s, t = 1.5"#;
    assert_eq!(redacted(text, dir), expected);
    assert_eq!(redacted(&"ab".repeat(32), dir), "[SHA256]");
    assert_eq!(redacted("0.0.0.0/0 10.0.0.0/8", dir), "0.0.0.0/0 10.0.0.0/8");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        redacted(&format!("caulk {version}, \"caulk\": \"{version}\""), dir),
        r#"caulk [VERSION], "caulk": "[VERSION]""#
    );
}

#[test]
fn a_difference_is_seen() {
    let one = |text: &str| Tree::from([("a".to_owned(), text.as_bytes().to_vec())]);
    assert_eq!(difference(&one("x"), &one("x")), Ok(()));
    assert!(difference(&one("x\n"), &one("y\n")).unwrap_err().contains("-x\n+y"));
    assert!(difference(&Tree::new(), &one("x")).unwrap_err().contains("not expected"));
    assert!(difference(&one("x"), &Tree::new()).unwrap_err().contains("not there"));
}
