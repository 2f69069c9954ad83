//! `caulk apply`: a bundle's fixes to the working tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::exit::{ExitStatus, Failure};
use crate::output::bundle::{Bundle, problems};
use crate::output::manifest::v1;
use crate::output::select::{Choice, select};
use crate::output::{OutputError, apply, stdout};

use super::counted;

/// Write the fixes of a bundle to the files that it was made for.
///
/// All files are checked before the first one is written: if one has changed since it was scanned, nothing is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle's folder
    #[arg(default_value = "caulk-out")]
    pub bundle: PathBuf,
    /// The folder that was scanned; by default where the bundle says, else the current folder
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Only fixes that need no review
    #[arg(long)]
    pub safe_only: bool,
    /// Only the fix of this number, and those that it includes; can be given several times
    #[arg(long = "fix", value_name = "N")]
    pub fixes: Vec<usize>,
    #[command(flatten)]
    pub seal: super::seal::Options,
}

/// Runs the command.
///
/// # Errors
/// When there is no sound bundle, a file has changed, or cannot be written.
pub fn run(args: &Args) -> Result<ExitStatus, Failure> {
    let bundle = Bundle::open(&args.bundle)?;
    // What a reviewer read must be what is written: the patches and the log are checked too, not only the edits.
    if let Some(problem) = problems(&bundle)?.into_iter().next() {
        let what = format!("{} is not as it was written: {problem}", args.bundle.display());
        return Err(Failure::new(ExitStatus::Input, what).hint("`caulk bundle verify` names all that is wrong"));
    }
    let (changesets, all) = bundle.changes()?;
    let fixes = &bundle.manifest.run.fixes;
    let numbers = numbers(fixes, args)?;
    let choices: Vec<_> =
        changesets.iter().zip(fixes).map(|(changeset, fix)| Choice { changeset, includes: &fix.includes }).collect();
    let changeset = select(&choices, &all, &numbers)?;
    let told = args.root.clone().or_else(|| bundle.root());
    let root = told.clone().unwrap_or_else(|| Path::new(".").to_owned());
    // Where nobody says which folder it is, the working directory may be any.
    let is_here = changeset.files.keys().any(|file| file.under(&root).exists());
    if let (None, false, Some(file)) = (&told, is_here, changeset.files.keys().next()) {
        let what = format!(
            "{} does not say where the folder is that was scanned, and there is no {file} here",
            args.bundle.display()
        );
        return Err(Failure::new(ExitStatus::Input, what).hint("--root names that folder"));
    }
    // A folder that is not there is told below, and not made.
    let _closed = if root.is_dir() { args.seal.close(&[&root])? } else { None };
    let files = apply::write(&root, &changeset)?;
    let mut text = String::new();
    for file in &files {
        text.push_str(&format!("{file}\n"));
    }
    text.push_str(&format!(
        "{} of {} applied to {}\n",
        numbers.len(),
        counted(fixes.len(), "fix", "fixes"),
        counted(files.len(), "file", "files")
    ));
    Ok(stdout::print(&text)?.or(ExitStatus::Clean))
}

/// The fixes asked for, with those that they include.
fn numbers(fixes: &[v1::Fix], args: &Args) -> Result<BTreeSet<usize>, Failure> {
    let get = |number: usize| {
        let fix = number.checked_sub(1).and_then(|index| fixes.get(index));
        fix.ok_or(OutputError::NoFix { number, count: fixes.len() })
    };
    let asked: Vec<usize> = if args.fixes.is_empty() { (1..=fixes.len()).collect() } else { args.fixes.clone() };
    let mut numbers = BTreeSet::new();
    for number in asked {
        let mut whole = BTreeSet::from([number]);
        let mut open = get(number)?.includes.clone();
        while let Some(included) = open.pop() {
            if whole.insert(included) {
                open.extend(&get(included)?.includes);
            }
        }
        let mut safe = true;
        for &part in &whole {
            safe &= get(part)?.applicability == v1::Applicability::Safe;
        }
        if safe || !args.safe_only {
            numbers.extend(whole);
        } else if !args.fixes.is_empty() {
            return Err(Failure::new(
                ExitStatus::Usage,
                format!("fix {number} needs a review, or includes one that does"),
            )
            .hint("leave out --safe-only once you have looked at it"));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(number: usize, applicability: v1::Applicability, includes: &[usize]) -> v1::Fix {
        v1::Fix {
            number,
            findings: Vec::new(),
            patch: String::new(),
            applicability,
            review_reasons: Vec::new(),
            includes: includes.to_vec(),
            verdicts: Vec::new(),
        }
    }

    fn chosen(safe_only: bool, asked: &[usize]) -> Result<Vec<usize>, Failure> {
        use v1::Applicability::{Review, Safe};
        let fixes = [fix(1, Safe, &[]), fix(2, Review, &[1]), fix(3, Safe, &[2]), fix(4, Safe, &[])];
        let args =
            Args { bundle: PathBuf::new(), root: None, safe_only, fixes: asked.to_vec(), seal: Default::default() };
        numbers(&fixes, &args).map(|numbers| numbers.into_iter().collect())
    }

    #[test]
    fn fixes_bring_what_they_include() {
        assert_eq!(chosen(false, &[]).unwrap(), [1, 2, 3, 4]);
        assert_eq!(chosen(false, &[3]).unwrap(), [1, 2, 3]);
        assert_eq!(chosen(false, &[4, 1]).unwrap(), [1, 4]);
    }

    #[test]
    fn safe_means_that_all_of_it_is_safe() {
        assert_eq!(chosen(true, &[]).unwrap(), [1, 4]);
        assert_eq!(chosen(true, &[3]).unwrap_err().status, ExitStatus::Usage);
        assert_eq!(chosen(false, &[5]).unwrap_err().status, ExitStatus::Usage);
    }
}
