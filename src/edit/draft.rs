//! The target block while it is edited: after each step it is parsed anew, so that every span is right for the next.

use crate::source::{Attribute, Block, Body, RelPath, SourceFile};

use super::canonical::canonical;
use super::changeset::TextEdit;
use super::insert::Addition;
use super::layers::Layered;
use super::merge::MergeError;
use super::page::Page;
use super::scope::{Scope, Slot};
use super::settle::{Column, settle};
use super::style::Style;

/// The fix that the draft's layers are about; there is only one.
const THIS: usize = 0;

/// A block as a text of its own, and what was changed so far.
pub struct Draft<'a> {
    style: &'a Style,
    file: SourceFile,
    layers: Layered,
}

/// A nested body: positions among the blocks of each body on the way.
pub type BodyPath = Vec<usize>;

impl<'a> Draft<'a> {
    /// Starts with the text of one block.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn new(style: &'a Style, text: &str) -> Result<Self, MergeError> {
        Ok(Self { style, file: parse(text)?, layers: Layered::new(text) })
    }

    /// Ends the work: the edits against the text that it began with.
    ///
    /// # Errors
    /// When the result does not parse.
    pub fn finish(mut self) -> Result<Vec<TextEdit>, MergeError> {
        for column in [Column::Assign, Column::Comment] {
            let edits = settle(&self.layers.base(), self.text(), &self.edits(), self.style, column);
            self.apply(&edits)?;
        }
        Ok(self.edits())
    }

    fn edits(&self) -> Vec<TextEdit> {
        self.layers.edits_with(&[THIS].into())
    }

    /// The block as it is now, as a file of its own.
    pub fn file(&self) -> &SourceFile {
        &self.file
    }

    fn text(&self) -> &str {
        self.file.text()
    }

    /// A body by its path.
    pub fn body(&self, path: &[usize]) -> Option<&Body> {
        let mut block: &Block = self.file.body().blocks().next()?;
        for position in path {
            block = block.body.blocks().nth(*position)?;
        }
        Some(&block.body)
    }

    /// Sets an attribute that is there; an object literal over an object literal is merged by key.
    ///
    /// # Errors
    /// When the result does not parse.
    pub fn set(&mut self, path: &[usize], key: &str, value: &str) -> Result<(), MergeError> {
        self.set_in(path, &[key], value)
    }

    /// Sets what the keys lead to: an attribute, then items of objects.
    fn set_in(&mut self, path: &[usize], keys: &[&str], value: &str) -> Result<(), MergeError> {
        let Some((_, slot)) = self.locate(path, keys) else { return Ok(()) };
        let Some(assignment) = &slot.assignment else { return Ok(()) };
        let old = &self.text()[assignment.value.clone()];
        if canonical(old) == canonical(value) {
            return Ok(());
        }
        let over = Scope::of_object(value, &(0..value.len()));
        match (Scope::of_object(self.text(), &assignment.value), over) {
            (Some(_), Some(over)) => self.merge_object(path, keys, &over, value),
            _ => {
                let edits = self.page().set(&slot, value);
                self.apply(&edits)
            }
        }
    }

    fn merge_object(&mut self, path: &[usize], keys: &[&str], over: &Scope, source: &str) -> Result<(), MergeError> {
        let mut additions = Vec::new();
        for slot in &over.slots {
            let Some(assignment) = &slot.assignment else { continue };
            let value = &source[assignment.value.clone()];
            let inner = [keys, &[slot.name.as_str()]].concat();
            match (self.locate(path, &inner), value) {
                (Some((scope, slot)), "null") => {
                    let edit = self.page().remove(&scope, &slot);
                    self.apply(&[edit])?;
                }
                (None, "null") => {}
                (Some(_), _) => self.set_in(path, &inner, value)?,
                (None, _) => {
                    let key = source[slot.span.start..assignment.key_end].to_owned();
                    additions.push(Addition { key, value: value.to_owned() });
                }
            }
        }
        if let Some((_, slot)) = self.locate(path, keys)
            && let Some(assignment) = &slot.assignment
            && let Some(scope) = Scope::of_object(self.text(), &assignment.value)
        {
            self.add_to(&scope, &additions)?;
        }
        Ok(())
    }

    /// The attribute of the first key and the object items that the others lead to: the scope and the slot in it.
    fn locate(&self, path: &[usize], keys: &[&str]) -> Option<(Scope, Slot)> {
        let find = |scope: &Scope, name: &str| {
            scope.slots.iter().find(|slot| slot.name == name && slot.assignment.is_some()).cloned()
        };
        let (first, rest) = keys.split_first()?;
        let mut scope = Scope::of_body(self.body(path)?);
        let mut slot = find(&scope, first)?;
        for key in rest {
            scope = Scope::of_object(self.text(), &slot.assignment.as_ref()?.value)?;
            slot = find(&scope, key)?;
        }
        Some((scope, slot))
    }

    /// Adds attributes to a body.
    ///
    /// # Errors
    /// When the result does not parse.
    pub fn add(&mut self, path: &[usize], additions: &[Addition]) -> Result<(), MergeError> {
        match self.body(path).map(Scope::of_body) {
            Some(scope) => self.add_to(&scope, additions),
            None => Ok(()),
        }
    }

    fn add_to(&mut self, scope: &Scope, additions: &[Addition]) -> Result<(), MergeError> {
        if additions.is_empty() {
            return Ok(());
        }
        let edits = self.page().add(scope, additions);
        self.apply(&edits)
    }

    /// Makes a nested block of an attribute that is an object, as those were written before Terraform 0.12.
    ///
    /// # Errors
    /// When its items are not written as a block's are.
    pub fn make_block(&mut self, path: &[usize], key: &str) -> Result<(), MergeError> {
        let Some((_, slot)) = self.locate(path, &[key]) else { return Ok(()) };
        let Some(assignment) = &slot.assignment else { return Ok(()) };
        let text = self.text();
        let (between, object) = (&text[assignment.key_end..assignment.value.start], &text[assignment.value.clone()]);
        // A comment between would be lost, and items between commas are no block's.
        let is_plain = between.chars().all(|c| c.is_whitespace() || c == '=');
        let is_body = SourceFile::parse(RelPath::default(), format!("{key} {object}\n").into_bytes()).is_ok();
        match is_plain && is_body {
            true => self.apply(&[TextEdit::replace(assignment.key_end..assignment.value.start, " ")]),
            false => Err(MergeError::Ambiguous(format!("`{key}` is an attribute here: write `{key} = …`"))),
        }
    }

    /// Adds a nested block to a body.
    ///
    /// # Errors
    /// When the result does not parse.
    pub fn add_block(&mut self, path: &[usize], keyword: &str, block: &str) -> Result<(), MergeError> {
        let Some(scope) = self.body(path).map(Scope::of_body) else { return Ok(()) };
        let edit = self.page().add_block(&scope, keyword, block);
        self.apply(&[edit])
    }

    /// Takes out an attribute, or all nested blocks of a type.
    ///
    /// # Errors
    /// When the result does not parse.
    pub fn remove(&mut self, path: &[usize], name: &str) -> Result<(), MergeError> {
        while let Some(scope) = self.body(path).map(Scope::of_body)
            && let Some(slot) = scope.slots.iter().find(|slot| slot.name == name)
        {
            let edit = self.page().remove(&scope, slot);
            self.apply(&[edit])?;
        }
        Ok(())
    }

    fn page(&self) -> Page<'_> {
        Page::new(self.file.text(), self.style)
    }

    fn apply(&mut self, edits: &[TextEdit]) -> Result<(), MergeError> {
        let unsound = |at| MergeError::Parse(format!("the edits do not fit at byte {at} of the block"));
        self.layers.push(THIS, edits).map_err(unsound)?;
        self.file = parse(&self.layers.text())?;
        Ok(())
    }
}

fn parse(text: &str) -> Result<SourceFile, MergeError> {
    SourceFile::parse(RelPath::default(), text.as_bytes().to_vec()).map_err(|error| {
        MergeError::Parse(format!("after the merge, line {} of the block: {}", error.line, error.message))
    })
}

/// Whether an attribute is `null`.
pub fn is_null(file: &SourceFile, attribute: &Attribute) -> bool {
    file.slice(&attribute.value) == "null"
}
