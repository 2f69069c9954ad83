//! What may stand where a secret is wanted: never a text.
//!
//! In: what the module declares. Out: references to what it has for this very secret, else the name of a new variable, and that
//! variable's text. No two blocks get the same secret. The variable's default is empty: a provider that needs the secret
//! refuses that when it plans, so who runs terraform has to give one.

use std::collections::BTreeSet;

use crate::source::{Block, BlockAddr, references};

use super::hcl;
use super::names::Names;

/// What holds or makes a secret, and by which attribute.
const MAKERS: [(&str, &str); 2] =
    [("random_password", "result"), ("aws_secretsmanager_secret_version", "secret_string")];

/// What a block's secrets may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// Expressions that lead to one that is made or kept, as regular expressions.
    made: Vec<String>,
    /// Names of variables that are taken.
    taken: BTreeSet<String>,
    /// The type of the block, and its name.
    ty: String,
    label: String,
}

impl Secrets {
    pub(super) fn of(names: &Names, of: &BlockAddr) -> Self {
        let behind = names.behind(of);
        let ty = of.resource_type().unwrap_or_default().to_owned();
        let mut secrets = Self { ty, label: of.labels.last().cloned().unwrap_or_default(), ..Self::default() };
        for (addr, name) in names.iter().filter(|(addr, _)| !behind.contains(*addr)) {
            match (addr.keyword.as_str(), addr.labels.as_slice()) {
                ("variable", [label]) => {
                    secrets.taken.insert(label.clone());
                }
                ("resource", [ty, label]) if name.repetition.is_none() && secrets.is_of_block(label) => {
                    let made = MAKERS.iter().find(|(maker, _)| maker == ty);
                    secrets.made.extend(made.map(|(_, attribute)| format!(r"{ty}\.{label}\.{attribute}")));
                }
                _ => {}
            }
        }
        secrets
    }

    /// Whether a name is made of words that the block is called by.
    fn is_of_block(&self, name: &str) -> bool {
        name.split('_').all(|word| self.ty.split('_').chain(self.label.split('_')).any(|own| own == word))
    }

    /// What may stand in an attribute, as a regular expression.
    pub(super) fn heads(&self, attribute: &str) -> String {
        if self.taken.contains(attribute) {
            return format!(r"var\.{attribute}");
        }
        let is_own =
            |name: &&String| name.strip_suffix(&format!("_{attribute}")).is_some_and(|of| self.is_of_block(of));
        let variables = self.taken.iter().filter(is_own).map(|name| format!(r"var\.{name}"));
        let new = format!(r"var\.{}_{attribute}", self.label);
        self.made.iter().cloned().chain(variables).chain([new]).collect::<Vec<_>>().join("|")
    }
}

/// A new variable for the secret that one of the blocks names.
pub(super) fn variable(addr: &BlockAddr, blocks: &[&Block]) -> String {
    let name = addr.labels.last().map(String::as_str).unwrap_or_default();
    let of = blocks.iter().find(|block| references(block).contains(addr)).map(|block| block.addr());
    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
    let description = hcl::quote(&format!("Secret{of}: to be given from outside of the code."));
    format!(
        "variable \"{name}\" {{\n  type        = string\n  description = {description}\n  default     = \"\"\n  \
         sensitive   = true\n}}"
    )
}
