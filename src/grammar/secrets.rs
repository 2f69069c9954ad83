//! What may stand where a secret is wanted: never a text.
//!
//! In: what the module declares. Out: references to what it has for secrets, else the name of a new variable, and that
//! variable's text. Its default is empty, so that the module is planned as before, and a provider that needs the secret
//! refuses it: who runs terraform has to give it.

use std::collections::BTreeSet;

use crate::source::{Block, BlockAddr, references};

use super::hcl;
use super::names::Names;

/// What holds or makes a secret, and by which attribute.
const MAKERS: [(&str, &str); 3] = [
    ("random_password", "result"),
    ("random_string", "result"),
    ("aws_secretsmanager_secret_version", "secret_string"),
];

/// What a block's secrets may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// Expressions that lead to one that is made or kept, as regular expressions.
    made: Vec<String>,
    /// Names of variables that are taken.
    taken: BTreeSet<String>,
    /// The name of the block.
    label: String,
}

impl Secrets {
    pub(super) fn of(names: &Names, of: &BlockAddr) -> Self {
        let behind = names.behind(of);
        let mut secrets = Self { label: of.labels.last().cloned().unwrap_or_default(), ..Self::default() };
        for (addr, name) in names.iter().filter(|(addr, _)| !behind.contains(*addr)) {
            match (addr.keyword.as_str(), addr.labels.as_slice()) {
                ("variable", [label]) => {
                    secrets.taken.insert(label.clone());
                }
                ("resource", [ty, label]) if name.repetition.is_none() => {
                    let made = MAKERS.iter().find(|(maker, _)| maker == ty);
                    secrets.made.extend(made.map(|(_, attribute)| format!(r"{ty}\.{label}\.{attribute}")));
                }
                _ => {}
            }
        }
        secrets
    }

    /// What may stand in an attribute, as a regular expression.
    pub(super) fn heads(&self, attribute: &str) -> Option<String> {
        // One of the same name is that one; else one for the same thing may be.
        if self.taken.contains(attribute) {
            return Some(format!(r"var\.{attribute}"));
        }
        let is_same =
            |name: &&String| name.ends_with(&format!("_{attribute}")) || attribute.ends_with(&format!("_{name}"));
        let variables = self.taken.iter().filter(is_same).map(|name| format!(r"var\.{name}"));
        let called = [attribute.to_owned(), format!("{}_{attribute}", self.label)];
        let new = called.into_iter().find(|name| !self.taken.contains(name)).map(|name| format!(r"var\.{name}"));
        let heads: Vec<String> = self.made.iter().cloned().chain(variables).chain(new).collect();
        (!heads.is_empty()).then(|| heads.join("|"))
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
