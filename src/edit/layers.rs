//! Several fixes over one base text, any subset of which can be taken.
//!
//! A file is a list of segments: each remembers the fix that wrote it and the fix that deleted it. The text of a subset
//! of the fixes is what these wrote (and the base) less what these deleted. In: edits against the text with all fixes
//! so far. Out: texts, and edits against the base, of any subset.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{RelPath, SourceTree};

use super::changeset::{Changeset, EditError, FileChange, TextEdit, apply_edits};

/// The number of a fix.
pub type FixId = usize;

#[derive(Clone, Debug)]
struct Segment {
    text: String,
    /// The fix that wrote it; `None` for the base.
    born: Option<FixId>,
    /// Which of all insertions wrote it; pieces of one insertion share the number.
    insertion: usize,
    /// The fix that deleted it.
    dead: Option<FixId>,
}

impl Segment {
    /// The part from `at` on becomes a segment of its own.
    fn split_off(&mut self, at: usize) -> Self {
        let text = self.text.split_off(at);
        Self { text, ..self.clone() }
    }

    fn visible(&self, fixes: &BTreeSet<FixId>) -> bool {
        self.born.is_none_or(|fix| fixes.contains(&fix)) && self.dead.is_none_or(|fix| !fixes.contains(&fix))
    }
}

/// One file with fixes over it.
#[derive(Clone, Debug)]
pub struct Layered {
    segments: Vec<Segment>,
    insertions: usize,
    /// What each fix builds on directly.
    needs: BTreeMap<FixId, BTreeSet<FixId>>,
}

impl Layered {
    /// A file without fixes.
    pub fn new(base: impl Into<String>) -> Self {
        let base = Segment { text: base.into(), born: None, insertion: 0, dead: None };
        Self { segments: vec![base], insertions: 0, needs: BTreeMap::new() }
    }

    /// The text with all fixes.
    pub fn text(&self) -> String {
        self.segments.iter().filter(|s| s.dead.is_none()).map(|s| s.text.as_str()).collect()
    }

    /// The base text.
    pub fn base(&self) -> String {
        self.text_with(&BTreeSet::new())
    }

    /// Adds a fix's edits, which are against [`Layered::text`], in order and not overlapping. A fix may push again.
    ///
    /// # Errors
    /// The byte at which the edits are not sound; nothing is changed then.
    pub fn push(&mut self, fix: FixId, edits: &[TextEdit]) -> Result<(), usize> {
        apply_edits(&self.text(), edits)?;
        let mut needs = BTreeSet::new();
        // From the last to the first, so that the ranges of those before stay right.
        for edit in edits.iter().rev() {
            let first = self.cut(edit.range.start);
            let last = if edit.range.is_empty() { first } else { self.cut(edit.range.end) };
            needs.extend(self.writers_around(first));
            if last > first {
                needs.extend(self.writers_around(last));
            }
            for segment in &mut self.segments[first..last] {
                // Text that another fix had deleted within the range: without that fix it would be left over.
                needs.extend(segment.born);
                needs.extend(segment.dead);
                segment.dead.get_or_insert(fix);
            }
            if !edit.insert.is_empty() {
                self.insertions += 1;
                let text = edit.insert.clone();
                let written = Segment { text, born: Some(fix), insertion: self.insertions, dead: None };
                self.segments.insert(last, written);
            }
        }
        needs.remove(&fix);
        self.needs.entry(fix).or_default().extend(needs);
        Ok(())
    }

    /// Splits the segments at a byte of the current text; the index of the segment that starts there. Deleted segments
    /// at that place come after the index: an insertion stands directly behind the text before it.
    fn cut(&mut self, at: usize) -> usize {
        let mut start = 0;
        for index in 0..self.segments.len() {
            if at == start {
                return index;
            }
            let segment = &mut self.segments[index];
            if segment.dead.is_some() {
                continue;
            }
            let end = start + segment.text.len();
            if at < end {
                let rest = segment.split_off(at - start);
                self.segments.insert(index + 1, rest);
                return index + 1;
            }
            start = end;
        }
        self.segments.len()
    }

    /// The fixes whose written text lies on both sides of a segment border.
    fn writers_around(&self, index: usize) -> impl Iterator<Item = FixId> {
        let left: BTreeSet<usize> = self.segments[..index].iter().map(|s| s.insertion).collect();
        self.segments[index..].iter().filter(move |s| left.contains(&s.insertion)).filter_map(|s| s.born)
    }

    /// The fixes that a fix builds on, transitively: those whose text it deleted or wrote inside of, and those whose
    /// deletions lie inside of its own.
    pub fn requires(&self, fix: FixId) -> BTreeSet<FixId> {
        closure(fix, |fix| self.needs.get(&fix))
    }

    /// The text with some of the fixes. `fixes` should hold what its members require.
    pub fn text_with(&self, fixes: &BTreeSet<FixId>) -> String {
        self.segments.iter().filter(|s| s.visible(fixes)).map(|s| s.text.as_str()).collect()
    }

    /// The edits that turn the base into [`Layered::text_with`].
    pub fn edits_with(&self, fixes: &BTreeSet<FixId>) -> Vec<TextEdit> {
        let mut edits: Vec<TextEdit> = Vec::new();
        let mut at = 0;
        for segment in &self.segments {
            let visible = segment.visible(fixes);
            let (from, base) = (at, segment.born.is_none());
            if base {
                at += segment.text.len();
            }
            if base == visible {
                continue;
            }
            let written = if visible { segment.text.as_str() } else { "" };
            match edits.last_mut() {
                Some(last) if last.range.end == from => {
                    last.range.end = at;
                    last.insert.push_str(written);
                }
                _ => edits.push(TextEdit::replace(from..at, written)),
            }
        }
        edits
    }
}

fn closure<'a>(fix: FixId, needs: impl Fn(FixId) -> Option<&'a BTreeSet<FixId>>) -> BTreeSet<FixId> {
    let mut all = BTreeSet::new();
    let mut open = vec![fix];
    while let Some(next) = open.pop() {
        for need in needs(next).into_iter().flatten() {
            if *need != fix && all.insert(*need) {
                open.push(*need);
            }
        }
    }
    all
}

/// A tree of files with fixes over them.
#[derive(Clone, Debug, Default)]
pub struct LayeredTree {
    files: BTreeMap<RelPath, Layered>,
}

impl LayeredTree {
    /// No fixes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fix. Its edits are against the texts with all fixes so far; `base` is the tree without any, which the
    /// text of a file that has no fixes yet is taken from.
    ///
    /// # Errors
    /// When the edits are not for these texts or not sound; nothing is changed then.
    pub fn push(&mut self, base: &SourceTree, fix: FixId, changeset: &Changeset) -> Result<(), EditError> {
        let mut files = self.files.clone();
        for (path, change) in &changeset.files {
            let layered = match files.get_mut(path) {
                Some(layered) => layered,
                None => {
                    let file = base.file(path).ok_or_else(|| EditError::Missing { file: path.to_string() })?;
                    files.entry(path.clone()).or_insert_with(|| Layered::new(file.text()))
                }
            };
            change.apply(path, &layered.text())?;
            let unsound = |at| EditError::Range { file: path.to_string(), at };
            layered.push(fix, &change.edits).map_err(unsound)?;
        }
        self.files = files;
        Ok(())
    }

    /// Takes fixes back for good, as if they had never been pushed: what they wrote is gone, what they deleted stands
    /// again. `fixes` must hold all fixes that build on one of them.
    pub fn remove(&mut self, fixes: &BTreeSet<FixId>) {
        for layered in self.files.values_mut() {
            layered.segments.retain(|segment| segment.born.is_none_or(|fix| !fixes.contains(&fix)));
            for segment in &mut layered.segments {
                segment.dead = segment.dead.filter(|fix| !fixes.contains(fix));
            }
            layered.needs.retain(|fix, _| !fixes.contains(fix));
        }
    }

    /// What a fix builds on, transitively, over all files.
    pub fn requires(&self, fix: FixId) -> BTreeSet<FixId> {
        let mut needs: BTreeMap<FixId, BTreeSet<FixId>> = BTreeMap::new();
        for (fix, needed) in self.files.values().flat_map(|layered| &layered.needs) {
            needs.entry(*fix).or_default().extend(needed);
        }
        closure(fix, |fix| needs.get(&fix))
    }

    /// A set of fixes together with all that they build on.
    pub fn closed(&self, fixes: &BTreeSet<FixId>) -> BTreeSet<FixId> {
        fixes.iter().flat_map(|fix| self.requires(*fix)).chain(fixes.iter().copied()).collect()
    }

    /// The text of a file with some of the fixes; `None` for a file that no fix touches.
    pub fn text_with(&self, path: &RelPath, fixes: &BTreeSet<FixId>) -> Option<String> {
        Some(self.files.get(path)?.text_with(fixes))
    }

    /// Some of the fixes as edits against the base. `fixes` should be closed, see [`LayeredTree::closed`].
    pub fn changeset_with(&self, fixes: &BTreeSet<FixId>) -> Changeset {
        let changes = self.files.iter().map(|(path, layered)| {
            let edits = layered.edits_with(fixes);
            (path.clone(), FileChange::new(&layered.base(), edits))
        });
        Changeset { files: changes.filter(|(_, change)| !change.edits.is_empty()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fixes: &[FixId]) -> BTreeSet<FixId> {
        fixes.iter().copied().collect()
    }

    fn edit(text: &str, old: &str, new: &str) -> Vec<TextEdit> {
        let at = text.find(old).unwrap();
        vec![TextEdit::replace(at..at + old.len(), new)]
    }

    #[test]
    fn a_fix_that_is_taken_back_leaves_the_others_and_room_for_new_ones() {
        let file = crate::source::SourceFile::parse(RelPath::new("a.tf").unwrap(), b"a = 1\nb = 2\n".to_vec()).unwrap();
        let base = SourceTree::from_files("/nowhere", [file]);
        let path = RelPath::new("a.tf").unwrap();
        let change = |text: &str, old: &str, new: &str| Changeset {
            files: [(path.clone(), FileChange::new(text, edit(text, old, new)))].into(),
        };
        let mut layers = LayeredTree::new();
        layers.push(&base, 0, &change("a = 1\nb = 2\n", "1", "10")).unwrap();
        layers.push(&base, 1, &change("a = 10\nb = 2\n", "2", "20")).unwrap();
        layers.remove(&set(&[0]));
        layers.push(&base, 2, &change("a = 1\nb = 20\n", "1", "11")).unwrap();
        assert_eq!(layers.text_with(&path, &set(&[1, 2])).unwrap(), "a = 11\nb = 20\n");
        assert!(layers.requires(2).is_empty());
    }

    #[test]
    fn independent_fixes_can_be_taken_apart() {
        let mut layered = Layered::new("a = 1\nb = 2\n");
        layered.push(1, &edit(&layered.text(), "1", "10")).unwrap();
        layered.push(2, &edit(&layered.text(), "2", "20")).unwrap();
        layered.push(3, &[TextEdit::insert(7, "c = 3\n")]).unwrap();
        assert_eq!(layered.text(), "a = 10\nc = 3\nb = 20\n");
        assert_eq!(layered.text_with(&set(&[2])), "a = 1\nb = 20\n");
        assert_eq!(layered.text_with(&set(&[3])), "a = 1\nc = 3\nb = 2\n");
        assert_eq!(
            layered.edits_with(&set(&[2, 3])),
            [TextEdit::insert(6, "c = 3\n"), TextEdit::replace(10..11, "20")]
        );
        assert!([1, 2, 3].iter().all(|fix| layered.requires(*fix).is_empty()));
    }

    #[test]
    fn who_deletes_or_enters_text_of_a_fix_requires_it() {
        let mut layered = Layered::new("x {\n}\n");
        layered.push(1, &[TextEdit::insert(4, "  y {\n  }\n")]).unwrap();
        layered.push(2, &edit(&layered.text(), "  y {\n", "  y {\n    z = 1\n")).unwrap();
        layered.push(3, &edit(&layered.text(), "1", "2")).unwrap();
        layered.push(4, &edit(&layered.text(), "x {\n", "x {\n  w = 1\n")).unwrap();
        assert_eq!(layered.text(), "x {\n  w = 1\n  y {\n    z = 2\n  }\n}\n");
        assert_eq!(layered.requires(2), set(&[1]));
        assert_eq!(layered.requires(3), set(&[1, 2]));
        assert_eq!(layered.requires(4), set(&[]));
        assert_eq!(layered.text_with(&set(&[4])), "x {\n  w = 1\n}\n");
    }

    #[test]
    fn who_deletes_around_a_deletion_requires_it() {
        let mut layered = Layered::new("a\nb\nc\n");
        layered.push(1, &edit("a\nb\nc\n", "b\n", "")).unwrap();
        layered.push(2, &edit("a\nc\n", "a\nc\n", "d\n")).unwrap();
        assert_eq!(layered.requires(2), set(&[1]));
    }

    #[test]
    fn adjacency_is_no_dependency_and_order_is_kept() {
        let mut layered = Layered::new("ab");
        layered.push(1, &[TextEdit::insert(1, "1")]).unwrap();
        layered.push(2, &[TextEdit::insert(1, "2")]).unwrap();
        layered.push(3, &[TextEdit::insert(3, "3")]).unwrap();
        assert_eq!(layered.text(), "a213b");
        assert_eq!(layered.text_with(&set(&[1, 3])), "a13b");
        assert!([1, 2, 3].iter().all(|fix| layered.requires(*fix).is_empty()));
    }

    #[test]
    fn unsound_edits_change_nothing() {
        let mut layered = Layered::new("aé");
        assert_eq!(layered.push(1, &[TextEdit::insert(0, "x"), TextEdit::replace(0..2, "")]), Err(2));
        assert_eq!(layered.text(), "aé");
    }

    /// A text as a list of marked characters: what layers must agree with.
    #[derive(Clone)]
    struct Naive(Vec<(char, Option<FixId>, Option<FixId>)>);

    impl Naive {
        fn push(&mut self, fix: FixId, range: std::ops::Range<usize>, insert: &str) {
            let alive: Vec<usize> = (0..self.0.len()).filter(|i| self.0[*i].2.is_none()).collect();
            for at in &alive[range.clone()] {
                self.0[*at].2 = Some(fix);
            }
            // Directly behind the last character before the insertion, deleted or not.
            let at = match range.end {
                0 => 0,
                end => alive[end - 1] + 1,
            };
            self.0.splice(at..at, insert.chars().map(|c| (c, Some(fix), None)));
        }

        fn text_with(&self, fixes: &BTreeSet<FixId>) -> String {
            let born = |fix: Option<FixId>| fix.is_none_or(|fix| fixes.contains(&fix));
            let dead = |fix: Option<FixId>| fix.is_some_and(|fix| fixes.contains(&fix));
            self.0.iter().filter(|(_, b, d)| born(*b) && !dead(*d)).map(|(c, _, _)| *c).collect()
        }
    }

    #[test]
    fn random_sequences_agree_with_a_naive_model() {
        let mut state = 7_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for _ in 0..300 {
            let base = "abcdefghij";
            let mut layered = Layered::new(base);
            let mut naive = Naive(base.chars().map(|c| (c, None, None)).collect());
            for fix in 1..=6 {
                let len = layered.text().len();
                let start = random(len + 1);
                let end = (start + random(4)).min(len);
                let insert = &"ABCDEFG"[..random(4)];
                layered.push(fix, &[TextEdit::replace(start..end, insert)]).unwrap();
                naive.push(fix, start..end, insert);
            }
            for subset in 0_usize..64 {
                let mut fixes: BTreeSet<FixId> = (1..=6).filter(|fix| subset & (1 << (fix - 1)) != 0).collect();
                fixes = fixes.iter().flat_map(|fix| layered.requires(*fix)).chain(fixes.iter().copied()).collect();
                assert_eq!(layered.text_with(&fixes), naive.text_with(&fixes));
                assert_eq!(apply_edits(base, &layered.edits_with(&fixes)).unwrap(), layered.text_with(&fixes));
            }
            assert_eq!(layered.text_with(&(1..=6).collect()), layered.text());
        }
    }
}
