//! What of an answer is not needed: parts are left out one at a time, and what still does is kept.
//!
//! In: an answer, and after each text that comes out of [`Least::next`] whether it does. Out: the least of the answer that
//! did. A part is an attribute or block of the target, at first as a whole, then, where a block is needed, what is in it; and
//! each new block. Later parts are tried first, so that the places of those before them stay as they are.

use std::ops::Range;

use crate::source::{Block, Item, RelPath, SourceFile};

/// Texts that are tried, at most.
const MOST: usize = 24;

/// The state of the search.
#[derive(Debug)]
pub(super) struct Least {
    /// What does.
    text: String,
    /// What is to be left out next, the last one first; with what is in it.
    parts: Vec<Part>,
    /// The part that is tried.
    tried: Option<Part>,
    left: usize,
}

#[derive(Clone, Debug)]
struct Part {
    span: Range<usize>,
    inner: Vec<Part>,
}

impl Part {
    fn of(item: &Item) -> Self {
        let inner = match item {
            Item::Attribute(_) => Vec::new(),
            Item::Block(block) => Self::inside(block),
        };
        Self { span: item.span().clone(), inner }
    }

    fn inside(block: &Block) -> Vec<Self> {
        block.body.items.iter().map(Self::of).collect()
    }
}

impl Least {
    /// Begins with a whole answer.
    pub fn of(answer: &str) -> Self {
        let file = SourceFile::parse(RelPath::default(), answer.as_bytes().to_vec());
        let mut blocks = file.iter().flat_map(|file| file.body().blocks());
        let mut parts = blocks.next().map(Part::inside).unwrap_or_default();
        // What is in a new block was asked for of blocks of its type.
        parts.extend(blocks.map(|block| Part { span: block.span.clone(), inner: Vec::new() }));
        // One part alone is what does.
        if parts.len() == 1 {
            parts = parts.remove(0).inner;
        }
        Self { text: answer.to_owned(), parts, tried: None, left: MOST }
    }

    /// A text that is less than what does, to be tried; `None` at the end. Its answer is told by [`Least::tell`].
    pub fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        let part = self.parts.pop()?;
        let less = self.without(&part.span);
        self.tried = Some(part);
        Some(less)
    }

    /// Whether the text that was tried last does.
    pub fn tell(&mut self, does: bool) {
        let Some(part) = self.tried.take() else { return };
        match does {
            true => self.text = self.without(&part.span),
            // Without the one thing that is in it, it would be another block, seldom a lesser one.
            false if part.inner.len() > 1 => self.parts.extend(part.inner),
            false => {}
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
        assert_eq!(text.trim_end(), "resource \"a\" \"b\" {\n  e {\n    g = 2\n  }\n}");
        let (text, _) = least(ANSWER, |text| text.contains("k = 1"));
        assert_eq!(text, "resource \"a\" \"b\" {\n}\n\nresource \"i\" \"j\" {\n  k = 1\n}\n");
        let (text, _) = least(ANSWER, |text| text.contains("c = 1") && text.contains("f = 1"));
        assert_eq!(text.trim_end(), "resource \"a\" \"b\" {\n  c = 1\n  e {\n    f = 1\n  }\n}");
    }

    #[test]
    fn an_answer_of_which_all_is_needed_stays_as_it_is() {
        let (text, tried) = least(ANSWER, |_| false);
        // The new block, the nested one, what is in it, and the two attributes.
        assert_eq!((text.as_str(), tried), (ANSWER, 7));
        let single = "resource \"a\" \"b\" {\n  c = 1\n}\n";
        assert_eq!(least(single, |_| true), (single.to_owned(), 0));
        assert_eq!(least("no HCL {", |_| true).1, 0);
    }

    #[test]
    fn no_more_is_tried_than_a_bound_allows() {
        let items: String = (0..100).map(|n| format!("  a{n} = {n}\n")).collect();
        assert_eq!(least(&format!("resource \"a\" \"b\" {{\n{items}}}\n"), |_| false).1, MOST);
    }
}
