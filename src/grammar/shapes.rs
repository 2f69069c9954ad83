//! Which names are nested blocks and which are attributes, as far as the rule and the module's own code show it.
//!
//! HCL writes `name { … }` or `name = …`, and only the provider's schema says which; what a rule inspects below a list
//! position (`encryption_configuration/[0]/kms_key`) is a block, and a name that the module already writes in a block
//! of the same type is what it is written as.

use std::collections::BTreeSet;

use crate::source::{Body, Item};

/// Names by the way in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes {
    pub(super) attributes: BTreeSet<String>,
    pub(super) blocks: BTreeSet<String>,
}

impl Shapes {
    /// Learns from the attribute paths of a rule, `/`-separated with list positions as `[0]`, and from bodies of blocks
    /// of the target's type. A name that is seen in both ways is left open.
    pub fn learn<'a>(keys: impl IntoIterator<Item = &'a str>, bodies: impl IntoIterator<Item = &'a Body>) -> Self {
        let mut shapes = Self::default();
        for key in keys {
            let parts: Vec<&str> = key.split('/').collect();
            for window in parts.windows(3) {
                if let [name, position, child] = window
                    && position.starts_with('[')
                    && !child.starts_with('[')
                {
                    shapes.blocks.insert((*name).to_owned());
                }
            }
        }
        for body in bodies {
            shapes.see(body);
        }
        let both: Vec<String> = shapes.attributes.intersection(&shapes.blocks).cloned().collect();
        for name in both {
            shapes.attributes.remove(&name);
            shapes.blocks.remove(&name);
        }
        shapes
    }

    fn see(&mut self, body: &Body) {
        for item in &body.items {
            match item {
                Item::Attribute(attribute) => {
                    self.attributes.insert(attribute.key.clone());
                }
                Item::Block(block) => {
                    // The content of a `dynamic` block stands for blocks of its label.
                    let name = if block.keyword == "dynamic" { block.labels.first() } else { Some(&block.keyword) };
                    self.blocks.extend(name.cloned());
                    self.see(&block.body);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{RelPath, SourceFile};

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn paths_below_a_list_position_are_blocks() {
        let shapes = Shapes::learn(["a/[0]/b/[0]/c", "list/[0]", "plain", "x/y"], []);
        assert_eq!(names(&shapes.blocks), ["a", "b"]);
    }

    #[test]
    fn what_is_written_shows_the_shape_and_what_is_written_both_ways_stays_open() {
        let text = "r \"t\" \"n\" {\n  a = 1\n  b {\n    both = 2\n  }\n  both {}\n}\n";
        let file = SourceFile::parse(RelPath::new("a.tf").unwrap(), text.into()).unwrap();
        let shapes = Shapes::learn([], file.body().blocks().map(|block| &block.body));
        assert_eq!(names(&shapes.attributes), ["a"]);
        assert_eq!(names(&shapes.blocks), ["b"]);
    }
}
