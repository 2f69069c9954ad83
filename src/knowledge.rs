//! What people know that no scanner and no schema says: notes on families of rules, what new blocks are good for nothing
//! without, and the values of one's own house.
//!
//! In: the files of `prompts/rules/`, which are embedded, those of the folders that the user names, and the `caulk.toml` of
//! what is scanned. Out: [`Knowledge`], from which the prompt takes notes, the grammar values and what blocks hold, and the
//! guardrails what is not made up. All files are of one format (TOML):
//!
//! ```toml
//! [[note]]                        # told to the model after what the rule wants
//! rules = ["CKV_AWS_*"]           # all that are given must match; `*` stands for any characters
//! types = ["aws_*"]               # the type of the block that is to change
//! text = "…"
//!
//! [[block]]                       # what a new block holds, beside what the provider requires and the rules want
//! types = ["aws_flow_log"]
//! target = ["aws_vpc"]            # only where it is added for a block of these types, or named by one
//! holds = { traffic_type = ["ALL"], log_destination = [] }   # one of these values; anything where the list is empty; an
//!                                 # object or a list of them for nested blocks; `{name}` in a text is the target's name
//! nested = ["spec.probe"]         # then it is about these nested blocks of a block of the types, where one is added
//!
//! [[never]]                       # blocks that no answer adds: whether there is to be one is for a person to say
//! types = ["aws_s3_bucket"]
//! why = "…"
//!
//! [[review]]                      # what a person must look at: a new block of the types, or a change of these attributes in one
//! types = ["kubernetes_*"]
//! attributes = ["*.limits"]       # paths in the block; `*` stands for any characters
//! text = "…"                      # `{attribute}` stands for the path
//!
//! [[value]]                       # what stands in an attribute wherever an answer writes it
//! attribute = "kms_key_id"
//! types = ["aws_*"]
//! value = "arn:aws:kms:…"         # a text; or `expression`, as it is written where what it names is declared; or `pattern`, a
//!                                 # regular expression without anchors for the texts that the model finds; of nested
//!                                 # blocks' attributes where `attribute` covers `*.NAME`
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use glob::Pattern;
use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::exit::{ExitStatus, Failure};
use crate::rules::{Must, Wanted};

/// caulk's own.
const EMBEDDED: [(&str, &str); 8] = [
    ("applications.toml", include_str!("../prompts/rules/applications.toml")),
    ("buckets.toml", include_str!("../prompts/rules/buckets.toml")),
    ("databases.toml", include_str!("../prompts/rules/databases.toml")),
    ("keys.toml", include_str!("../prompts/rules/keys.toml")),
    ("logs.toml", include_str!("../prompts/rules/logs.toml")),
    ("names.toml", include_str!("../prompts/rules/names.toml")),
    ("networks.toml", include_str!("../prompts/rules/networks.toml")),
    ("review.toml", include_str!("../prompts/rules/review.toml")),
];

/// The file in the scanned folder that is read without being named.
pub const PROJECT_FILE: &str = "caulk.toml";

/// What people know.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    notes: Vec<Note>,
    blocks: Vec<NewBlock>,
    never: Vec<Never>,
    reviews: Vec<Review>,
    values: Vec<Given>,
    /// How many of the blocks are caulk's own.
    own_blocks: usize,
    /// All texts of the user's.
    texts: Vec<String>,
    sha256: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    note: Vec<Note>,
    block: Vec<NewBlock>,
    never: Vec<Never>,
    review: Vec<Review>,
    value: Vec<Given>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    #[serde(default)]
    rules: Patterns,
    #[serde(default)]
    types: Patterns,
    text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBlock {
    types: Patterns,
    #[serde(default)]
    target: Patterns,
    nested: Option<Patterns>,
    holds: BTreeMap<String, Vec<Value>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Never {
    types: Patterns,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    #[serde(default)]
    types: Patterns,
    attributes: Option<Patterns>,
    text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    attribute: Patterns,
    #[serde(default)]
    types: Patterns,
    /// A text.
    value: Option<String>,
    /// HCL as it stands.
    expression: Option<String>,
    /// What a text of the model's is like.
    pattern: Option<String>,
}

/// Names with `*` for any characters; none at all stand for every name.
#[derive(Clone, Debug, Default)]
struct Patterns(Vec<Pattern>);

impl Patterns {
    fn cover(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Names {
            One(String),
            Several(Vec<String>),
        }
        let names = match Names::deserialize(deserializer)? {
            Names::One(name) => vec![name],
            Names::Several(names) => names,
        };
        let patterns = names.iter().map(|name| Pattern::new(name)).collect::<Result<_, _>>();
        patterns.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A file of knowledge that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {message}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl From<KnowledgeError> for Failure {
    fn from(error: KnowledgeError) -> Self {
        Failure::new(ExitStatus::Usage, error.to_string()).hint(
            "a file of knowledge holds [[note]], [[block]], [[never]], [[review]] and [[value]], as those in caulk's own prompts/rules/ do",
        )
    }
}

impl Knowledge {
    /// caulk's own, then that of the folders' `*.toml` files in the order of their names, then that of the scanned folder.
    ///
    /// # Errors
    /// When a folder cannot be read, or a file is not what it should be.
    pub fn load(folders: &[PathBuf], scanned: Option<&Path>) -> Result<Self, KnowledgeError> {
        let mut knowledge = Self::default();
        let mut sha256 = Sha256::new();
        for (name, text) in EMBEDDED {
            knowledge.add(Path::new(name), text, &mut sha256)?;
        }
        knowledge.own_blocks = knowledge.blocks.len();
        let mut paths = Vec::new();
        for folder in folders {
            let read = |source| KnowledgeError::Read { path: folder.clone(), source };
            let entries = std::fs::read_dir(folder).map_err(read)?;
            let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(read)?;
            let mut files: Vec<PathBuf> =
                files.into_iter().filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
            files.sort();
            paths.extend(files);
        }
        paths.extend(scanned.map(|root| root.join(PROJECT_FILE)).filter(|path| path.is_file()));
        for path in paths {
            let text =
                std::fs::read_to_string(&path).map_err(|source| KnowledgeError::Read { path: path.clone(), source })?;
            let file = knowledge.add(&path, &text, &mut sha256)?;
            knowledge.texts.extend(file);
        }
        knowledge.sha256 = hex(&sha256.finalize());
        Ok(knowledge)
    }

    /// Takes a file in. Gives the texts that may be written because of it.
    fn add(&mut self, path: &Path, text: &str, sha256: &mut Sha256) -> Result<Vec<String>, KnowledgeError> {
        let wrong = |message: String| KnowledgeError::Content { path: path.to_owned(), message };
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        for given in &file.value {
            given.check().map_err(wrong)?;
        }
        sha256.update(text);
        let mut texts: Vec<String> = file.value.iter().filter_map(|given| given.value.clone()).collect();
        file.block.iter().flat_map(|block| block.holds.values().flatten()).for_each(|value| strings(value, &mut texts));
        self.notes.extend(file.note);
        self.blocks.extend(file.block);
        self.never.extend(file.never);
        self.reviews.extend(file.review);
        // Who says it later says it for sure.
        self.values.splice(0..0, file.value.into_iter().rev());
        Ok(texts)
    }

    /// A digest of all files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What is told of a rule's finding on a block of a type.
    pub fn notes<'a>(&'a self, rule: &'a str, ty: &'a str) -> impl Iterator<Item = &'a str> {
        let is_about = |note: &&Note| note.rules.cover(rule) && note.types.cover(ty);
        self.notes.iter().filter(is_about).map(|note| note.text.trim())
    }

    /// What a new block of a type holds that is added for blocks of other ones, of which the target is called so. Of one place
    /// the last file speaks.
    pub fn wants_of(&self, ty: &str, targets: &[&str], name: &str) -> Vec<Wanted> {
        let is_for = |block: &NewBlock| targets.iter().any(|target| block.target.cover(target));
        self.held(ty, name, |block| block.nested.is_none() && is_for(block))
    }

    /// What a nested block holds that is added to a block of a type, by its path. Of one place the last file speaks.
    pub fn wants_of_nested(&self, ty: &str, path: &str) -> Vec<Wanted> {
        self.held(ty, "", |block| block.nested.as_ref().is_some_and(|nested| nested.cover(path)))
    }

    fn held(&self, ty: &str, name: &str, is_about: impl Fn(&NewBlock) -> bool) -> Vec<Wanted> {
        let about = self.blocks.iter().filter(|block| block.types.cover(ty) && is_about(block));
        let mut held: BTreeMap<&str, &Vec<Value>> = BTreeMap::new();
        about.for_each(|block| held.extend(block.holds.iter().map(|(path, values)| (path.as_str(), values))));
        let wanted = |(path, values): (&str, &Vec<Value>)| {
            let named = values.iter().map(|value| with_name(value, name)).collect();
            let must = if values.is_empty() { Must::Exist } else { Must::Be(named) };
            Wanted::new(path.split('.').map(str::to_owned).collect(), must)
        };
        held.into_iter().map(wanted).collect()
    }

    /// Why no answer adds a block of a type; `None` where one may.
    pub fn never(&self, ty: &str) -> Option<&str> {
        self.never.iter().rev().find(|never| never.types.cover(ty)).map(|never| never.why.trim())
    }

    /// What may be written into an attribute of a block of a type, as HCL; the latest file's first.
    pub fn values<'a>(&'a self, ty: &'a str, attribute: &'a str) -> impl Iterator<Item = String> + 'a {
        self.values.iter().filter(|given| given.is_about(ty, attribute)).filter_map(Given::to_hcl)
    }

    /// What the texts are like that the model finds for an attribute of a block of a type: a regular expression without
    /// anchors. The latest file's.
    pub fn pattern(&self, ty: &str, attribute: &str) -> Option<&str> {
        self.values.iter().filter(|given| given.is_about(ty, attribute)).find_map(|given| given.pattern.as_deref())
    }

    /// Why a person must look at what is written to a path in a block of a type; the empty path stands for a new block.
    pub fn reviews<'a>(&'a self, ty: &'a str, path: &'a str) -> impl Iterator<Item = String> + 'a {
        let is_about = move |review: &&Review| {
            let attributes = review.attributes.as_ref();
            review.types.cover(ty) && attributes.map_or(path.is_empty(), |all| !path.is_empty() && all.cover(path))
        };
        self.reviews.iter().filter(is_about).map(move |review| review.text.trim().replace("{attribute}", path))
    }

    /// Whether the user has given a text for an attribute of a block of a type.
    pub fn gives(&self, ty: &str, attribute: &str, text: &str) -> bool {
        let values = self.values.iter().filter(|given| given.is_about(ty, attribute));
        let holds =
            self.blocks[self.own_blocks..].iter().filter(|block| block.types.cover(ty)).flat_map(|block| &block.holds);
        let mut held = Vec::new();
        holds
            .filter(|(path, _)| path.rsplit('.').next() == Some(attribute))
            .flat_map(|(_, values)| values)
            .for_each(|value| strings(value, &mut held));
        values
            .filter_map(|given| given.value.as_deref())
            .chain(held.iter().map(String::as_str))
            .any(|it| is_named(it, text))
    }

    /// The texts that the user has given: whoever writes one has not made it up.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// What stands for the target's name in a text.
const NAME: &str = "{name}";

/// Whether a text is a given one, with whatever name.
fn is_named(given: &str, text: &str) -> bool {
    match given.split_once(NAME) {
        Some((before, behind)) => text.strip_prefix(before).is_some_and(|rest| rest.ends_with(behind)),
        None => given == text,
    }
}

/// A value with the name in its texts.
fn with_name(value: &Value, name: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(NAME, name)),
        Value::Array(values) => values.iter().map(|value| with_name(value, name)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), with_name(value, name))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The texts in a value.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(entries) => entries.values().for_each(|value| strings(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the language of answers cannot have in a pattern: it is of one text as a whole, in quotes.
const NO_PATTERN: [&str; 13] = ["^", "$", "\"", "%", "\n", "\\b", "\\B", "\\A", "\\z", "(?", "*?", "+?", "??"];

impl Given {
    fn is_about(&self, ty: &str, attribute: &str) -> bool {
        self.types.cover(ty) && self.attribute.cover(attribute)
    }

    /// The value as it is written; `None` for a pattern.
    fn to_hcl(&self) -> Option<String> {
        let text = self.value.as_ref().map(|text| Value::from(text.as_str()).to_string());
        text.or_else(|| self.expression.as_ref().map(|expression| expression.trim().to_owned()))
    }

    /// Why it cannot be written.
    fn check(&self) -> Result<(), String> {
        match (&self.value, &self.expression, &self.pattern) {
            (Some(value), None, None) if value.contains("${") || value.contains("%{") => {
                Err(format!("{value:?} would be evaluated: give it as `expression`"))
            }
            (Some(_), None, None) => Ok(()),
            (None, Some(text), None) => {
                let is_one = text.trim().lines().count() == 1 && text.parse::<hcl_edit::expr::Expression>().is_ok();
                is_one.then_some(()).ok_or_else(|| format!("`{text}` is no expression of HCL on one line"))
            }
            (None, None, Some(pattern)) => match Regex::new(pattern) {
                Ok(_) if NO_PATTERN.iter().any(|part| pattern.contains(part)) => Err(format!(
                    "{pattern:?}: a pattern has no anchors, flags or lazy repetitions, and no quotes, `$` or `%`"
                )),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            _ => Err("a [[value]] has a `value`, an `expression` or a `pattern`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(files: &[(&str, &str)], scanned: Option<&str>) -> Result<Knowledge, KnowledgeError> {
        let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        if let Some(text) = scanned {
            std::fs::write(root.path().join(PROJECT_FILE), text).unwrap();
        }
        Knowledge::load(&[folder.path().to_owned()], Some(root.path()))
    }

    #[test]
    fn what_is_embedded_can_be_read() {
        let own = Knowledge::load(&[], None).unwrap();
        let endpoint = own.wants_of("azurerm_private_endpoint", &["azurerm_key_vault"], "a");
        let path = ["private_service_connection", "subresource_names"].map(str::to_owned).to_vec();
        assert!(endpoint.contains(&Wanted::new(path, Must::Be(vec![json!(["vault"])]))), "{endpoint:?}");
        assert_eq!(own.wants_of("azurerm_private_endpoint", &["azurerm_lb"], "a").len(), 1);
        assert!(own.texts().is_empty(), "ranges of ours are for a person to look at");
        let log =
            own.wants_of("aws_cloudwatch_log_group", &["aws_lb", "aws_wafv2_web_acl_logging_configuration"], "web");
        assert_eq!(log, [Wanted::new(vec!["name".into()], Must::Be(vec![json!("aws-waf-logs-web")]))]);
        assert_eq!(own.pattern("azurerm_storage_account", "name"), Some("[a-z][a-z0-9]{4,23}"));
        assert_eq!(own.pattern("azurerm_postgresql_configuration", "name"), Some("[a-z][a-z0-9_.]{1,60}"));
        assert!(own.pattern("azurerm_key_vault", "name").is_some() && own.pattern("aws_sqs_queue", "name").is_none());
        assert!(own.wants_of("aws_flow_log", &["aws_vpc"], "a").iter().any(|wanted| wanted.must == Must::Exist));
        let nodes = own.wants_of_nested("google_container_cluster", "private_cluster_config");
        assert_eq!(nodes, [Wanted::new(vec!["enable_private_nodes".into()], Must::Be(vec![json!(true)]))]);
        assert!(own.wants_of_nested("google_container_cluster", "release_channel").is_empty());
        assert!(own.wants_of("google_container_cluster", &[], "a").is_empty(), "it is not about the block itself");
    }

    #[test]
    fn the_house_of_the_user_speaks_last() {
        let tags = "[[block]]\ntypes = [\"aws_*\"]\nholds = { tags = [{ Owner = \"sec\" }], cidr_block = [\"10.9.0.0/16\"] }\n\
                    [[note]]\nrules = [\"CKV_AWS_*\"]\ntypes = \"aws_*\"\ntext = \"Ask the network team.\"\n\
                    [[block]]\ntypes = \"aws_cloudwatch_log_group\"\nholds = { name = [\"log-{name}-x\"] }\n\
                    [[never]]\ntypes = \"aws_eip\"\nwhy = \"Addresses are ordered.\"\n";
        let keys = "[[value]]\nattribute = \"kms_key_id\"\ntypes = [\"aws_*\"]\nvalue = \"arn:aws:kms:x\"\n";
        let own = "[[value]]\nattribute = [\"kms_*\"]\nexpression = \"data.aws_kms_key.main.arn\"\n";
        let known = with(&[("b.toml", keys), ("a.toml", tags), ("c.txt", "no knowledge")], Some(own)).unwrap();
        let values = |ty: &str, name: &str| known.values(ty, name).collect::<Vec<_>>();
        assert_eq!(values("aws_ebs_volume", "kms_key_id"), ["data.aws_kms_key.main.arn", "\"arn:aws:kms:x\""]);
        assert_eq!(values("google_sql", "kms_key_id"), ["data.aws_kms_key.main.arn"]);
        assert!(values("aws_ebs_volume", "name").is_empty());
        assert_eq!(
            known.texts(),
            ["10.9.0.0/16", "sec", "log-{name}-x", "arn:aws:kms:x"].map(str::to_owned).as_slice()
        );
        let vpc = known.wants_of("aws_vpc", &["aws_instance"], "a");
        assert!(vpc.contains(&Wanted::new(vec!["cidr_block".into()], Must::Be(vec![json!("10.9.0.0/16")]))));
        assert_eq!(vpc.len(), 2);
        assert_eq!(known.notes("CKV_AWS_1", "aws_vpc").collect::<Vec<_>>(), ["Ask the network team."]);
        assert_eq!(known.notes("CKV2_AWS_1", "aws_vpc").count(), 0);
        assert_eq!(known.never("aws_eip"), Some("Addresses are ordered."));
        assert_eq!(known.never("aws_vpc"), None);
        assert!(known.gives("aws_cloudwatch_log_group", "name", "log-a-x"));
        assert!(!known.gives("aws_cloudwatch_log_group", "name", "other-a-x"));
        assert_ne!(known.sha256(), Knowledge::load(&[], None).unwrap().sha256());
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        for (text, why) in [
            ("[[note]]\nrule = \"x\"\ntext = \"\"\n", "unknown field `rule`"),
            ("[[value]]\nattribute = \"a\"\nvalue = \"${var.x}\"\n", "would be evaluated"),
            ("[[value]]\nattribute = \"a\"\nexpression = \"a b\"\n", "no expression"),
            ("[[value]]\nattribute = \"[\"\nvalue = \"x\"\n", "attern"),
            ("[[value]]\nattribute = \"a\"\n", "a `value`, an `expression` or a `pattern`"),
            ("[[value]]\nattribute = \"a\"\npattern = \"^x\"\n", "no anchors"),
            ("[[value]]\nattribute = \"a\"\npattern = \"(\"\n", "unclosed group"),
            ("[[block]]\ntypes = [\"a\"]\n", "missing field `holds`"),
        ] {
            let error = with(&[("mine.toml", text)], None).unwrap_err().to_string();
            assert!(error.contains("mine.toml") && error.contains(why), "{error}");
        }
        assert!(
            Knowledge::load(&["/no/such/folder".into()], None).unwrap_err().to_string().contains("/no/such/folder")
        );
    }
}
