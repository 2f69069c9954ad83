//! What a finding of a scanner that does not say what it wants tells all the same: by where it points, and by its words.
//!
//! In: the finding, the block that it is about, what its type consists of. Out: alternatives, as running a rule finds them.
//! Whether one of them closes the finding, only its own scanner can tell; it is asked, as of every answer.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;
use serde_json::Value;

use super::kin::words;
use super::wanted::{Alternatives, At, Must, Wanted, found};
use crate::finding::Finding;
use crate::schema::{self, Type};
use crate::source::{Attribute, Block, Body, Item, SourceFile};

/// Alternatives, at most.
const MOST: usize = 3;
/// How deep in blocks an attribute is looked for.
const DEPTH: usize = 4;
/// Beginnings of words of names that do not say what a setting is about.
const GENERIC: [&str; 8] = ["allow", "block", "confi", "disab", "enabl", "id", "name", "setti"];

/// What the lines of a finding say: that the one attribute which they hold must be another one. None where they hold more,
/// or one whose value is an expression.
pub fn by_lines(finding: &Finding, file: &SourceFile, block: &Block) -> Alternatives {
    let lines = (finding.location.start_line, finding.location.end_line);
    let mut pointed = Vec::new();
    point(file, &block.body, lines, &mut Vec::new(), None, &mut pointed);
    match pointed.len() {
        1 => pointed.into_iter().flatten().map(|wanted| vec![wanted]).collect(),
        _ => Vec::new(),
    }
}

/// The attributes of just these lines: what each must be, where that can be said.
fn point(
    file: &SourceFile,
    body: &Body,
    lines: (usize, usize),
    path: &mut Vec<String>,
    at: Option<usize>,
    pointed: &mut Vec<Option<Wanted>>,
) {
    let mut before = BTreeMap::<&str, usize>::new();
    for item in &body.items {
        path.push(item.name().to_owned());
        match item {
            Item::Attribute(attribute) if file.lines(&attribute.span) == lines => {
                let at = at.map_or(At::All, |position| At::These(vec![position]));
                pointed.push(another(attribute).map(|must| Wanted { path: path.clone(), at, must }));
            }
            Item::Attribute(_) => {}
            Item::Block(inner) => {
                let position = before.entry(&inner.keyword).or_default();
                let is_one_of_several = body.blocks().filter(|other| other.keyword == inner.keyword).count() > 1;
                let at = at.or(is_one_of_several.then_some(*position));
                *position += 1;
                point(file, &inner.body, lines, path, at, pointed);
            }
        }
        path.pop();
    }
}

/// That an attribute must be something else; `None` where it is an expression.
fn another(attribute: &Attribute) -> Option<Must> {
    Some(match &attribute.expr {
        Expression::Bool(flag) => Must::Be(vec![Value::Bool(!**flag)]),
        Expression::String(text) => Must::NotBe(vec![text.as_str().into()]),
        Expression::Number(number) => Must::NotBe(vec![serde_json::from_str(&number.to_string()).ok()?]),
        _ => Must::NotBe(attribute.literals()?),
    })
}

/// What a rule inspects is to be another thing than it is: all that is known where running it does not show what.
pub fn by_keys(keys: &[Vec<String>], block: &Block, schema: &schema::Block) -> Alternatives {
    let mut settings = Vec::new();
    settings_of(schema, &mut Vec::new(), &mut settings);
    let wanted = |(path, kind): &(Vec<String>, Option<&Type>)| {
        let must = keys.contains(path).then(|| another_at(block, path, *kind)).flatten()?;
        Some(vec![Wanted::new(path.clone(), must)])
    };
    settings.iter().filter_map(wanted).collect()
}

/// What the words of a finding say: which attributes and blocks of the type are called by words that all are in its message
/// or its resolution, those of rarer words first.
pub fn by_words(finding: &Finding, block: &Block, schema: &schema::Block) -> Alternatives {
    let told = words(&format!("{} {}", finding.message, finding.hints.resolution.as_deref().unwrap_or_default()));
    // What the type itself is called says nothing of its settings.
    let ty = words(block.labels.first().map_or("", String::as_str));
    let mut settings = Vec::new();
    settings_of(schema, &mut Vec::new(), &mut settings);
    let mut common = BTreeMap::<String, usize>::new();
    for (path, _) in &settings {
        about(path).into_iter().for_each(|word| *common.entry(word).or_default() += 1);
    }
    let weight = |word: &String| (settings.len() as f64 / common.get(word).copied().unwrap_or(1) as f64).ln();
    let mut scored: Vec<(f64, Wanted)> = Vec::new();
    for (path, kind) in &settings {
        let about = about(path);
        let is_told = about.iter().all(|word| told.contains(word)) && about.iter().any(|word| !ty.contains(word));
        let Some(must) = is_told.then(|| another_at(block, path, *kind)).flatten() else { continue };
        let around = path[..path.len() - 1].iter().flat_map(|name| words(name));
        let score = about.iter().map(weight).sum::<f64>()
            + around.filter(|word| told.contains(word)).map(|word| weight(&word) / 2.0).sum::<f64>();
        scored.push((score, Wanted::new(path.clone(), must)));
    }
    // What lies further in is the likelier the less it takes.
    scored.sort_by(|(one, first), (other, second)| other.total_cmp(one).then(first.path.len().cmp(&second.path.len())));
    let least = scored.first().map_or(0.0, |(best, _)| best / 2.0);
    let likely = scored.into_iter().take_while(|(score, _)| *score > least);
    likely.map(|(_, wanted)| vec![wanted]).take(MOST).collect()
}

/// All that can be set, by its path, with its type; `None` for a block.
fn settings_of<'s>(
    schema: &'s schema::Block,
    path: &mut Vec<String>,
    settings: &mut Vec<(Vec<String>, Option<&'s Type>)>,
) {
    for (name, attribute) in schema.attributes.iter().filter(|(_, attribute)| attribute.usage.is_settable()) {
        settings.push(([path.as_slice(), std::slice::from_ref(name)].concat(), Some(&attribute.ty)));
    }
    for (name, nested) in schema.blocks.iter().filter(|(name, _)| *name != "timeouts") {
        path.push(name.clone());
        settings.push((path.clone(), None));
        if path.len() < DEPTH {
            settings_of(&nested.block, path, settings);
        }
        path.pop();
    }
}

/// The words that say what a setting is about: of its own name, or else of the block around it.
fn about(path: &[String]) -> Vec<String> {
    let telling = |name: &String| {
        let mut words: Vec<String> = words(name).into_iter().collect();
        words.retain(|word| !GENERIC.contains(&word.as_str()));
        words
    };
    path.iter().rev().map(telling).find(|words| !words.is_empty()).unwrap_or_default()
}

/// What is left for a setting to be, as it stands; `None` where it is as good as it can be, or cannot be said.
fn another_at(block: &Block, path: &[String], kind: Option<&Type>) -> Option<Must> {
    let places = found(&block.body, path);
    if places.is_empty() {
        return Some(Must::Exist);
    }
    kind?;
    let super::wanted::Place::Item(Item::Attribute(attribute)) = places.first()? else { return None };
    another(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Location, Tool};
    use crate::schema::{Kind, Schemas};
    use crate::source::RelPath;
    use serde_json::json;

    fn finding(message: &str, lines: (usize, usize)) -> Finding {
        let location = Location { file: RelPath::default(), start_line: lines.0, end_line: lines.1 };
        Finding::new(Tool::Trivy, "X", message, location, None)
    }

    fn parsed(text: &str) -> SourceFile {
        SourceFile::parse(RelPath::default(), text.as_bytes().to_vec()).unwrap()
    }

    fn wanted(path: &str, must: Must) -> Vec<Wanted> {
        vec![Wanted::new(path.split('.').map(str::to_owned).collect(), must)]
    }

    #[test]
    fn the_attribute_that_a_finding_points_at_is_to_be_another_one() {
        let file = parsed(
            "resource \"t\" \"a\" {\n  open = true\n  from = [\"0.0.0.0/0\"]\n  rule {\n    mode = \"a\"\n  }\n  rule {\n    \
             mode = \"b\"\n    size = var.size\n  }\n}\n",
        );
        let block = file.body().blocks().next().unwrap();
        let at = |first, last| by_lines(&finding("", (first, last)), &file, block);
        assert_eq!(at(2, 2), [wanted("open", Must::Be(vec![json!(false)]))]);
        assert_eq!(at(3, 3), [wanted("from", Must::NotBe(vec![json!("0.0.0.0/0")]))]);
        let mut second = wanted("rule.mode", Must::NotBe(vec![json!("b")]));
        second[0].at = At::These(vec![1]);
        assert_eq!(at(8, 8), [second]);
        assert!(at(9, 9).is_empty(), "an expression");
        assert!(at(1, 11).is_empty() && at(4, 6).is_empty() && at(0, 0).is_empty(), "no attribute");
        let line = parsed("resource \"t\" \"a\" { open = true }\n");
        assert_eq!(by_lines(&finding("", (1, 1)), &line, line.body().blocks().next().unwrap()).len(), 1);
    }

    fn said(ty: &str, body: &str, message: &str) -> Vec<String> {
        let (schema, _) = Schemas::embedded().get(Kind::Resource, ty).unwrap();
        let file = parsed(&format!("resource \"{ty}\" \"a\" {{\n{body}}}\n"));
        let block = file.body().blocks().next().unwrap();
        by_words(&finding(message, (1, 1)), block, &schema).iter().map(|way| way[0].path.join(".")).collect()
    }

    #[test]
    fn what_a_rule_inspects_is_to_be_another_thing() {
        let (schema, _) = Schemas::embedded().get(Kind::Resource, "aws_transfer_server").unwrap();
        let keys = [vec!["security_policy_name".to_owned()], vec!["arn".to_owned()], vec!["none".to_owned()]];
        let file = parsed("resource \"aws_transfer_server\" \"a\" {\n  security_policy_name = \"old\"\n}\n");
        let block = file.body().blocks().next().unwrap();
        assert_eq!(by_keys(&keys, block, &schema), [wanted("security_policy_name", Must::NotBe(vec![json!("old")]))]);
        let file = parsed("resource \"aws_transfer_server\" \"a\" {\n}\n");
        let block = file.body().blocks().next().unwrap();
        assert_eq!(by_keys(&keys, block, &schema), [wanted("security_policy_name", Must::Exist)]);
    }

    #[test]
    fn settings_that_are_called_as_a_finding_says_are_what_it_may_want() {
        let message = "Instance does not have shielded VM integrity monitoring enabled.";
        assert_eq!(
            said("google_compute_instance", "", message)[0],
            "shielded_instance_config.enable_integrity_monitoring"
        );
        let message = "Node pool does not override the default service account.";
        assert_eq!(said("google_container_node_pool", "", message)[0], "node_config.service_account");
        let message =
            "Instance does not require IMDS access to require a token. Enable HTTP token requirement for IMDS";
        assert_eq!(said("aws_instance", "", message)[0], "metadata_options.http_tokens");
        let message = "Instance has Public Access enabled";
        assert_eq!(said("aws_db_instance", "  publicly_accessible = true\n", message), ["publicly_accessible"]);
        assert!(said("aws_db_instance", "", "Something is wrong").is_empty());
    }
}
