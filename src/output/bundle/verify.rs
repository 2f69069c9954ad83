//! Checks a bundle against itself.

use std::collections::BTreeSet;

use crate::output::{OutputError, audit, manifest::v1, patch};

use super::{AUDIT, Bundle, CHANGES, MANIFEST};

/// What is not as caulk wrote it, one sentence each: files by their hashes, the audit log's chain, patches that do not
/// parse or touch other files than the edits, findings and fixes that do not fit together. Empty when all is well.
///
/// # Errors
/// When the folder cannot be read.
pub fn problems(bundle: &Bundle) -> Result<Vec<String>, OutputError> {
    let mut problems = Vec::new();
    for name in bundle.strangers()? {
        problems.push(format!("{name} is not in {MANIFEST}"));
    }
    for file in &bundle.manifest.files {
        if let Err(error) = bundle.file(&file.path) {
            problems.extend(sentences(error)?);
        }
    }
    let run = &bundle.manifest.run;
    match bundle.changes() {
        Err(error) => problems.extend(sentences(error)?),
        Ok((fixes, all)) => {
            for (fix, changeset) in run.fixes.iter().zip(&fixes) {
                problems.extend(patch_problem(bundle, &fix.patch, changeset));
            }
            if let Some(name) = &bundle.manifest.all_patch {
                problems.extend(patch_problem(bundle, name, &all));
            }
        }
    }
    if let Ok(bytes) = bundle.file(AUDIT) {
        problems.extend(audit::problems(&String::from_utf8_lossy(&bytes)));
    }
    problems.extend(references(run));
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    Ok(problems)
}

fn sentences(error: OutputError) -> Result<Vec<String>, OutputError> {
    match error {
        OutputError::Damaged { problems, .. } => Ok(problems),
        other => Err(other),
    }
}

/// The patch must change the files that the edits change. A file that was changed on disk is told elsewhere.
fn patch_problem(bundle: &Bundle, name: &str, changeset: &crate::edit::Changeset) -> Option<String> {
    let bytes = bundle.file(name).ok()?;
    let expected: BTreeSet<&str> = changeset.files.keys().map(|path| path.as_str()).collect();
    match patch::changed_files(&bytes) {
        Err(error) => Some(format!("{name} is no patch ({error})")),
        Ok(files) if files.iter().map(String::as_str).collect::<BTreeSet<_>>() != expected => {
            Some(format!("{name} changes other files than {CHANGES}"))
        }
        Ok(_) => None,
    }
}

fn references(run: &v1::Run) -> Vec<String> {
    let mut problems = Vec::new();
    for finding in &run.findings {
        let fixed = finding.outcome == v1::Outcome::Fixed;
        let there = finding.fix.is_some_and(|fix| fix >= 1 && fix <= run.fixes.len());
        if fixed != there {
            problems.push(format!("{MANIFEST}: finding {} and its fix do not fit together", finding.id));
        }
    }
    let ids: BTreeSet<&str> = run.findings.iter().map(|finding| finding.id.as_str()).collect();
    for fix in &run.fixes {
        if fix.findings.iter().any(|id| !ids.contains(id.as_str())) {
            problems.push(format!("{MANIFEST}: fix {} closes a finding that is not there", fix.number));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::output::{bundle, sample};

    /// The problems of the sample's bundle after a change to its folder.
    fn after(change: impl FnOnce(&Path)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        bundle::write(&sample::report(), dir.path()).unwrap();
        change(dir.path());
        problems(&Bundle::open(dir.path()).unwrap()).unwrap()
    }

    fn edit(dir: &Path, name: &str, from: &str, to: &str) {
        let path = dir.join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} holds {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    #[test]
    fn a_bundle_as_written_is_well() {
        assert_eq!(after(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn what_was_done_to_it_is_told() {
        assert_eq!(after(|dir| edit(dir, "all.patch", "private", "public")), ["all.patch was changed"]);
        assert_eq!(after(|dir| fs::remove_file(dir.join("report.sarif")).unwrap()), ["report.sarif is missing"]);
        assert_eq!(after(|dir| fs::write(dir.join("x.patch"), "").unwrap()), ["x.patch is not in manifest.json"]);
        assert_eq!(after(|dir| edit(dir, CHANGES, "private", "public")), ["changes.json was changed"]);
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_told() {
        let fix = after(|dir| edit(dir, MANIFEST, "\"fix\": 3", "\"fix\": 4"));
        assert!(fix[0].ends_with("and its fix do not fit together"), "{fix:?}");
    }

    #[test]
    fn hashes_that_were_brought_along_do_not_hide_a_broken_chain() {
        let found = after(|dir| {
            let text = fs::read_to_string(dir.join(AUDIT)).unwrap();
            let changed = text.replacen("still fails", "is closed", 1);
            fs::write(dir.join(AUDIT), &changed).unwrap();
            let hash = |text: &str| crate::digest::sha256_hex(text.as_bytes());
            edit(dir, MANIFEST, &hash(&text), &hash(&changed));
        });
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("audit.jsonl:4: the chain breaks"), "{found:?}");
    }
}
