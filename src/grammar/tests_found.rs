//! What is a word of the languages that are held to what running a rule has found.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::tests::{accepts, be, wanted};
use super::{Grammar, Names, Scope, Shapes, companion_types, compile, walk};
use crate::knowledge::Knowledge;
use crate::rules::{At, Must, Wanted, Way};
use crate::schema::{self, Schemas};
use crate::source::document::Step;
use crate::source::{BlockAddr, RelPath};

fn finding(target: &str, module: &str, ways: &[&[Wanted]]) -> Grammar {
    known(target, module, ways, Knowledge::default())
}

fn known(target: &str, module: &str, ways: &[&[Wanted]], knowledge: Knowledge) -> Grammar {
    let tree = walk::tree(module.to_owned());
    let dir = RelPath::default();
    let target = BlockAddr::resource(target, "a");
    compile(Scope {
        target: tree.find(&dir, &target).unwrap().1,
        names: Names::of(&tree, &dir),
        schemas: Schemas::embedded(),
        companion_types: BTreeSet::new(),
        ways: Vec::new(),
        found: ways.iter().map(|target| Way { target: target.to_vec(), ..Way::default() }).collect(),
        house: Arc::default(),
        knowledge: Arc::new(knowledge),
        shapes: Shapes::default(),
        supposed: None,
    })
    .unwrap()
}

const POLICY: &str = "<<EOT\n{\"Statement\": [{\n  \"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"*\", \"x\"]},\n  \
                      \"Action\": \"*\", \"Resource\": \"*\"\n}]}\nEOT";

/// The sentences of a change inside a queue's policy.
fn inside(steps: &[&str], must: Must) -> Option<Grammar> {
    let step = |step: &&str| step.parse().map_or_else(|_| Step::Key((*step).to_owned()), Step::Position);
    let at = At::Inside(steps.iter().map(step).collect());
    let module =
        format!("resource \"aws_sqs_queue\" \"a\" {{\n  policy = {POLICY}\n}}\nresource \"aws_iam_role\" \"a\" {{}}\n");
    let grammar = finding("aws_sqs_queue", &module, &[&[Wanted { path: vec!["policy".into()], at, must }]]);
    grammar.one_of_found(&[]).unwrap()
}

#[test]
fn a_document_stays_word_for_word_but_for_what_is_wanted_inside() {
    let answer = |policy: &str| format!("resource \"aws_sqs_queue\" \"a\" {{\n  policy = {policy}\n}}");
    let sentence = |steps: &[&str], must| inside(steps, must).unwrap().only_sentence().unwrap();
    let less = sentence(&["Statement", "0", "Principal", "AWS", "0"], Must::NotExist);
    assert_eq!(less, Some(answer(&POLICY.replace("\"*\", \"x\"", "\"x\""))));
    let effect = sentence(&["Statement", "0", "Effect"], be(json!(["Deny"])));
    assert_eq!(effect, Some(answer(&POLICY.replace("Allow", "Deny"))));
    let principal = inside(&["Statement", "0", "Principal", "AWS", "0"], Must::Exist).unwrap();
    let with = |principal: &str| answer(&POLICY.replacen("\"*\"", principal, 1));
    assert!(accepts(&principal, &with("\"${aws_iam_role.a.arn}\"")));
    let account = with(
        "\"arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root\"",
    );
    let here = "\n\ndata \"aws_partition\" \"current\" {}\n\ndata \"aws_caller_identity\" \"current\" {}";
    assert!(accepts(&principal, &format!("{account}{here}")));
    assert!(!accepts(&principal, &with("\"*\"")) && !accepts(&principal, &with("\"arn:aws:iam::1:root\"")));
    let whole = inside(&["Statement", "0", "Principal"], Must::Exist).unwrap();
    let with = |principal: &str| answer(&POLICY.replace("{\"AWS\": [\"*\", \"x\"]}", principal));
    assert!(accepts(&whole, &with("{\"AWS\": \"${aws_iam_role.a.arn}\"}")));
    assert!(!accepts(&whole, &with("\"${aws_iam_role.a.arn}\"")));
}

#[test]
fn a_principal_of_any_account_becomes_one_of_the_own() {
    let module = format!(
        "resource \"aws_sqs_queue\" \"a\" {{\n  policy = {}\n}}\n",
        POLICY.replace("[\"*\", \"x\"]", "\"arn:aws:iam::*:role/jobs\"")
    );
    let steps = ["Statement", "0", "Principal", "AWS"];
    let at = At::Inside(
        steps.iter().map(|s| s.parse().map_or_else(|_| Step::Key((*s).to_owned()), Step::Position)).collect(),
    );
    let wanted = Wanted { path: vec!["policy".into()], at, must: Must::Exist };
    let grammar = finding("aws_sqs_queue", &module, &[&[wanted]]).one_of_found(&[]).unwrap().unwrap();
    let sentence = grammar.only_sentence().unwrap().unwrap();
    assert!(
        sentence.contains("\"arn:aws:iam::${data.aws_caller_identity.current.account_id}:role/jobs\""),
        "{sentence}"
    );
}

#[test]
fn what_a_policy_needs_is_not_guessed() {
    for key in ["Action", "Resource", "Effect"] {
        assert!(inside(&["Statement", "0", key], Must::Exist).is_none(), "{key}");
    }
    assert!(inside(&["Statement", "0", "Action"], be(json!(["s3:GetObject"]))).is_none());
    assert!(inside(&["Statement", "1", "Effect"], be(json!(["x"]))).is_none(), "there is one statement");
    assert!(inside(&["Statement", "0", "Principal", "Service"], Must::Exist).is_none());
}

/// What may be written where some values are known to fail.
fn other_than(ty: &str, body: &str, path: &str, failing: serde_json::Value) -> Grammar {
    let around = "resource \"aws_sns_topic\" \"news\" {}\nresource \"google_service_account\" \"web\" {}\nvariable \"group\" {}\nvariable \"members\" {}\nvariable \"ip_ranges\" {}\n\
        resource \"aws_vpc\" \"main\" {}\n";
    let module = format!("resource \"{ty}\" \"a\" {{\n{body}}}\n{around}");
    let must = Must::NotBe(failing.as_array().unwrap().clone());
    finding(ty, &module, &[&[wanted(path, must)]]).one_of_found(&[]).unwrap().unwrap()
}

#[test]
fn numbers_and_elements_that_are_known_to_fail_are_not_written() {
    let cluster = "aws_redshift_cluster";
    let days = other_than(
        cluster,
        "  automated_snapshot_retention_period = 0\n",
        "automated_snapshot_retention_period",
        json!([1]),
    );
    let answer =
        |days: &str| format!("resource \"{cluster}\" \"a\" {{\n  automated_snapshot_retention_period = {days}\n}}");
    assert!(accepts(&days, &answer("7")) && !accepts(&days, &answer("0")) && !accepts(&days, &answer("1")));
    let binding = "google_cloud_run_service_iam_binding";
    let members = other_than(binding, "", "members", json!(["allUsers"]));
    let answer = |members: &str| format!("resource \"{binding}\" \"a\" {{\n  members = {members}\n}}");
    let account = "google_service_account.web.member";
    assert!(accepts(&members, &answer(&format!("[{account}]"))));
    assert!(accepts(&members, &answer(&format!("[\n    var.members,\n    {account},\n  ]"))));
    for bad in ["[\"allUsers\"]", "[\"user:a\"]", "[google_service_account.web.email]", "[]"] {
        assert!(!accepts(&members, &answer(bad)), "{bad}");
    }
}

#[test]
fn who_may_come_is_a_range_of_addresses() {
    let group = "aws_security_group";
    let around = "  ingress {\n    from_port = 22\n    cidr_blocks = [\"0.0.0.0/0\"]\n  }\n";
    let must = json!(["0.0.0.0/0"]);
    let ranges = other_than(group, around, "ingress.cidr_blocks", must);
    let answer =
        |ranges: &str| format!("resource \"{group}\" \"a\" {{\n  ingress {{\n    cidr_blocks = {ranges}\n  }}\n}}");
    for good in ["[\"10.0.0.0/8\"]", "[\"10.3.0.0/16\", var.ip_ranges]", "[aws_vpc.main.cidr_block]"] {
        assert!(accepts(&ranges, &answer(good)), "{good}");
    }
    for bad in [
        "[var.members]",
        "[\"0.0.0.0/0/0\"]",
        "[\"1.2.3.4/32\"]",
        "[aws_sns_topic.news.name]",
        "[aws_vpc.main.id]",
        "[]",
    ] {
        assert!(!accepts(&ranges, &answer(bad)), "{bad}");
    }
}

#[test]
fn whoever_comes_already_may_go_on_and_few_others_come() {
    let group = "aws_security_group";
    let own = "  ingress {\n    cidr_blocks = [\"0.0.0.0/0\", \"8.8.8.8/32\"]\n  }\n";
    let ranges = other_than(group, own, "ingress.cidr_blocks", json!(["0.0.0.0/0"]));
    let answer =
        |ranges: &str| format!("resource \"{group}\" \"a\" {{\n  ingress {{\n    cidr_blocks = {ranges}\n  }}\n}}");
    assert!(accepts(&ranges, &answer("[\"8.8.8.8/32\"]")));
    assert!(!accepts(&ranges, &answer("[\"8.8.8.8/32\", \"0.0.0.0/0\"]")));
    let list = |count| answer(&format!("[{}]", vec!["\"10.0.0.0/8\""; count].join(", ")));
    assert!(accepts(&ranges, &list(4)) && !accepts(&ranges, &list(5)));
}

#[test]
fn what_holds_a_range_is_given_another_one_whatever_it_is_called() {
    let database = "google_sql_database_instance";
    let networks = |value: &str| {
        format!(
            "  settings {{\n    ip_configuration {{\n      authorized_networks {{\n        value = {value}\n      }}\n    }}\n  }}\n"
        )
    };
    let path = "settings.ip_configuration.authorized_networks.value";
    let grammar = other_than(database, &networks("\"0.0.0.0/0\""), path, json!(["0.0.0.0/0"]));
    let answer = |value: &str| format!("resource \"{database}\" \"a\" {{\n{}}}", networks(value));
    assert!(accepts(&grammar, &answer("\"10.0.0.0/8\"")));
    assert!(!accepts(&grammar, &answer("\"0.0.0.0/0/0\"")) && !accepts(&grammar, &answer("\"internal\"")));
}

#[test]
fn what_is_of_another_cloud_or_called_otherwise_is_not_referred_to() {
    let cluster = "google_container_cluster";
    let others =
        ["aws_security_group", "google_compute_network"].map(|ty| format!("resource \"{ty}\" \"web\" {{\n}}\n"));
    let module = format!("resource \"{cluster}\" \"a\" {{\n}}\n{}", others.concat());
    let way = [wanted("authenticator_groups_config.security_group", Must::Exist)];
    let grammar = finding(cluster, &module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let answer = |group: &str| {
        format!(
            "resource \"{cluster}\" \"a\" {{\n  authenticator_groups_config {{\n    security_group = {group}\n  }}\n}}"
        )
    };
    assert!(accepts(&grammar, &answer("\"gke-security-groups@acme.dev\"")));
    for other in ["aws_security_group.web.id", "google_compute_network.web.id"] {
        assert!(!accepts(&grammar, &answer(other)), "{other}");
    }
}

#[test]
fn a_block_that_has_to_be_there_does_something() {
    let sentences = |ty: &str, module: &str, block: &str| {
        let way = [wanted(block, Must::Exist)];
        let module = format!("resource \"{ty}\" \"a\" {{\n}}\n{module}");
        let knowledge = Knowledge::load(&[], None).unwrap();
        let grammar = known(ty, &module, &[&way], knowledge).one_of_found(&[]).unwrap().unwrap();
        let header = format!("resource \"{ty}\" \"a\" {{\n  {block} {{\n");
        move |items: &str| accepts(&grammar, &format!("{header}{items}  }}\n}}"))
    };
    let cluster = sentences("google_container_cluster", "", "private_cluster_config");
    assert!(cluster("    enable_private_nodes = true\n"));
    for bad in ["", "    enable_private_nodes = false\n", "    enable_private_endpoint = true\n"] {
        assert!(!cluster(bad), "{bad}");
    }
    let (subnet, group) = ("resource \"aws_subnet\" \"a\" {\n}\n", "resource \"aws_security_group\" \"a\" {\n}\n");
    let domain = sentences("aws_elasticsearch_domain", subnet, "vpc_options");
    assert!(domain("    subnet_ids = [aws_subnet.a.id]\n"));
    assert!(!domain("") && !domain("    subnet_ids = []\n"));
    let groups = "    security_group_ids = [aws_security_group.a.id]\n";
    let wrong = "    subnet_ids = [aws_security_group.a.id]\n";
    let domain = sentences("aws_elasticsearch_domain", group, "vpc_options");
    assert!(!domain("") && !domain(groups) && !domain(wrong), "it takes subnets");
    let key = "resource \"google_kms_crypto_key\" \"a\" {\n}\n";
    let disk = sentences("google_compute_disk", key, "disk_encryption_key");
    assert!(disk("    kms_key_self_link = google_kms_crypto_key.a.id\n") && !disk(""));
    let policy = sentences("google_container_cluster", "", "ip_allocation_policy");
    assert!(policy(""), "its defaults are what is meant");
}

#[test]
fn a_list_that_names_things_by_a_word_alone_refers_to_what_there_is() {
    let module = "resource \"aws_lb\" \"a\" {\n}\nresource \"aws_security_group\" \"web\" {\n}\n";
    let way = [wanted("security_groups", Must::Exist)];
    let grammar = finding("aws_lb", module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let answer = "resource \"aws_lb\" \"a\" {\n  security_groups = [aws_security_group.web.id]\n}";
    assert!(accepts(&grammar, answer));
}

#[test]
fn where_the_provider_lists_values_a_text_is_one_of_them() {
    let cluster = "google_container_cluster";
    let grammar = other_than(cluster, "", "release_channel.channel", json!(["UNSPECIFIED"]));
    let answer = |channel: &str| {
        format!("resource \"{cluster}\" \"a\" {{\n  release_channel {{\n    channel = {channel}\n  }}\n}}")
    };
    assert!(accepts(&grammar, &answer("\"STABLE\"")));
    assert!(!accepts(&grammar, &answer("\"stable\"")) && !accepts(&grammar, &answer("\"UNSPECIFIED\"")));
    let service = other_than(cluster, "  logging_service = \"none\"\n", "logging_service", json!(["none"]));
    let answer = |service: &str| format!("resource \"{cluster}\" \"a\" {{\n  logging_service = {service}\n}}");
    assert!(accepts(&service, &answer("\"logging.googleapis.com/kubernetes\"")));
    assert!(!accepts(&service, &answer("\"none\"")) && !accepts(&service, &answer("\"gke\"")));
}

#[test]
fn both_ends_of_a_range_are_moved_together() {
    let rule = "azurerm_mssql_firewall_rule";
    let own = "  start_ip_address = \"0.0.0.0\"\n  end_ip_address = \"255.255.255.255\"\n";
    let grammar = other_than(rule, own, "start_ip_address", json!(["0.0.0.0"]));
    let answer = |items: &str| format!("resource \"{rule}\" \"a\" {{\n{items}}}");
    let (start, end) = ("  start_ip_address = \"10.0.0.0\"\n", "  end_ip_address = \"10.0.0.255\"\n");
    assert!(accepts(&grammar, &answer(&format!("{end}{start}"))));
    assert!(!accepts(&grammar, &answer(start)), "the other end is as far as before");
    assert!(!accepts(&grammar, &answer(&format!("{end}  start_ip_address = \"1.1.1.1\"\n"))));
}

#[test]
fn what_an_attribute_means_is_told_by_the_block_around_it_as_well() {
    let grammar = other_than("google_compute_instance", "", "service_account.email", json!(["x"]));
    let answer = |email: &str| {
        format!(
            "resource \"google_compute_instance\" \"a\" {{\n  service_account {{\n    email = {email}\n    scopes = [\"a\"]\n  }}\n}}"
        )
    };
    assert!(!accepts(&grammar, &answer("\"x@y\"")));
    assert!(accepts(&grammar, &answer("google_service_account.web.email")));
    assert!(!accepts(&grammar, &answer("google_service_account.web.id")));
}

#[test]
fn a_name_of_something_unknown_leads_to_nothing_new() {
    let grammar = other_than("aws_redshift_cluster", "", "cluster_subnet_group_name", json!(["default"]));
    let answer =
        |name: &str| format!("resource \"aws_redshift_cluster\" \"a\" {{\n  cluster_subnet_group_name = {name}\n}}");
    assert!(accepts(&grammar, &answer("var.group")));
    assert!(!accepts(&grammar, &answer("\"x\"")), "the guardrails would refuse it");
    assert!(!accepts(&grammar, &answer("aws_sns_topic.news.name")));
    assert!(!accepts(&grammar, &answer("\"default\"")) && !grammar.lark().contains("subnet_group_name = \" (REF_TEXT"));
    let first = answer("aws_security_group.a.name");
    assert!(!accepts(
        &grammar,
        &format!("{first}\n\nresource \"aws_security_group\" \"a\" {{\n  description = \"x\"\n}}")
    ));
}

#[test]
fn what_is_known_comes_before_what_has_to_be_found() {
    let known = [wanted("description", be(json!(["x"])))];
    let grammar = finding("aws_security_group", RULES, &[&[wanted("name", Must::Exist)], &known]);
    let first = grammar.one_of_found(&[]).unwrap().unwrap();
    let sentence = first.only_sentence().unwrap().unwrap();
    assert_eq!(sentence, group("  description = \"x\"\n"));
    let later = grammar.one_of_found(&[&sentence]).unwrap().unwrap();
    assert!(accepts(&later, &group("  name = \"y\"\n")));
}

#[test]
fn what_the_target_names_already_is_not_added() {
    let module = format!(
        "resource \"aws_sqs_queue\" \"a\" {{\n  policy = {}\n}}\n",
        POLICY.replace("\"x\"", "\"${aws_iam_role.gone.arn}\"")
    );
    let at = At::Inside(
        ["Statement", "0", "Effect"]
            .iter()
            .map(|s| s.parse().map_or_else(|_| Step::Key((*s).to_owned()), Step::Position))
            .collect(),
    );
    let wanted = Wanted { path: vec!["policy".into()], at, must: be(json!(["Deny"])) };
    let grammar = finding("aws_sqs_queue", &module, &[&[wanted]]).one_of_found(&[]).unwrap().unwrap();
    assert!(grammar.next(&grammar.only_sentence().unwrap().unwrap()).is_none());
}

const RULES: &str = "resource \"aws_security_group\" \"a\" {\n  ingress {\n    cidr_blocks = [\"0.0.0.0/0\"]\n  }\n  \
                     ingress {\n    self = true\n  }\n}\n";

fn group(items: &str) -> String {
    format!("resource \"aws_security_group\" \"a\" {{\n{items}}}")
}

#[test]
fn an_answer_chooses_among_the_ways_found_but_for_those_that_were_gone() {
    let way = |name: &str| [wanted(name, Must::Exist)];
    let grammar = finding("aws_security_group", RULES, &[&way("description"), &way("name"), &way("made_up")]);
    assert_eq!(grammar.found(), 2);
    let (one, other) = (group("  description = \"x\"\n"), group("  name = \"x\"\n"));
    let both = grammar.one_of_found(&[]).unwrap().unwrap();
    assert!(accepts(&both, &one) && accepts(&both, &other));
    assert!(!accepts(&both, &group("  description = \"x\"\n  name = \"x\"\n")));
    let left = grammar.one_of_found(&[&one]).unwrap().unwrap();
    assert!(!accepts(&left, &one) && accepts(&left, &other));
    assert!(grammar.one_of_found(&[&one, &other]).unwrap().is_none());
}

#[test]
fn of_several_blocks_those_that_are_meant_change_and_all_are_written() {
    let at = |at| Wanted { at, ..wanted("ingress.cidr_blocks", be(json!([["10.0.0.0/8"]]))) };
    let sentence = |at_: At| {
        let grammar = finding("aws_security_group", RULES, &[&[at(at_)]]);
        grammar.one_of_found(&[]).unwrap().unwrap().only_sentence().unwrap().unwrap()
    };
    let changed = "  ingress {\n    cidr_blocks = [\"10.0.0.0/8\"]\n  }\n";
    assert_eq!(sentence(At::These(vec![0])), group(&format!("{changed}  ingress {{\n  }}\n")));
    assert_eq!(sentence(At::All), group(&format!("{changed}{changed}")));
    let empty = "  ingress {\n  }\n";
    assert_eq!(sentence(At::New), group(&format!("{empty}{empty}{changed}")));
    // So it is added, and takes nobody's place.
    let tree = walk::tree(RULES.to_owned());
    let target = BlockAddr::resource("aws_security_group", "a");
    let file = RelPath::new("main.tf").unwrap();
    let merged = crate::edit::merge::merge(&tree, &file, &target, None, &sentence(At::New)).unwrap();
    let after = merged.changeset.apply(&tree).unwrap();
    let text = after.file(&file).unwrap().text().to_owned();
    assert!(text.starts_with(RULES.trim_end_matches("}\n")) && text.contains("10.0.0.0/8"), "{text}");
}

#[test]
fn lists_and_maps_can_be_wanted_whole() {
    let module = "resource \"google_compute_instance\" \"a\" {\n}\n";
    let metadata = wanted("metadata", be(json!([{ "block-keys": "true", "a.b": 1 }])));
    let grammar = finding("google_compute_instance", module, &[&[metadata]]).one_of_found(&[]).unwrap().unwrap();
    let text = "resource \"google_compute_instance\" \"a\" {\n  metadata = {\n    block-keys = \"true\"\n    \
                \"a.b\" = \"1\"\n  }\n}";
    assert_eq!(grammar.only_sentence().unwrap().as_deref(), Some(text));
    // What would be evaluated is no literal.
    let open = wanted("metadata", be(json!([{ "a": "${x}" }])));
    assert_eq!(finding("google_compute_instance", module, &[&[open]]).found(), 0);
}

#[test]
fn what_protects_a_resource_can_be_wanted_and_is_not_given_up() {
    let module = "resource \"google_kms_crypto_key\" \"a\" {\n  lifecycle {\n    prevent_destroy = false\n  }\n}\n";
    let grammar =
        finding("google_kms_crypto_key", module, &[&[wanted("lifecycle.prevent_destroy", be(json!([true])))]]);
    let lifecycle = |value: bool| {
        format!("resource \"google_kms_crypto_key\" \"a\" {{\n  lifecycle {{\n    prevent_destroy = {value}\n  }}\n}}")
    };
    let found = grammar.one_of_found(&[]).unwrap().unwrap();
    assert_eq!(found.only_sentence().unwrap(), Some(lifecycle(true)));
    let free = finding("google_kms_crypto_key", module, &[]);
    assert!(accepts(&free, &lifecycle(true)) && !accepts(&free, &lifecycle(false)));
}

#[test]
fn what_other_rules_want_is_added_to_the_way_that_an_answer_went() {
    let description = [wanted("description", be(json!(["x"])))];
    let grammar = finding("aws_security_group", RULES, &[&[wanted("name", Must::Exist)], &description]);
    let more = [wanted("revoke_rules_on_delete", be(json!([true])))];
    let answer = group("  description = \"x\"\n");
    let both = grammar.with_more(&answer, &more).unwrap().unwrap();
    let with_both = group("  description = \"x\"\n  revoke_rules_on_delete = true\n");
    assert!(accepts(&both, &with_both) && !accepts(&both, &answer));
    assert!(!accepts(&both, &group("  name = \"x\"\n  revoke_rules_on_delete = true\n")));
    // On and on.
    let third = both.with_more(&with_both, &[wanted("name", be(json!(["n"])))]).unwrap().unwrap();
    assert!(accepts(&third, &with_both.replace("{\n  desc", "{\n  name = \"n\"\n  desc")));
    assert!(grammar.with_more(&group("  vpc_id = \"x\"\n"), &more).unwrap().is_none());
    assert!(grammar.with_more(&answer, &[wanted("made_up", Must::Exist)]).unwrap().is_none());
}

#[test]
fn what_fails_is_not_written_where_another_value_is_wanted() {
    let module =
        "resource \"google_kms_key_ring_iam_member\" \"a\" {\n  member = \"allUsers\"\n  role = \"a/b.c\"\n}\n";
    let member = |must| finding("google_kms_key_ring_iam_member", module, &[&[wanted("member", must)]]);
    let answer =
        |value: &str| format!("resource \"google_kms_key_ring_iam_member\" \"a\" {{\n  member = \"{value}\"\n}}");
    let grammar = member(Must::NotBe(vec![json!("allAuthenticatedUsers")])).one_of_found(&[]).unwrap().unwrap();
    assert!(accepts(&grammar, &answer("user:me")) && !accepts(&grammar, &answer("allUsers2")));
    assert!(!accepts(&grammar, &answer("allUsers")) && !accepts(&grammar, &answer("allAuthenticatedUsers")));
    let role = finding("google_kms_key_ring_iam_member", module, &[&[wanted("role", Must::Exist)]]);
    let role = role.one_of_found(&[]).unwrap().unwrap();
    assert!(!accepts(&role, &answer("x").replace("member = \"x\"", "role = \"a/b.c\"")));
    assert!(accepts(&role, &answer("x").replace("member = \"x\"", "role = \"a/bxc\"")));
}

#[test]
fn an_attribute_that_means_a_block_refers_to_one() {
    let way = [wanted("kms_key_id", Must::Exist)];
    let volume = "resource \"aws_ebs_volume\" \"a\" {\n}\n";
    let language = |module: &str| {
        let tree = walk::tree(module.to_owned());
        let dir = RelPath::default();
        let target = BlockAddr::resource("aws_ebs_volume", "a");
        let scope = Scope {
            target: tree.find(&dir, &target).unwrap().1,
            names: Names::of(&tree, &dir),
            schemas: Schemas::embedded(),
            companion_types: companion_types("aws_ebs_volume", [], []),
            ways: Vec::new(),
            found: vec![Way { target: way.to_vec(), ..Way::default() }],
            house: Arc::default(),
            knowledge: Arc::default(),
            shapes: Shapes::default(),
            supposed: None,
        };
        compile(scope).unwrap().one_of_found(&[]).unwrap().unwrap()
    };
    let answer = |value: &str| format!("resource \"aws_ebs_volume\" \"a\" {{\n  kms_key_id = {value}\n}}");
    let with_new = answer("aws_kms_key.a.arn") + "\n\nresource \"aws_kms_key\" \"a\" {\n}";
    let alone = language(volume);
    assert!(accepts(&alone, &with_new) && !accepts(&alone, &answer("\"alias/aws/ebs\"")));
    let standing = language(&format!("{volume}resource \"aws_kms_key\" \"main\" {{\n}}\n"));
    assert!(accepts(&standing, &answer("aws_kms_key.main.arn")) && !accepts(&standing, &with_new));
}

#[test]
fn a_type_without_a_schema_is_held_to_ways_by_what_is_supposed_of_it() {
    let module = "resource \"made_up\" \"a\" {\n  mode = \"x\"\n}\n";
    let tree = walk::tree(module.to_owned());
    let dir = RelPath::default();
    let block = tree.find(&dir, &BlockAddr::resource("made_up", "a")).unwrap().1;
    let target = vec![wanted("log.on", be(json!([true])))];
    let supposed = schema::Block::supposed([&block.body], [vec!["log".to_owned(), "on".to_owned()]]);
    let scope = |supposed| Scope {
        target: block,
        names: Names::of(&tree, &dir),
        schemas: Schemas::embedded(),
        companion_types: BTreeSet::new(),
        ways: Vec::new(),
        found: vec![Way { target: target.clone(), ..Way::default() }],
        house: Arc::default(),
        knowledge: Arc::default(),
        shapes: Shapes::default(),
        supposed,
    };
    let grammar = compile(scope(Some(supposed))).unwrap().one_of_found(&[]).unwrap().unwrap();
    let sentence = "resource \"made_up\" \"a\" {\n  log {\n    on = true\n  }\n}";
    assert_eq!(grammar.only_sentence().unwrap().as_deref(), Some(sentence));
    assert_eq!(compile(scope(None)).unwrap().found(), 0);
}

#[test]
fn an_entry_that_only_has_to_be_there_may_be_any_text() {
    let module = "resource \"kubernetes_pod\" \"a\" {\n  spec {\n    container {\n      name = \"x\"\n    }\n  }\n}\n";
    let limits = wanted("spec.container.resources.limits", be(json!([{ "memory": null }])));
    let grammar = finding("kubernetes_pod", module, &[&[limits]]).one_of_found(&[]).unwrap().unwrap();
    let answer = |memory: &str| {
        format!(
            "resource \"kubernetes_pod\" \"a\" {{\n  spec {{\n    container {{\n      resources {{\n        limits = {{\n          \
             memory = {memory}\n        }}\n      }}\n    }}\n  }}\n}}"
        )
    };
    assert!(accepts(&grammar, &answer("\"128Mi\"")));
    assert!(!accepts(&grammar, &answer("true")) && !accepts(&grammar, &answer("null")));
}

#[test]
fn an_entry_of_a_map_is_added_to_those_that_stand() {
    let way = [wanted("metadata.enable-oslogin", be(json!(["TRUE"])))];
    let sentence =
        |module: &str| finding("google_compute_project_metadata", module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let entries = "resource \"google_compute_project_metadata\" \"a\" {\n  metadata = {\n    foo = \"bar\"\n  }\n}\n";
    let answer =
        "resource \"google_compute_project_metadata\" \"a\" {\n  metadata = {\n    enable-oslogin = \"TRUE\"\n  }\n}";
    assert_eq!(sentence(entries).only_sentence().unwrap().as_deref(), Some(answer));
    // What the module computes is not overwritten.
    let computed = "variable \"m\" {\n}\nresource \"google_compute_project_metadata\" \"a\" {\n  metadata = var.m\n}\n";
    assert_eq!(sentence(computed).only_sentence().unwrap(), None);
}

#[test]
fn of_what_every_account_has_another_one_is_written() {
    let administrator = "arn:aws:iam::aws:policy/AdministratorAccess";
    let module = format!("resource \"aws_iam_role\" \"a\" {{\n  managed_policy_arns = [\"{administrator}\"]\n}}\n");
    let way = [wanted("managed_policy_arns", Must::NotBe(vec![json!(administrator)]))];
    let grammar = finding("aws_iam_role", &module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let answer = |arn: &str| format!("resource \"aws_iam_role\" \"a\" {{\n  managed_policy_arns = [\"{arn}\"]\n}}");
    assert!(accepts(&grammar, &answer("arn:aws:iam::aws:policy/ReadOnlyAccess")));
    for refused in [administrator, "arn:aws:iam::123456789012:policy/made-up", "x"] {
        assert!(!accepts(&grammar, &answer(refused)), "{refused}");
    }
}

#[test]
fn where_a_word_does_not_do_another_word_is_written() {
    let module = "resource \"azurerm_kubernetes_cluster\" \"a\" {\n  automatic_upgrade_channel = \"none\"\n}\n";
    let way = [wanted("automatic_upgrade_channel", Must::NotBe(vec![json!("none")]))];
    let grammar = finding("azurerm_kubernetes_cluster", module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let answer = |text: &str| {
        format!("resource \"azurerm_kubernetes_cluster\" \"a\" {{\n  automatic_upgrade_channel = \"{text}\"\n}}")
    };
    assert!(accepts(&grammar, &answer("stable")));
    for refused in ["none", "None", "none2", "none' # or", "stable or patch", ""] {
        assert!(!accepts(&grammar, &answer(refused)), "{refused}");
    }
}

#[test]
fn a_list_that_only_sounds_like_a_type_names_none() {
    let module = "resource \"azurerm_virtual_network\" \"a\" {\n  dns_servers = [\"8.8.8.8\"]\n}\n\
        resource \"azurerm_virtual_network_dns_servers\" \"a\" {\n}\n";
    let way = [wanted("dns_servers", Must::Exist)];
    let grammar = finding("azurerm_virtual_network", module, &[&way]).one_of_found(&[]).unwrap().unwrap();
    let answer = |ip: &str| format!("resource \"azurerm_virtual_network\" \"a\" {{\n  dns_servers = [\"{ip}\"]\n}}");
    assert!(accepts(&grammar, &answer("10.0.0.4")));
}
