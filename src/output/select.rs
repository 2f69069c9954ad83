//! Some of a run's fixes, taken together over the base.
//!
//! Each fix's changeset stands on the base and holds the edits of the fixes that it includes. So of the fixes asked
//! for, those that another one includes are left out, and the edits of the rest are united.

use std::collections::BTreeSet;

use crate::edit::{Changeset, FileChange, TextEdit};

use super::OutputError;

/// A fix to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Its edits against the base, with those of the fixes that it includes.
    pub changeset: &'a Changeset,
    /// Numbers (from 1) of the fixes that it includes.
    pub includes: &'a [usize],
}

/// The changeset of the fixes with these numbers (from 1) and all that they include. `all` is that of all fixes.
///
/// # Errors
/// When a number does not exist, or two fixes change the same place in ways that cannot be put side by side.
pub fn select(fixes: &[Choice<'_>], all: &Changeset, numbers: &BTreeSet<usize>) -> Result<Changeset, OutputError> {
    let mut wanted = BTreeSet::new();
    let mut open: Vec<usize> = numbers.iter().copied().collect();
    while let Some(number) = open.pop() {
        let fix = get(fixes, number)?;
        if wanted.insert(number) {
            open.extend(fix.includes);
        }
    }
    if wanted.len() == fixes.len() {
        return Ok(all.clone());
    }
    let mut tops = wanted.clone();
    for &number in &wanted {
        for included in get(fixes, number)?.includes {
            tops.remove(included);
        }
    }
    let mut union = Union::default();
    for &number in &tops {
        union.add(fixes, number)?;
    }
    Ok(union.finish())
}

fn get<'a>(fixes: &[Choice<'a>], number: usize) -> Result<Choice<'a>, OutputError> {
    let fix = number.checked_sub(1).and_then(|index| fixes.get(index));
    fix.copied().ok_or(OutputError::NoFix { number, count: fixes.len() })
}

/// Edits with the fix that each came from.
#[derive(Default)]
struct Union {
    files: std::collections::BTreeMap<crate::source::RelPath, (String, Vec<(TextEdit, usize)>)>,
}

impl Union {
    fn add(&mut self, fixes: &[Choice<'_>], number: usize) -> Result<(), OutputError> {
        for (path, change) in &get(fixes, number)?.changeset.files {
            let (_, edits) = self.files.entry(path.clone()).or_insert_with(|| (change.base_sha256.clone(), Vec::new()));
            for edit in &change.edits {
                let clash = edits.iter().find(|(other, from)| {
                    *from != number && other != edit && !side_by_side(fixes, (other, *from), (edit, number))
                });
                if let Some((_, first)) = clash {
                    return Err(OutputError::Conflict { first: *first, second: number, file: path.to_string() });
                }
                // The same edit comes twice from two fixes that include a third one.
                if !edits.iter().any(|(other, from)| *from != number && other == edit) {
                    edits.push((edit.clone(), number));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Changeset {
        let files = self.files.into_iter().map(|(path, (base_sha256, mut edits))| {
            // Stable: insertions at one place stay in the order of their fixes.
            edits.sort_by_key(|(edit, _)| (edit.range.start, edit.range.end));
            (path, FileChange { base_sha256, edits: edits.into_iter().map(|(edit, _)| edit).collect() })
        });
        Changeset { files: files.collect() }
    }
}

/// Whether two edits of different fixes can both be made. Two insertions at one place can, one after the other, unless
/// both fixes include a third: what that one wrote could be in both.
fn side_by_side(fixes: &[Choice<'_>], (a, a_fix): (&TextEdit, usize), (b, b_fix): (&TextEdit, usize)) -> bool {
    if a.range.is_empty() && b.range.is_empty() && a.range == b.range {
        let includes = |number: usize| get(fixes, number).map(|fix| fix.includes).unwrap_or_default();
        return !includes(a_fix).iter().any(|number| includes(b_fix).contains(number));
    }
    a.range.end <= b.range.start || b.range.end <= a.range.start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RelPath;

    fn changes(edits: &[(std::ops::Range<usize>, &str)]) -> Changeset {
        let edits = edits.iter().map(|(r, i)| TextEdit { range: r.clone(), insert: (*i).to_owned() }).collect();
        let change = FileChange { base_sha256: "h".to_owned(), edits };
        Changeset { files: [(RelPath::new("a.tf").unwrap(), change)].into() }
    }

    fn pick(fixes: &[(Changeset, Vec<usize>)], numbers: &[usize]) -> Result<Vec<String>, OutputError> {
        let choices: Vec<_> = fixes.iter().map(|(changeset, includes)| Choice { changeset, includes }).collect();
        let all = changes(&[(0..0, "all")]);
        let picked = select(&choices, &all, &numbers.iter().copied().collect())?;
        Ok(picked
            .files
            .into_values()
            .flat_map(|c| c.edits)
            .map(|e| format!("{}:{}", e.range.start, e.insert))
            .collect())
    }

    #[test]
    fn all_fixes_are_the_whole() {
        let fixes = [(changes(&[(1..2, "x")]), vec![]), (changes(&[(1..2, "y")]), vec![1])];
        assert_eq!(pick(&fixes, &[2]).unwrap(), ["0:all"], "2 brings 1 along");
    }

    #[test]
    fn an_included_fix_is_not_applied_twice() {
        let fixes = [
            (changes(&[(5..5, "X")]), vec![]),
            (changes(&[(1..2, "b"), (5..5, "XY")]), vec![1]),
            (changes(&[(9..9, "c")]), vec![]),
        ];
        assert_eq!(pick(&fixes, &[1, 2]).unwrap(), ["1:b", "5:XY"]);
        assert_eq!(pick(&fixes, &[1, 3]).unwrap(), ["5:X", "9:c"]);
    }

    #[test]
    fn a_shared_fix_is_applied_once() {
        let fixes = [
            (changes(&[(5..5, "X")]), vec![]),
            (changes(&[(1..2, "b"), (5..5, "X")]), vec![1]),
            (changes(&[(5..5, "X"), (7..8, "c")]), vec![1]),
            (changes(&[(9..9, "d")]), vec![]),
        ];
        assert_eq!(pick(&fixes, &[2, 3]).unwrap(), ["1:b", "5:X", "7:c"]);
    }

    #[test]
    fn insertions_at_one_place_stand_in_the_order_of_the_fixes() {
        let fixes = [
            (changes(&[(5..5, "one")]), vec![]),
            (changes(&[(5..5, "two")]), vec![]),
            (changes(&[(9..9, "z")]), vec![]),
        ];
        assert_eq!(pick(&fixes, &[1, 2]).unwrap(), ["5:one", "5:two"]);
    }

    #[test]
    fn what_cannot_be_put_side_by_side_is_refused() {
        let overlap =
            [(changes(&[(1..4, "a")]), vec![]), (changes(&[(2..3, "b")]), vec![]), (changes(&[(9..9, "z")]), vec![])];
        assert!(matches!(pick(&overlap, &[1, 2]), Err(OutputError::Conflict { first: 1, second: 2, .. })));
        let same_root = [
            (changes(&[(5..5, "X")]), vec![]),
            (changes(&[(5..5, "XY")]), vec![1]),
            (changes(&[(5..5, "XZ")]), vec![1]),
            (changes(&[(9..9, "z")]), vec![]),
        ];
        assert!(matches!(pick(&same_root, &[2, 3]), Err(OutputError::Conflict { .. })));
        assert!(matches!(pick(&overlap, &[4]), Err(OutputError::NoFix { number: 4, count: 3 })));
        assert!(matches!(pick(&overlap, &[0]), Err(OutputError::NoFix { number: 0, .. })));
    }
}
