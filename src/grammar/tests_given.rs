//! What is a word where the user, or caulk itself, knows more than the schemas.

use serde_json::json;

use super::tests::{accepts, knowing};
use crate::knowledge::Knowledge;
use crate::rules::{Must, Wanted, Way};
use crate::source::BlockAddr;

#[test]
fn what_the_user_has_given_is_written_and_what_new_blocks_need() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[value]]\nattribute = \"kms_*\"\ntypes = \"aws_*\"\nvalue = \"alias/house\"\n\
        [[value]]\nattribute = \"kms_*\"\nexpression = \"aws_kms_key.house.arn\"\n\
        [[block]]\ntypes = \"aws_kms_key\"\nholds = { tags = [{ Owner = \"sec\" }] }\n";
    std::fs::write(folder.path().join("house.toml"), text).unwrap();
    let knowledge = Knowledge::load(&[folder.path().to_owned()], None).unwrap();
    let topic = "resource \"aws_sns_topic\" \"a\" {\n}\n";
    let grammar = |module: &str| knowing(knowledge.clone(), &BlockAddr::resource("aws_sns_topic", "a"), module, vec![]);
    let with = |key: &str| format!("resource \"aws_sns_topic\" \"a\" {{\n  kms_master_key_id = {key}\n}}");
    assert!(accepts(&grammar(topic), &with("\"alias/house\"")));
    assert!(!accepts(&grammar(topic), &with("\"alias/aws/sns\"")));
    assert!(!accepts(&grammar(topic), &with("aws_kms_key.house.arn")), "it is not declared");
    let declared = format!("{topic}resource \"aws_kms_key\" \"house\" {{\n}}\n");
    assert!(accepts(&grammar(&declared), &with("aws_kms_key.house.arn")), "the last that says it decides");
    assert!(!accepts(&grammar(&declared), &with("\"alias/house\"")));
    let key = |tags: &str| format!("{}\n\nresource \"aws_kms_key\" \"a\" {{\n{tags}}}", with("\"alias/house\""));
    assert!(accepts(&grammar(topic), &key("  tags = {\n    Owner = \"sec\"\n  }\n")));
    assert!(!accepts(&grammar(topic), &key("")));
    let text = text.replace("aws_kms_key.house.arn", "aws_kms_key.none.arn");
    let text = text.replace("value = \"alias/house\"", "expression = \"aws_kms_key.house.arn\"");
    std::fs::write(folder.path().join("house.toml"), text).unwrap();
    let knowledge = Knowledge::load(&[folder.path().to_owned()], None).unwrap();
    let grammar = |module: &str| knowing(knowledge.clone(), &BlockAddr::resource("aws_sns_topic", "a"), module, vec![]);
    assert!(accepts(&grammar(&declared), &with("aws_kms_key.house.arn")), "what is not there cannot be named");
}

#[test]
fn names_of_new_blocks_are_as_the_pattern_for_them_says() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[value]]\nattribute = \"name\"\ntypes = \"aws_sns_*\"\npattern = \"acme/[a-z]+\"\n";
    std::fs::write(folder.path().join("house.toml"), text).unwrap();
    let knowledge = Knowledge::load(&[folder.path().to_owned()], None).unwrap();
    let target = BlockAddr::resource("aws_cloudtrail", "a");
    let module = "resource \"aws_cloudtrail\" \"a\" {\n}\n";
    let grammar = knowing(knowledge, &target, module, vec![]);
    let topic = |name: &str| {
        let over = "resource \"aws_cloudtrail\" \"a\" {\n  sns_topic_name = aws_sns_topic.a.name\n}";
        format!("{over}\n\nresource \"aws_sns_topic\" \"a\" {{\n  name = {name}\n}}")
    };
    assert!(accepts(&grammar, &topic("\"acme/trail\"")));
    for other in ["\"trail\"", "\"acme/trail-1\"", "\"acme/\""] {
        assert!(!accepts(&grammar, &topic(other)), "{other}");
    }
}

#[test]
fn of_a_pattern_with_alternatives_each_is_a_whole_text() {
    let target = BlockAddr::resource("aws_lambda_function", "f");
    let module = "resource \"aws_lambda_function\" \"f\" {\n  runtime = \"nodejs12.x\"\n}\n";
    let wanted = vec![Wanted::new(vec!["runtime".to_owned()], Must::NotBe(vec![json!("nodejs12.x")]))];
    let way = Way { target: wanted, ..Way::default() };
    let grammar = knowing(Knowledge::load(&[], None).unwrap(), &target, module, vec![way]).ways().pop().unwrap();
    let with = |runtime: &str| format!("resource \"aws_lambda_function\" \"f\" {{\n  runtime = {runtime}\n}}");
    for good in ["\"nodejs22.x\"", "\"python3.13\"", "\"provided.al2023\""] {
        assert!(accepts(&grammar, &with(good)), "{good}");
    }
    for bad in ["\"nodejs12.x\"", "\"node.js22.x\"", "\"nodejs22.x", "python3.13", "\"cobol\""] {
        assert!(!accepts(&grammar, &with(bad)), "{bad}");
    }
}
