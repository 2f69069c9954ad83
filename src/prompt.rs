//! Fills the templates of `prompts/` for one finding.
//!
//! In: [`Ask`], the target with its surroundings, the rule's wish, what was refused before. Out: chat turns. The system
//! text and the worked examples come first and are the same for every finding, so that the model's cache keeps them.
//!
//! `prompts/` is embedded; [`Prompts::load`] takes another folder of the same layout: `system.md`, `finding.md` (a
//! minijinja template) and `examples/*.toml` (in the order of their names).

use std::path::Path;

use minijinja::{Environment, context};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::exit::{ExitStatus, Failure};
use crate::model::{ChatTurn, Role};

const SYSTEM: &str = include_str!("../prompts/system.md");
const FINDING: &str = include_str!("../prompts/finding.md");
const EXAMPLES: [(&str, &str); 6] = [
    ("1-value.toml", include_str!("../prompts/examples/1-value.toml")),
    ("2-nested.toml", include_str!("../prompts/examples/2-nested.toml")),
    ("3-key.toml", include_str!("../prompts/examples/3-key.toml")),
    ("4-connection.toml", include_str!("../prompts/examples/4-connection.toml")),
    ("5-rules.toml", include_str!("../prompts/examples/5-rules.toml")),
    ("6-take-out.toml", include_str!("../prompts/examples/6-take-out.toml")),
];

/// What the model is asked.
#[derive(Clone, Debug, Serialize)]
pub struct Ask<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// The rule's title.
    pub title: &'a str,
    /// What the rule wants, in words or code.
    pub wish: &'a str,
    /// The block's text.
    pub target: &'a str,
    /// Texts of the blocks around it, empty when there are none.
    pub related: &'a str,
    /// Earlier answers and why they were refused.
    pub rejected: &'a [Refusal],
}

/// An answer that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The answer.
    pub answer: String,
    /// Why it was refused.
    pub reasons: Vec<String>,
}

/// A worked example: an ask and the answer that is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// What it shows; for the reader of the file.
    #[serde(rename = "kind")]
    _kind: String,
    rule: String,
    title: String,
    wish: String,
    related: String,
    target: String,
    answer: String,
}

/// A folder of prompts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        Failure::new(ExitStatus::Usage, error.to_string())
            .hint("a prompts folder holds system.md, finding.md and examples/*.toml, as caulk's own prompts/ does")
    }
}

/// The templates, parsed and checked.
#[derive(Debug)]
pub struct Prompts {
    env: Environment<'static>,
    opening: Vec<ChatTurn>,
    sha256: String,
}

impl Prompts {
    /// The embedded prompts.
    ///
    /// # Errors
    /// None that a test would not have shown: the files are part of the binary.
    pub fn embedded() -> Result<Self, PromptError> {
        let examples = EXAMPLES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self::new(SYSTEM.to_owned(), FINDING.to_owned(), examples.into())
    }

    /// The prompts of a folder.
    ///
    /// # Errors
    /// When a file is missing, is no TOML, or the template does not compile.
    pub fn load(dir: &Path) -> Result<Self, PromptError> {
        let read = |path: &Path| {
            let shown = path.display().to_string();
            std::fs::read_to_string(path).map_err(|source| PromptError::Read { path: shown, source })
        };
        let folder = dir.join("examples");
        let entries = std::fs::read_dir(&folder)
            .map_err(|source| PromptError::Read { path: folder.display().to_string(), source })?;
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
        paths.sort();
        let examples = paths.iter().map(|path| Ok((path.display().to_string(), read(path)?)));
        Self::new(read(&dir.join("system.md"))?, read(&dir.join("finding.md"))?, examples.collect::<Result<_, _>>()?)
    }

    fn new(system: String, finding: String, examples: Vec<(String, String)>) -> Result<Self, PromptError> {
        let mut hash = Sha256::new();
        for text in [&system, &finding].into_iter().chain(examples.iter().map(|(_, text)| text)) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let mut env = Environment::new();
        let bad = |path: &str, message: String| PromptError::Content { path: path.to_owned(), message };
        env.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        env.add_template_owned("finding", finding).map_err(|e| bad("finding.md", e.to_string()))?;
        let opening = vec![ChatTurn::new(Role::System, system.trim_end().to_owned())];
        let sha256 = hex(&hash.finalize());
        let mut prompts = Self { env, opening, sha256 };
        for (path, text) in examples {
            let example: Example = toml::from_str(&text).map_err(|e| bad(&path, e.to_string()))?;
            let ask = Ask {
                rule: &example.rule,
                title: &example.title,
                wish: example.wish.trim(),
                target: example.target.trim(),
                related: example.related.trim(),
                rejected: &[],
            };
            let question = prompts.question(&ask)?;
            prompts.opening.push(question);
            prompts.opening.push(ChatTurn::new(Role::Assistant, example.answer.trim().to_owned()));
        }
        Ok(prompts)
    }

    /// SHA-256 over all files, lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The system text and the worked examples: what every prompt begins with.
    pub fn opening(&self) -> &[ChatTurn] {
        &self.opening
    }

    /// The whole chat for one ask.
    ///
    /// # Errors
    /// When the template asks for something that there is not.
    pub fn turns(&self, ask: &Ask<'_>) -> Result<Vec<ChatTurn>, PromptError> {
        let mut turns = self.opening.clone();
        turns.push(self.question(ask)?);
        Ok(turns)
    }

    fn question(&self, ask: &Ask<'_>) -> Result<ChatTurn, PromptError> {
        let template = self.env.get_template("finding");
        let text = template.and_then(|t| t.render(context! { ..minijinja::Value::from_serialize(ask) }));
        let bad = |e: minijinja::Error| PromptError::Content { path: "finding.md".into(), message: e.to_string() };
        Ok(ChatTurn::new(Role::User, text.map_err(bad)?.trim_end().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>(related: &'a str, rejected: &'a [Refusal]) -> Ask<'a> {
        Ask { rule: "R1", title: "Be safe", wish: "a must be 1", target: "resource \"t\" \"n\" {}", related, rejected }
    }

    #[test]
    fn every_prompt_opens_with_the_same_turns_and_ends_with_the_question() {
        let prompts = Prompts::embedded().unwrap();
        let turns = prompts.turns(&ask("", &[])).unwrap();
        assert_eq!(turns[..turns.len() - 1], *prompts.opening());
        assert_eq!(turns.len(), 2 + 2 * EXAMPLES.len());
        let question = &turns.last().unwrap().content;
        assert_eq!(question, "The block:\n```hcl\nresource \"t\" \"n\" {}\n```\nIt fails R1: Be safe\na must be 1");
    }

    #[test]
    fn surroundings_and_refusals_are_told() {
        let refused = [Refusal { answer: "x {}".into(), reasons: vec!["still fails".into()] }];
        let turns = Prompts::embedded().unwrap().turns(&ask("locals {}", &refused)).unwrap();
        let question = &turns.last().unwrap().content;
        assert!(question.starts_with("Around it:\n```hcl\nlocals {}\n```\nThe block:"), "{question}");
        assert!(question.contains("```hcl\nx {}\n```\n- still fails\n"), "{question}");
    }

    #[test]
    fn answers_of_the_examples_are_overrides_of_their_target() {
        for pair in Prompts::embedded().unwrap().opening()[1..].chunks(2) {
            let header = pair[1].content.lines().next().unwrap();
            assert!(pair[0].content.contains(header), "{header}");
        }
    }

    #[test]
    fn a_folder_replaces_them_and_another_text_is_another_hash() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("examples")).unwrap();
        let missing = Prompts::load(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("system.md"), "{missing}");
        std::fs::write(dir.path().join("system.md"), "Be brief.").unwrap();
        std::fs::write(dir.path().join("finding.md"), "{{ target }}").unwrap();
        let prompts = Prompts::load(dir.path()).unwrap();
        assert_eq!(prompts.turns(&ask("", &[])).unwrap().len(), 2);
        assert_ne!(prompts.sha256(), Prompts::embedded().unwrap().sha256());
        std::fs::write(dir.path().join("finding.md"), "{{ nonsense }}").unwrap();
        assert!(Prompts::load(dir.path()).unwrap().turns(&ask("", &[])).is_err());
    }
}
