//! What would satisfy a rule that fails on a block, found by running the rule on the block with changes (`explore.py`).
//!
//! In: the block, and what its type consists of. Out: alternatives, each a list of what must be for the rule to pass.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ScannerError;
use super::checkov::CheckovWorker;
use crate::rules::{Alternatives, At, Explored, Must, Wanted};
use crate::schema::Block;
use crate::source::document::Step;
use crate::source::{BlockAddr, RelPath};

/// A block on which a rule fails.
#[derive(Clone, Copy, Debug)]
pub struct Exploration<'a> {
    /// The folder that holds its module and those that it calls.
    pub root: &'a Path,
    /// The rule.
    pub rule: &'a str,
    /// The block's file, relative to the folder.
    pub file: &'a RelPath,
    /// The block.
    pub block: &'a BlockAddr,
    /// What its type consists of.
    pub schema: &'a Block,
}

impl CheckovWorker {
    /// What would satisfy a rule; nothing where running it does not tell.
    ///
    /// # Errors
    /// When Checkov fails on the folder, or the worker died or hung twice.
    pub fn explore(&mut self, exploration: &Exploration<'_>) -> Result<Explored, ScannerError> {
        let Exploration { root, rule, file, block, schema } = *exploration;
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let [ty, name] = block.labels.as_slice() else { return Ok(Explored::nothing()) };
        let told: Whole = self.ask(&json!({
            "op": "explore", "root": root, "rule": rule, "file": file.as_str(), "type": ty, "name": name, "schema": schema,
        }))?;
        Ok(Explored { ways: read(told.ways), is_settable: told.settable })
    }
}

impl CheckovWorker {
    /// What each rule wants of a new block that holds what its type requires, by type; of rules that are code.
    ///
    /// # Errors
    /// When the worker died or hung twice.
    pub fn house(
        &mut self,
        types: &BTreeMap<String, Block>,
    ) -> Result<BTreeMap<String, Vec<Alternatives>>, ScannerError> {
        let told: BTreeMap<String, Vec<Vec<Vec<Told>>>> = self.ask(&json!({ "op": "house", "types": types }))?;
        let rules = |rules: Vec<Vec<Vec<Told>>>| rules.into_iter().map(read).collect();
        Ok(told.into_iter().map(|(ty, told)| (ty, rules(told))).collect())
    }
}

fn read(told: Vec<Vec<Told>>) -> Alternatives {
    told.into_iter().map(|changes| changes.into_iter().map(Told::into_wanted).collect()).collect()
}

/// What the worker tells of one block.
#[derive(Debug, Deserialize)]
struct Whole {
    ways: Vec<Vec<Told>>,
    settable: bool,
}

/// A change as the worker writes it.
#[derive(Debug, Deserialize)]
struct Told {
    path: Vec<String>,
    at: Option<Vec<usize>>,
    new: bool,
    inside: Option<Vec<Step>>,
    #[serde(flatten)]
    must: Musts,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "must", rename_all = "lowercase")]
enum Musts {
    Be {
        values: Vec<Value>,
    },
    Exist {
        #[serde(default)]
        but: Vec<Value>,
    },
    Absent,
}

impl Told {
    fn into_wanted(self) -> Wanted {
        let at = match (self.inside, self.at) {
            (Some(steps), _) => At::Inside(steps),
            _ if self.new => At::New,
            (None, Some(positions)) => At::These(positions),
            (None, None) => At::All,
        };
        let must = match self.must {
            Musts::Be { values } => Must::Be(values),
            Musts::Exist { but } if but.is_empty() => Must::Exist,
            Musts::Exist { but } => Must::NotBe(but),
            Musts::Absent => Must::NotExist,
        };
        Wanted { path: self.path, at, must }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        let told = r#"[[{"path": ["a"], "at": null, "new": false, "must": "exist"},
            {"path": ["b", "c"], "at": [0, 2], "new": false, "must": "be", "values": [true]}],
            [{"path": ["b"], "at": null, "new": true, "must": "absent"}],
            [{"path": ["p"], "at": null, "new": false, "inside": ["S", 0], "must": "absent"}]]"#;
        let told: Vec<Vec<Told>> = serde_json::from_str(told).unwrap();
        let wanted = read(told);
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let second = Wanted { path: path(&["b", "c"]), at: At::These(vec![0, 2]), must: Must::Be(vec![json!(true)]) };
        let third = Wanted { path: path(&["b"]), at: At::New, must: Must::NotExist };
        let inside = At::Inside(vec![Step::Key("S".into()), Step::Position(0)]);
        let fourth = Wanted { path: path(&["p"]), at: inside, must: Must::NotExist };
        assert_eq!(wanted, [vec![Wanted::new(path(&["a"]), Must::Exist), second], vec![third], vec![fourth]]);
    }
}
