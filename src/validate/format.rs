//! The format gate: `terraform fmt` must leave the changed lines alone.

use std::collections::BTreeSet;

use crate::outcome::Judgement;
use crate::process::ProcessError;
use crate::source::{BlockAddr, RelPath, SourceTree};

use super::terraform::Terraform;

/// Judges one file's new text.
///
/// # Errors
/// When terraform cannot be run.
pub(super) fn judge(
    terraform: Option<&Terraform>,
    before: &SourceTree,
    after: &SourceTree,
    file: &RelPath,
    target: &BlockAddr,
) -> Result<Judgement, ProcessError> {
    let Some(terraform) = terraform else {
        return Ok(Judgement::Unavailable { why: "neither terraform nor tofu is on the PATH".into() });
    };
    let (Some(old), Some(new)) = (before.file(file), after.file(file)) else {
        return Ok(Judgement::Reject { reasons: vec![format!("{file} no longer parses")] });
    };
    let formatted = match terraform.fmt(new.text())? {
        Ok(formatted) => formatted,
        Err(message) => {
            return Ok(Judgement::Reject { reasons: vec![format!("terraform fmt refuses {file}: {message}")] });
        }
    };
    let (Ok(ours), Ok(moved)) = (new_lines(old.text(), new.text()), old_lines(new.text(), &formatted)) else {
        return Ok(Judgement::Unavailable { why: format!("the lines of {file} cannot be compared") });
    };
    let Some(line) = ours.intersection(&moved).next() else { return Ok(Judgement::Pass { note: None }) };
    // A block that was never formatted is left in its own style.
    if let (Some(block), Ok(before)) = (old.find(target), terraform.fmt(old.text())?) {
        let (first, last) = old.lines(&block.span);
        if old_lines(old.text(), &before).is_ok_and(|lines| lines.range(first..=last).next().is_some()) {
            return Ok(Judgement::Pass { note: Some("the block was not formatted before; its style is kept".into()) });
        }
    }
    Ok(Judgement::Reject {
        reasons: vec![format!("terraform fmt would change line {line} of {file}, which the fix wrote")],
    })
}

/// Lines of `new`, from 1, that are not in `old`.
fn new_lines(old: &str, new: &str) -> Result<BTreeSet<usize>, git2::Error> {
    changed_lines(old, new, '+')
}

/// Lines of `old`, from 1, that are not in `new`.
fn old_lines(old: &str, new: &str) -> Result<BTreeSet<usize>, git2::Error> {
    changed_lines(old, new, '-')
}

fn changed_lines(old: &str, new: &str, origin: char) -> Result<BTreeSet<usize>, git2::Error> {
    let mut options = git2::DiffOptions::new();
    options.context_lines(0).force_text(true);
    let mut lines = BTreeSet::new();
    let patch = git2::Patch::from_buffers(old.as_bytes(), None, new.as_bytes(), None, Some(&mut options))?;
    for hunk in 0..patch.num_hunks() {
        for index in 0..patch.num_lines_in_hunk(hunk)? {
            let line = patch.line_in_hunk(hunk, index)?;
            let number = if origin == '+' { line.new_lineno() } else { line.old_lineno() };
            if line.origin() == origin
                && let Some(number) = number
            {
                lines.insert(number as usize);
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::tree;
    use super::*;

    fn judged(before: &str, after: &str) -> Judgement {
        let terraform = Terraform::find().expect("terraform or tofu on the PATH");
        let file = RelPath::new("main.tf").unwrap();
        judge(Some(&terraform), &tree(before), &tree(after), &file, &BlockAddr::resource("t", "n")).unwrap()
    }

    #[test]
    fn formatted_lines_pass() {
        let before = "resource \"t\" \"n\" {\n  a = 1\n}\n";
        assert_eq!(judged(before, &before.replace("a = 1", "a = 2")), Judgement::Pass { note: None });
    }

    #[test]
    fn a_line_that_fmt_would_move_is_refused() {
        let before = "resource \"t\" \"n\" {\n  a = 1\n}\n";
        let after = judged(before, &before.replace("  a = 1\n", "  a = 1\n  b=2\n"));
        assert!(matches!(after, Judgement::Reject { reasons } if reasons[0].contains("line 3")));
    }

    #[test]
    fn a_block_that_was_never_formatted_keeps_its_style() {
        let before = "resource \"t\" \"n\" {\n    a=1\n    b=2\n}\n";
        assert!(matches!(judged(before, &before.replace("a=1", "a=3")), Judgement::Pass { note: Some(_) }));
    }

    #[test]
    fn without_terraform_the_gate_is_unavailable() {
        let tree = tree("resource \"t\" \"n\" {\n}\n");
        let file = RelPath::new("main.tf").unwrap();
        let judgement = judge(None, &tree, &tree, &file, &BlockAddr::resource("t", "n")).unwrap();
        assert!(matches!(judgement, Judgement::Unavailable { .. }));
    }
}
