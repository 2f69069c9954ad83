//! What is a word of the languages of new blocks, and of what leads to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::tests::accepts;
use super::{Grammar, Names, Scope, Shapes, companion_types, compile, meant_types, walk};
use crate::knowledge::Knowledge;
use crate::rules::{Companion, House, Way, Wish};
use crate::schema::Schemas;
use crate::source::{BlockAddr, RelPath};

/// The sentences of the one way that goes over a new block of a type, with what caulk knows and with firewalls that must log.
fn way_over(companion: &str, target: &str, module: &str) -> Grammar {
    let connection = json!({ "cond_type": "connection", "operator": "exists", "resource_types": ["aws_wafv2_web_acl"],
        "connected_resource_types": ["aws_wafv2_web_acl_logging_configuration"] });
    let logs = Wish { graph: Some(connection), resource_types: vec!["aws_wafv2_web_acl".into()], ..Wish::default() };
    let tree = walk::tree(module.to_owned());
    let dir = RelPath::default();
    let target = BlockAddr::resource(target, "a");
    let schemas = Schemas::embedded();
    let connected = BTreeSet::from([companion.to_owned(), "aws_wafv2_web_acl_logging_configuration".to_owned()]);
    let meant = meant_types(&schemas, &target, [], &connected);
    let types = connected.iter().chain(&meant).map(String::as_str);
    let companion = Companion { ty: companion.to_owned(), to: None, wanted: Vec::new() };
    let grammar = compile(Scope {
        target: tree.find(&dir, &target).unwrap().1,
        names: Names::of(&tree, &dir),
        companion_types: companion_types(target.resource_type().unwrap(), types, []),
        schemas,
        ways: vec![Way { companions: vec![companion], ..Way::default() }],
        found: Vec::new(),
        house: Arc::new(House::of(&[logs])),
        knowledge: Arc::new(Knowledge::load(&[], None).unwrap()),
        shapes: Shapes::default(),
        supposed: None,
    });
    grammar.unwrap().ways().remove(0)
}

const RULE: &str = r#"  rule {
    name = "known-bad-inputs"
    priority = 1
    override_action {
      none {}
    }
    statement {
      managed_rule_group_statement {
        name = "AWSManagedRulesKnownBadInputsRuleSet"
        vendor_name = "AWS"
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name = "known-bad-inputs"
      sampled_requests_enabled = true
    }
  }
"#;

#[test]
fn a_firewall_holds_what_is_known_to_be_good_and_logs() {
    let grammar = way_over("aws_wafv2_web_acl_association", "aws_lb", "resource \"aws_lb\" \"a\" {\n}\n");
    let anonymous = RULE.replace("known-bad-inputs", "anonymous-clients").replace("priority = 1", "priority = 2");
    let anonymous = anonymous.replace("none {}", "count {}").replace("KnownBadInputsRuleSet", "AnonymousIpList");
    let answer = format!(
        r#"resource "aws_lb" "a" {{
}}

resource "aws_wafv2_web_acl_association" "a" {{
  resource_arn = aws_lb.a.arn
  web_acl_arn = aws_wafv2_web_acl.a.arn
}}

resource "aws_wafv2_web_acl" "a" {{
  name = "a"
  scope = "REGIONAL"
  default_action {{
    allow {{}}
  }}
{RULE}{anonymous}  visibility_config {{
    cloudwatch_metrics_enabled = true
    metric_name = "a"
    sampled_requests_enabled = true
  }}
}}

resource "aws_wafv2_web_acl_logging_configuration" "a" {{
  resource_arn = aws_wafv2_web_acl.a.arn
  log_destination_configs = [aws_cloudwatch_log_group.a.arn]
}}

resource "aws_cloudwatch_log_group" "a" {{
  name = "aws-waf-logs-a"
}}"#
    );
    assert!(accepts(&grammar, &answer));
    for (known, other) in [
        ("\"REGIONAL\"", "\"CLOUDFRONT\""),
        ("\"aws-waf-logs-a\"", "\"a\""),
        ("[aws_cloudwatch_log_group.a.arn]", "[\"arn:aws:logs:eu-west-1::x\"]"),
        (RULE, ""),
    ] {
        assert!(!accepts(&grammar, &answer.replace(known, other)), "{other}");
    }
}

#[test]
fn a_target_names_a_new_block_in_the_block_that_leads_to_it() {
    let module = "resource \"aws_cloudfront_distribution\" \"a\" {\n  default_cache_behavior {\n    target_origin_id = \"x\"\n  }\n}\n";
    let grammar = way_over("aws_cloudfront_response_headers_policy", "aws_cloudfront_distribution", module);
    let policy = "resource \"aws_cloudfront_response_headers_policy\" \"a\" {\n  name = \"a\"\n  security_headers_config {\n    \
                  strict_transport_security {\n      access_control_max_age_sec = 63072000\n      include_subdomains = true\n      \
                  override = true\n      preload = true\n    }\n  }\n}";
    let answer = |item: &str| format!("resource \"aws_cloudfront_distribution\" \"a\" {{\n{item}}}\n\n{policy}");
    let inside = |id: &str| format!("  default_cache_behavior {{\n    response_headers_policy_id = {id}\n  }}\n");
    let id = "aws_cloudfront_response_headers_policy.a.id";
    assert!(accepts(&grammar, &answer(&inside(id))));
    for refused in [inside("\"x\""), format!("  aliases = [{id}]\n"), String::new()] {
        assert!(!accepts(&grammar, &answer(&refused)), "{refused}");
    }
}

#[test]
fn a_list_that_means_blocks_names_them() {
    let module = "resource \"aws_iam_role\" \"a\" {\n}\nresource \"aws_subnet\" \"one\" {\n}\nresource \"aws_subnet\" \"two\" {\n}\n";
    let grammar = way_over("aws_eks_cluster", "aws_iam_role", module);
    let answer = |ids: &str| {
        let cluster =
            format!("  role_arn = aws_iam_role.a.arn\n  name = \"a\"\n  vpc_config {{\n    subnet_ids = {ids}\n  }}\n");
        format!("resource \"aws_iam_role\" \"a\" {{\n}}\n\nresource \"aws_eks_cluster\" \"a\" {{\n{cluster}}}")
    };
    for ids in ["[aws_subnet.one.id]", "[aws_subnet.one.id, aws_subnet.two.id]"] {
        assert!(accepts(&grammar, &answer(ids)), "{ids}");
    }
    for ids in ["[\"subnet-1\"]", "[]", "[aws_iam_role.a.id]", "[aws_subnet.one.arn]"] {
        assert!(!accepts(&grammar, &answer(ids)), "{ids}");
    }
}

#[test]
fn a_new_block_refers_to_what_its_attributes_are_called_by() {
    let module = "resource \"aws_s3_bucket\" \"a\" {\n}\nresource \"aws_s3_bucket\" \"logs\" {\n}\n";
    let grammar = way_over("aws_s3_bucket_logging", "aws_s3_bucket", module);
    let answer = |prefix: &str| {
        format!(
            "resource \"aws_s3_bucket\" \"a\" {{\n}}\n\nresource \"aws_s3_bucket_logging\" \"a\" {{\n  bucket = aws_s3_bucket.a.id\n  \
             target_bucket = aws_s3_bucket.logs.bucket\n  target_prefix = {prefix}\n}}"
        )
    };
    assert!(accepts(&grammar, &answer("\"log/\"")));
    for other in ["aws_s3_bucket.logs.bucket_prefix", "aws_s3_bucket.a.region"] {
        assert!(!accepts(&grammar, &answer(other)), "{other}");
    }
}
