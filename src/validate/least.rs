//! What of an answer is not needed: parts are left out one at a time, and what still does is kept.
//!
//! In: an answer, and after each text that comes out of [`Least::next`] whether it does. Out: the least of the answer that
//! did. A part is an attribute of the target, or a nested block that is the only one of its type. What is in a nested block
//! stays, as without its name it may be taken for another one; and so do new blocks: what one is for that nothing names, a
//! scanner does not see. Later parts are tried first, so that the places of those before them stay as they are.

use std::ops::Range;

use crate::source::{RelPath, SourceFile};

/// Texts that are tried, at most.
const MOST: usize = 24;

/// The state of the search.
#[derive(Debug)]
pub(super) struct Least {
    /// What does.
    text: String,
    /// What is to be left out next, the last one first.
    parts: Vec<Range<usize>>,
    /// The part that is tried.
    tried: Option<Range<usize>>,
    left: usize,
}

impl Least {
    /// Begins with a whole answer.
    pub fn of(answer: &str) -> Self {
        let file = SourceFile::parse(RelPath::default(), answer.as_bytes().to_vec());
        let target = file.iter().flat_map(|file| file.body().blocks()).next();
        let items = target.map(|target| target.body.items.as_slice()).unwrap_or_default();
        let single = |name: &str| items.iter().filter(|item| item.name() == name).count() == 1;
        let parts: Vec<Range<usize>> =
            items.iter().filter(|item| single(item.name())).map(|item| item.span().clone()).collect();
        // One item alone is what does.
        let parts = if items.len() > 1 { parts } else { Vec::new() };
        Self { text: answer.to_owned(), parts, tried: None, left: MOST }
    }

    /// A text that is less than what does, to be tried; `None` at the end. Its answer is told by [`Least::tell`].
    pub fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        let part = self.parts.pop()?;
        let less = self.without(&part);
        self.tried = Some(part);
        Some(less)
    }

    /// Whether the text that was tried last does.
    pub fn tell(&mut self, does: bool) {
        if let Some(part) = self.tried.take().filter(|_| does) {
            self.text = self.without(&part);
        }
    }

    /// The least that did.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The text without a part and the line that it leaves empty.
    fn without(&self, span: &Range<usize>) -> String {
        let start = self.text[..span.start].rfind('\n').filter(|at| self.text[*at..span.start].trim().is_empty());
        format!("{}{}", &self.text[..start.unwrap_or(span.start)], &self.text[span.end..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "resource \"a\" \"b\" {\n  c = 1\n  d = null\n  e {\n    f = 1\n    g = 2\n    h = 3\n  }\n}\n\n\
                          resource \"i\" \"j\" {\n  k = 1\n}\n";

    fn least(answer: &str, does: impl Fn(&str) -> bool) -> (String, usize) {
        let mut least = Least::of(answer);
        let mut tried = 0;
        while let Some(less) = least.next() {
            tried += 1;
            least.tell(does(&less));
        }
        (least.into_text(), tried)
    }

    #[test]
    fn what_is_not_needed_is_left_out() {
        let (text, _) = least(ANSWER, |text| text.contains("g = 2"));
        let e = "  e {\n    f = 1\n    g = 2\n    h = 3\n  }\n";
        let new = "resource \"i\" \"j\" {\n  k = 1\n}\n";
        assert_eq!(text, format!("resource \"a\" \"b\" {{\n{e}}}\n\n{new}"));
        let (text, _) = least(ANSWER, |text| text.contains("k = 1"));
        assert_eq!(text, format!("resource \"a\" \"b\" {{\n}}\n\n{new}"));
        let (text, _) = least(ANSWER, |text| text.contains("c = 1") && text.contains("f = 1"));
        assert_eq!(text, format!("resource \"a\" \"b\" {{\n  c = 1\n{e}}}\n\n{new}"));
    }

    #[test]
    fn an_answer_of_which_all_is_needed_stays_as_it_is() {
        let (text, tried) = least(ANSWER, |_| false);
        // The nested block and the two attributes.
        assert_eq!((text.as_str(), tried), (ANSWER, 3));
        let single = "resource \"a\" \"b\" {\n  c = 1\n}\n";
        assert_eq!(least(single, |_| true), (single.to_owned(), 0));
        assert_eq!(least("no HCL {", |_| true).1, 0);
    }

    #[test]
    fn of_several_blocks_of_a_type_all_stay() {
        let answer = "resource \"a\" \"b\" {\n  c = 1\n  e {\n    f = 1\n  }\n  e {\n    f = 2\n  }\n}\n";
        assert_eq!(least(answer, |_| true).0, answer.replace("  c = 1\n", ""));
    }

    #[test]
    fn no_more_is_tried_than_a_bound_allows() {
        let items: String = (0..100).map(|n| format!("  a{n} = {n}\n")).collect();
        assert_eq!(least(&format!("resource \"a\" \"b\" {{\n{items}}}\n"), |_| false).1, MOST);
    }
}
