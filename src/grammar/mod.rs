//! Compiles, for one finding, the language of allowed answers: overrides of the target and its companions.
//!
//! In: the target's address, the names that the module declares, the resource types that a companion may have.
//! Out: [`Grammar`], a Lark text for llguidance. That an answer declares what it names, a context-free grammar cannot
//! say: [`Grammar::going_on`] gives the language of its continuations that do.
//!
//! By construction there are no comments, so no skip comments; no `count`, `for_each`, `provisioner`, `connection` or
//! `ignore_changes`; no function that reads files; no reference to a block that is neither in the module nor a companion.

mod going_on;
mod hcl;
mod shapes;

use std::collections::BTreeSet;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};

use crate::source::BlockAddr;

pub use shapes::Shapes;

/// A compiled language of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// The start rule and what only it uses, then `rules`.
    lark: String,
    /// Blocks, bodies, values, references.
    rules: String,
    /// What the module declares.
    declared: BTreeSet<BlockAddr>,
}

impl Grammar {
    /// The grammar in llguidance's Lark syntax.
    pub fn lark(&self) -> &str {
        &self.lark
    }

    /// Whether a text is a word of the language. For texts that no model wrote under it; byte by byte, so not fast.
    ///
    /// # Errors
    /// When the grammar does not compile.
    pub fn accepts(&self, text: &str) -> Result<bool, GrammarError> {
        let env = ApproximateTokEnv::single_byte_env();
        let broken = |error: String| GrammarError::Broken(error);
        let mut factory = ParserFactory::new_simple(&env).map_err(|e| broken(e.to_string()))?;
        let parser = factory.quiet().create_parser(TopLevelGrammar::from_lark(self.lark.clone()));
        let mut matcher = Matcher::new(parser);
        if let Some(error) = matcher.get_error() {
            return Err(broken(error));
        }
        let bytes = env.tokenize(text);
        Ok(matcher.try_consume_tokens(&bytes).is_ok_and(|n| n == bytes.len())
            && matcher.is_accepting().is_ok_and(|accepting| accepting))
    }
}

/// What an answer may name.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The block that the answer overrides.
    pub target: &'a BlockAddr,
    /// Blocks and locals (`local.x`) that the module declares.
    pub declared: &'a BTreeSet<BlockAddr>,
    /// Resource types that a companion may have; those of other providers than the target's are left out.
    pub companion_types: &'a BTreeSet<String>,
    /// Whether `each.*` or `count.index` may be written, as the target has `for_each` or `count`.
    pub repetition: Option<Repetition>,
    /// Names that are known to be nested blocks, or attributes.
    pub shapes: &'a Shapes,
}

/// How the target is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// `count`
    Count,
    /// `for_each`
    ForEach,
}

/// A finding for which no grammar can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// A label that cannot be written in a grammar as it stands.
    #[error("{0} has a label that is no plain name; rename it")]
    Label(BlockAddr),
    /// What was compiled is no grammar.
    #[error("the grammar does not compile: {0}")]
    Broken(String),
    /// A block that caulk does not write overrides for.
    #[error("a `{0}` block cannot be overridden")]
    Keyword(String),
}

/// Data sources that need no argument, or whose arguments are a document: what identities and policies are built of.
const DATA_SOURCES: [&str; 8] = [
    "aws_caller_identity",
    "aws_iam_policy_document",
    "aws_partition",
    "aws_region",
    "azurerm_client_config",
    "azurerm_subscription",
    "google_client_config",
    "google_project",
];

/// Compiles the language of answers for one target.
///
/// # Errors
/// When the target is of a kind, or has a name, that no answer can be written for.
pub fn compile(scope: &Scope<'_>) -> Result<Grammar, GrammarError> {
    let target = scope.target;
    if !matches!(target.keyword.as_str(), "resource" | "data" | "module" | "provider") {
        return Err(GrammarError::Keyword(target.keyword.clone()));
    }
    if !target.labels.iter().all(|label| is_name(label)) {
        return Err(GrammarError::Label(target.clone()));
    }
    let provider = target.resource_type().map(provider_of);
    let companions: Vec<&str> = match provider {
        Some(provider) => {
            let own = scope.companion_types.iter().map(String::as_str);
            own.filter(|ty| provider_of(ty) == provider && is_name(ty)).collect()
        }
        None => Vec::new(),
    };
    let data: Vec<&str> = DATA_SOURCES.into_iter().filter(|ty| Some(provider_of(ty)) == provider).collect();
    let name = target.labels.last().map_or("this", String::as_str);
    let has = |ty: &str| scope.declared.contains(&BlockAddr::resource(ty, name));
    let (taken, free): (Vec<&str>, Vec<&str>) = companions.into_iter().partition(|ty| has(ty));
    let new = hcl::Companions { free: &free, taken: &taken, data: &data, name };
    let mut rules = hcl::companions(&new);
    rules.push_str(&hcl::references(scope, &new));
    rules.push_str(&hcl::bodies(scope.shapes));
    let lark = hcl::start(target, !new.is_empty()) + &rules;
    Ok(Grammar { lark, rules, declared: scope.declared.clone() })
}

/// The provider's local name by convention: what stands before the first `_` of a type.
pub fn provider_of(ty: &str) -> &str {
    ty.split_once('_').map_or(ty, |(provider, _)| provider)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar_for(target: &BlockAddr) -> Grammar {
        let declared = BTreeSet::from([
            target.clone(),
            BlockAddr::resource("aws_kms_key", "main"),
            BlockAddr { keyword: "variable".into(), labels: vec!["env".into()] },
            BlockAddr { keyword: "local".into(), labels: vec!["tags".into()] },
        ]);
        let shapes = Shapes::learn(["versioning/[0]/enabled"], []);
        let companion_types = ["aws_s3_bucket_versioning", "aws_kms_key", "azurerm_key_vault"].map(String::from).into();
        compile(&Scope {
            target,
            declared: &declared,
            companion_types: &companion_types,
            repetition: None,
            shapes: &shapes,
        })
        .unwrap()
    }

    fn accepts(grammar: &Grammar, answer: &str) -> bool {
        grammar.accepts(answer).unwrap()
    }

    fn bucket() -> BlockAddr {
        BlockAddr::resource("aws_s3_bucket", "data")
    }

    #[track_caller]
    fn yes(answer: &str) {
        assert!(accepts(&grammar_for(&bucket()), answer), "refused: {answer}");
    }

    #[track_caller]
    fn no(answer: &str) {
        assert!(!accepts(&grammar_for(&bucket()), answer), "accepted: {answer}");
    }

    fn with(item: &str) -> String {
        format!("resource \"aws_s3_bucket\" \"data\" {{\n  {item}\n}}")
    }

    #[test]
    fn overrides_of_all_shapes_are_words() {
        yes(&with("acl = null"));
        yes(&with("acl = \"private\"\n  days = 7\n  force = false"));
        yes(&with("versioning {\n    enabled = true\n    rule {\n      days = -1.5\n    }\n  }"));
        yes(&with("ports = [80, 443]"));
        yes(&with("ports = []"));
        yes(&with("cidrs = [\n    \"10.0.0.0/8\",\n    \"10.1.0.0/16\",\n  ]"));
        yes(&with("tags = {\n    Name = \"a\"\n    \"x/y\" = var.env\n  }"));
        yes(&with("tags = merge(local.tags, {\n    Name = \"a\"\n  })"));
        yes(&with("key = aws_kms_key.main.arn"));
        yes(&with("key = aws_kms_key.main[0].arn"));
        yes(&with("name = \"${var.env}-100%-\\\"x\\\"\""));
        yes(&with(
            "policy = jsonencode({\n    Statement = [\n      {\n        Effect = \"Deny\"\n      },\n    ]\n  })",
        ));
        yes(&with("lifecycle_rule {}"));
        yes(&with("lifecycle {\n    create_before_destroy = true\n  }\n  acl = null"));
    }

    #[test]
    fn companions_follow_named_after_the_target() {
        let companion = "\n\nresource \"aws_s3_bucket_versioning\" \"data\" {\n  bucket = aws_s3_bucket.data.id\n}";
        yes(&format!("resource \"aws_s3_bucket\" \"data\" {{\n}}{companion}"));
        yes(&format!("{}{companion}", with("acl = null")));
        yes(&format!("{}\n\ndata \"aws_caller_identity\" \"current\" {{}}", with("acl = null")));
        yes(&with("key = aws_kms_key.data_logs.arn"));
        no(&format!("{}{}", with("acl = null"), companion.replace("\"data\"", "\"other\"")));
        no(&format!("{}\n\nresource \"azurerm_key_vault\" \"data\" {{\n  a = 1\n}}", with("acl = null")));
        no(&format!("{}\n\nresource \"aws_made_up\" \"data\" {{\n  a = 1\n}}", with("acl = null")));
    }

    #[test]
    fn a_companion_does_not_take_the_name_of_a_block_that_stands() {
        let key = |name: &str| format!("{}\n\nresource \"aws_kms_key\" \"{name}\" {{\n  a = 1\n}}", with("acl = null"));
        let main = BlockAddr::resource("aws_sns_topic", "main");
        let accepts = |answer: &str| {
            accepts(&grammar_for(&main), &answer.replace("aws_s3_bucket\" \"data", "aws_sns_topic\" \"main"))
        };
        assert!(!accepts(&key("main")));
        assert!(accepts(&key("main_key")));
    }

    #[test]
    fn an_answer_that_changes_nothing_is_no_word() {
        no("resource \"aws_s3_bucket\" \"data\" {\n}");
        no("");
    }

    #[test]
    fn another_block_is_no_word() {
        no("resource \"aws_s3_bucket\" \"other\" {\n  acl = null\n}");
    }

    #[test]
    fn what_only_hides_a_finding_cannot_be_written() {
        no(&with("# checkov:skip=CKV_AWS_18"));
        no(&with("acl = \"private\" # checkov:skip=CKV_AWS_18"));
        no(&with("count = 0"));
        no(&with("for_each = {}"));
        no(&with("lifecycle {\n    ignore_changes = [acl]\n  }"));
        no(&with("provisioner {\n    command = \"x\"\n  }"));
    }

    #[test]
    fn a_known_block_cannot_be_written_as_an_attribute() {
        yes(&with("versioning {\n    enabled = true\n  }"));
        no(&with("versioning = {\n    enabled = true\n  }"));
        yes(&with("versionings = {\n    enabled = true\n  }"));
    }

    #[test]
    fn names_that_do_not_exist_and_file_functions_cannot_be_written() {
        no(&with("key = aws_kms_key.other.arn"));
        no(&with("key = var.other"));
        no(&with("key = file(\"x\")"));
        no(&with("name = \"${file(\"x\")}\""));
        no(&with("name = each.key"));
    }

    /// What the prompts show as right answers must be writable.
    #[test]
    fn the_worked_examples_are_words() {
        let prompts = crate::prompt::Prompts::embedded().unwrap();
        let types = ["aws_kms_key", "aws_s3_bucket_public_access_block"].map(String::from).into();
        for turns in prompts.opening()[1..].chunks(2) {
            let blocks = turns[0].content.split("```hcl\n").skip(1).filter_map(|part| part.split("```").next());
            let mut module = blocks.collect::<String>();
            let answer = &turns[1].content;
            let header: Vec<&str> = answer.split('"').collect();
            let target = BlockAddr::resource(header[1], header[3]);
            module.push('\n');
            let path = crate::source::RelPath::new("main.tf").unwrap();
            let file = crate::source::SourceFile::parse(path, module.into_bytes()).unwrap();
            let declared = file.body().blocks().map(crate::source::Block::addr).collect();
            let shapes = Shapes::learn([], file.body().blocks().map(|block| &block.body));
            let scope = Scope {
                target: &target,
                declared: &declared,
                companion_types: &types,
                repetition: None,
                shapes: &shapes,
            };
            assert!(accepts(&compile(&scope).unwrap(), answer), "{answer}");
        }
    }

    #[test]
    fn what_has_no_language_is_an_error() {
        let none = BTreeSet::new();
        let odd = BlockAddr::resource("aws_s3_bucket", "a\"b");
        let scope = Scope {
            target: &odd,
            declared: &BTreeSet::new(),
            companion_types: &none,
            repetition: None,
            shapes: &Shapes::default(),
        };
        assert_eq!(compile(&scope), Err(GrammarError::Label(odd.clone())));
    }
}
