//! Unified diffs as `git diff` writes them and `git apply` takes them.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{DiffOptions, Patch};

use crate::edit::Changeset;
use crate::source::RelPath;

use super::OutputError;

/// The changeset as a patch with paths relative to the root (`a/PATH`, `b/PATH`), files in the order of their paths.
/// Bytes, not text: a hunk may cut through any encoding. Empty when nothing changes.
///
/// # Errors
/// When the edits do not belong to the texts in `base`.
pub fn unified(base: &BTreeMap<RelPath, String>, changeset: &Changeset) -> Result<Vec<u8>, OutputError> {
    let mut patch = Vec::new();
    for (path, change) in &changeset.files {
        // A file that is not in the base is one that the changeset would create.
        let old = base.get(path).map_or("", String::as_str);
        let new = change.apply(path, old)?;
        patch.extend(file_patch(path, old.as_bytes(), new.as_bytes())?);
    }
    Ok(patch)
}

fn file_patch(path: &RelPath, old: &[u8], new: &[u8]) -> Result<Vec<u8>, git2::Error> {
    if old == new {
        return Ok(Vec::new());
    }
    let path = Path::new(path.as_str());
    let mut options = DiffOptions::new();
    options.force_text(true).patience(true);
    let mut patch = Patch::from_buffers(old, Some(path), new, Some(path), Some(&mut options))?;
    Ok(patch.to_buf()?.to_vec())
}

/// The files that a patch changes, relative to the root.
///
/// # Errors
/// When it is no patch.
pub fn changed_files(patch: &[u8]) -> Result<Vec<String>, OutputError> {
    let diff = git2::Diff::from_buffer(patch)?;
    let paths = diff.deltas().filter_map(|delta| Some(delta.new_file().path()?.to_string_lossy().into_owned()));
    Ok(paths.collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::sha256_hex;
    use crate::edit::{FileChange, TextEdit};
    use crate::process::{Cmd, run};

    fn git(dir: &Path, args: &[&str]) {
        let cmd = Cmd::new("git", Duration::from_secs(60)).args(["-c", "core.autocrlf=false"]).args(args).cwd(dir);
        let out = run(&cmd.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")).unwrap();
        assert!(out.success(), "git {args:?}: {}", out.stderr_text());
    }

    /// Replaces `find` by `insert` in a file of that name, once with caulk's edits, once with `git apply`.
    fn round(name: &str, base: &str, find: &str, insert: &str) -> Vec<u8> {
        let path = RelPath::new(name).unwrap();
        let start = base.find(find).unwrap();
        let edit = TextEdit { range: start..start + find.len(), insert: insert.to_owned() };
        let change = FileChange { base_sha256: sha256_hex(base.as_bytes()), edits: vec![edit] };
        let changeset = Changeset { files: [(path.clone(), change)].into() };
        let patch = unified(&[(path.clone(), base.to_owned())].into(), &changeset).unwrap();

        let dir = tempfile::tempdir().unwrap();
        let file = path.under(dir.path());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, base).unwrap();
        std::fs::write(dir.path().join("it.patch"), &patch).unwrap();
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["apply", "--check", "it.patch"]);
        git(dir.path(), &["apply", "it.patch"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), base.replacen(find, insert, 1), "{name:?}");
        assert_eq!(changed_files(&patch).unwrap(), [name]);
        patch
    }

    const LONG: &str = "# one\nresource \"a\" \"b\" {\n  x = 1\n  y = 2\n}\n\n# two\n\n# three\n\n# four\n";

    #[test]
    fn a_plain_change_applies() {
        let patch = String::from_utf8(round("main.tf", LONG, "x = 1", "x = 2")).unwrap();
        assert!(patch.starts_with("diff --git a/main.tf b/main.tf\nindex "), "{patch}");
        assert!(patch.contains("\n--- a/main.tf\n+++ b/main.tf\n@@ "), "{patch}");
    }

    #[test]
    fn files_without_a_last_newline_apply() {
        round("main.tf", "a = 1\nb = 2", "b = 2", "b = 3");
        round("main.tf", "a = 1\nb = 2", "b = 2", "b = 2\n");
        round("main.tf", "a = 1\nb = 2\n", "b = 2\n", "b = 2");
    }

    #[test]
    fn new_content_at_the_end_applies() {
        round("main.tf", LONG, "# four\n", "# four\n\nresource \"c\" \"d\" {\n}\n");
        round("main.tf", "a = 1", "a = 1", "a = 1\n\nresource \"c\" \"d\" {\n}\n");
    }

    #[test]
    fn line_ends_and_marks_stay() {
        round("main.tf", &LONG.replace('\n', "\r\n"), "x = 1", "x = 2");
        round("main.tf", &format!("\u{feff}{LONG}"), "# one", "# eins");
        round("main.tf", "a = 1\r\nb = 2\nc = 3\r\n", "b = 2\n", "b = 2\r\n");
        round("main.tf", "a = \"\u{c}\u{0}\"\nb = 2\n", "b = 2", "b = 3");
    }

    #[test]
    fn paths_of_all_kinds_apply() {
        for name in
            ["a b/c d.tf", "ü/日本.tf", "q\"uote\\back.tf", "tab\there.tf", "trailing .tf", "-dash.tf", " lead.tf"]
        {
            round(name, LONG, "x = 1", "x = 2");
        }
    }

    #[test]
    fn edits_of_another_text_give_no_patch() {
        let path = RelPath::new("a.tf").unwrap();
        let change = FileChange { base_sha256: sha256_hex(b"old"), edits: Vec::new() };
        let changeset = Changeset { files: [(path.clone(), change)].into() };
        assert!(unified(&[(path, "new".to_owned())].into(), &changeset).is_err());
    }
}
