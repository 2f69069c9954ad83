//! What is a word of the languages of answers, and what is none.

use super::*;
use crate::knowledge::Knowledge;
use crate::rules::{Companion, Must, Wanted};
use crate::source::{RelPath, SourceFile, SourceTree};
use serde_json::json;

const MODULE: &str = r#"
resource "aws_s3_bucket" "data" {
  acl = "public-read"
  versioning {
    enabled = false
  }
}
resource "aws_kms_key" "main" {
  count = 1
}
resource "aws_sns_topic" "main" {
}
variable "env" {
  type = string
}
variable "log_bucket" {
  type = string
}
locals {
  tags = { a = "b" }
}
"#;

/// The grammar for a block of a module.
pub(super) fn grammar_for(target: &BlockAddr, module: &str) -> Grammar {
    going(target, module, Vec::new())
}

fn going(target: &BlockAddr, module: &str, ways: Vec<Way>) -> Grammar {
    knowing(Knowledge::default(), target, module, ways)
}

pub(super) fn knowing(knowledge: Knowledge, target: &BlockAddr, module: &str, ways: Vec<Way>) -> Grammar {
    let path = RelPath::new("main.tf").unwrap();
    let tree = SourceTree::from_files("/", [SourceFile::parse(path, module.into()).unwrap()]);
    let dir = RelPath::default();
    let schemas = Schemas::embedded();
    let known = ["aws_s3_bucket_versioning", "aws_s3_bucket_public_access_block"];
    compile(Scope {
        target: tree.find(&dir, target).unwrap().1,
        names: Names::of(&tree, &dir),
        companion_types: companion_types(target.resource_type().unwrap_or_default(), ["aws_s3_bucket_logging"], known),
        schemas,
        ways,
        found: Vec::new(),
        house: Arc::default(),
        knowledge: Arc::new(knowledge),
        shapes: Shapes::default(),
        supposed: None,
    })
    .unwrap()
}

#[track_caller]
pub(super) fn accepts(grammar: &Grammar, answer: &str) -> bool {
    grammar.accepts(answer).unwrap()
}

fn bucket() -> BlockAddr {
    BlockAddr::resource("aws_s3_bucket", "data")
}

#[track_caller]
fn yes(answer: &str) {
    assert!(accepts(&grammar_for(&bucket(), MODULE), answer), "refused: {answer}");
}

#[track_caller]
fn no(answer: &str) {
    assert!(!accepts(&grammar_for(&bucket(), MODULE), answer), "accepted: {answer}");
}

fn with(item: &str) -> String {
    format!("resource \"aws_s3_bucket\" \"data\" {{\n  {item}\n}}")
}

#[test]
fn overrides_of_all_shapes_are_words() {
    yes(&with("acl = null"));
    yes(&with("acl = \"private\"\n  force_destroy = false\n  bucket = var.env"));
    yes(&with("versioning {\n    enabled = true\n  }"));
    yes(&with("versioning = null"));
    yes(&with("cors_rule {\n    allowed_origins = []\n    allowed_methods = [\"GET\", \"PUT\"]\n  }"));
    yes(&with("tags = {\n    Name = \"a\"\n    \"x/y\" = var.env\n  }"));
    yes(&with("tags = merge(local.tags, {\n    Name = \"a\"\n  })"));
    yes(&with("policy = aws_kms_key.main[0].arn"));
    yes(&with("bucket = \"${var.env}-100%-\\\"x\\\"\""));
    yes(&with("policy = jsonencode({\n    Statement = [\n      {\n        Effect = \"Deny\"\n      },\n    ]\n  })"));
    yes(&with("lifecycle {\n    create_before_destroy = true\n  }\n  acl = null"));
}

#[test]
fn companions_follow_named_after_the_target() {
    let companion = "\n\nresource \"aws_s3_bucket_versioning\" \"data\" {\n  bucket = aws_s3_bucket.data.id\n  \
                     versioning_configuration {\n    status = \"Enabled\"\n  }\n}";
    yes(&format!("resource \"aws_s3_bucket\" \"data\" {{\n}}{companion}"));
    yes(&format!("{}{companion}", with("acl = null")));
    yes(&format!("{}\n\ndata \"aws_caller_identity\" \"current\" {{}}", with("acl = null")));
    no(&format!("{}{}", with("acl = null"), companion.replace("\"data\"", "\"other\"")));
    no(&format!("{}{}", with("acl = null"), companion.replace("  bucket = aws_s3_bucket.data.id\n", "")));
    no(&format!("{}\n\nresource \"azurerm_key_vault\" \"data\" {{\n  a = 1\n}}", with("acl = null")));
    no(&format!("{}\n\nresource \"aws_made_up\" \"data\" {{\n  a = 1\n}}", with("acl = null")));
}

#[test]
fn a_companion_does_not_take_the_name_of_a_block_that_stands() {
    let key = |name: &str| format!("\n\nresource \"aws_kms_key\" \"{name}\" {{\n  is_enabled = true\n}}");
    let topic = "resource \"aws_sns_topic\" \"main\" {\n  name = \"a\"\n}";
    let grammar = grammar_for(&BlockAddr::resource("aws_sns_topic", "main"), MODULE);
    assert!(!accepts(&grammar, &format!("{topic}{}", key("main"))));
    assert!(accepts(&grammar, &format!("{topic}{}", key("main_key"))));
    assert!(!accepts(&grammar, &format!("{topic}{0}{0}", key("main_key"))));
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
    no(&with("provisioner \"local-exec\" {\n    command = \"x\"\n  }"));
}

#[test]
fn what_the_type_does_not_have_cannot_be_written() {
    no(&with("acls = \"private\""));
    no(&with("arn = \"x\""));
    no(&with("versioning = {\n    enabled = true\n  }"));
    no(&with("versioning {\n    enable = true\n  }"));
    no(&with("tags {\n    a = \"b\"\n  }"));
    no(&with("bucket = null"));
}

#[test]
fn an_account_number_cannot_be_written_where_the_module_has_none() {
    let arn = |account: &str| with(&format!("policy = \"arn:aws:iam::{account}:root\""));
    no(&arn("123456789012"));
    yes(&arn("${var.env}"));
    yes(&arn("aws"));
    let module = MODULE.replace("type = string", "type = string\n  default = \"210987654321\"");
    assert!(accepts(&grammar_for(&bucket(), &module), &arn("210987654321")));
}

#[test]
fn values_of_another_type_cannot_be_written() {
    no(&with("force_destroy = \"yes\""));
    no(&with("force_destroy = var.env"));
    no(&with("acl = true"));
    no(&with("acl = local.tags"));
    no(&with("acl = [\"private\"]"));
    no(&with("tags = \"a\""));
}

#[test]
fn nothing_can_be_written_twice_or_left_out() {
    no(&with("acl = \"private\"\n  acl = \"public-read\""));
    no(&with("versioning {\n    enabled = true\n  }\n  versioning {\n    enabled = true\n  }"));
    let cors = "cors_rule {\n    allowed_methods = []\n    allowed_origins = []\n  }";
    yes(&with(&format!("{cors}\n  {cors}")));
    no(&with("cors_rule {\n    allowed_methods = []\n  }"));
}

#[test]
fn names_that_do_not_exist_and_file_functions_cannot_be_written() {
    no(&with("policy = aws_kms_key.other.arn"));
    no(&with("policy = aws_kms_key.main.arn"));
    no(&with("policy = aws_kms_key.main[0].arns"));
    no(&with("policy = var.other"));
    no(&with("policy = file(\"x\")"));
    no(&with("bucket = \"${file(\"x\")}\""));
    no(&with("bucket = each.key"));
}

#[test]
fn new_blocks_hold_what_all_rules_want_of_them() {
    let rule = crate::rules::Wish {
        resource_types: vec!["aws_kms_key".into()],
        inspected_key: Some("enable_key_rotation".into()),
        expected: vec![json!(true)],
        ..crate::rules::Wish::default()
    };
    let target = BlockAddr::resource("aws_sns_topic", "orders");
    let tree = walk::tree("resource \"aws_sns_topic\" \"orders\" {\n}\n".into());
    let dir = RelPath::default();
    let grammar = compile(Scope {
        target: tree.find(&dir, &target).unwrap().1,
        names: Names::of(&tree, &dir),
        schemas: Schemas::embedded(),
        companion_types: companion_types("aws_sns_topic", [], []),
        ways: Vec::new(),
        found: Vec::new(),
        house: Arc::new(House::of([&rule])),
        knowledge: Arc::default(),
        shapes: Shapes::default(),
        supposed: None,
    })
    .unwrap();
    let answer = |line: &str| {
        format!(
            "resource \"aws_sns_topic\" \"orders\" {{\n  kms_master_key_id = aws_kms_key.orders.id\n}}\n\n\
             resource \"aws_kms_key\" \"orders\" {{\n  description = \"x\"\n{line}}}"
        )
    };
    assert!(accepts(&grammar, &answer("  enable_key_rotation = true\n")));
    assert!(!accepts(&grammar, &answer("")));
    assert!(!accepts(&grammar, &answer("  enable_key_rotation = false\n")));
}

pub(super) fn wanted(path: &str, must: Must) -> Wanted {
    Wanted::new(path.split('.').map(str::to_owned).collect(), must)
}

pub(super) fn be(values: serde_json::Value) -> Must {
    Must::Be(values.as_array().unwrap().clone())
}

/// The bucket's language where this is wanted of it.
fn wanting(path: &str, must: Must) -> Grammar {
    going(&bucket(), MODULE, vec![Way { target: vec![wanted(path, must)], ..Way::default() }])
}

#[test]
fn only_the_wanted_values_can_be_written_where_they_are_wanted() {
    let versioning = wanting("versioning.enabled", be(json!([true])));
    assert!(accepts(&versioning, &with("versioning {\n    enabled = true\n  }")));
    assert!(!accepts(&versioning, &with("versioning {\n    enabled = false\n  }")));
    let target = wanting("logging.target_prefix", be(json!(["a", "b"])));
    assert!(accepts(&target, &with("logging {\n    target_bucket = var.log_bucket\n    target_prefix = \"b\"\n  }")));
    assert!(!accepts(&target, &with("logging {\n    target_bucket = var.log_bucket\n    target_prefix = \"c\"\n  }")));
    let of_another_type = wanting("force_destroy", be(json!(["maybe"])));
    assert!(accepts(&of_another_type, &with("force_destroy = true")));
}

/// The one way, if there is one.
fn way(path: &str, must: Must) -> Option<Grammar> {
    wanting(path, must).ways().pop()
}

#[test]
fn what_the_rule_leaves_one_value_for_is_one_sentence() {
    let versioning = way("versioning.enabled", be(json!([true]))).unwrap();
    assert!(accepts(&versioning, &with("versioning {\n    enabled = true\n  }")));
    for other in ["versioning {\n    enabled = true\n    mfa_delete = true\n  }", "acl = null", "versioning = null"] {
        assert!(!accepts(&versioning, &with(other)), "{other}");
    }
    let prefix = way("logging.target_prefix", be(json!(["a"]))).unwrap();
    assert!(accepts(&prefix, &with("logging {\n    target_bucket = var.log_bucket\n    target_prefix = \"a\"\n  }")));
    assert!(!accepts(&prefix, &with("logging {\n    target_prefix = \"a\"\n  }")), "the bucket is required");
    assert!(!accepts(&prefix, &with("logging {\n    target_bucket = var.log_bucket\n  }")));
    let lock = way("object_lock_configuration.rule.default_retention.mode", be(json!(["X"]))).unwrap();
    let nested =
        "object_lock_configuration {\n    rule {\n      default_retention {\n        mode = \"X\"\n      }\n    }\n  }";
    assert!(accepts(&lock, &with(nested)));
    let sentence = versioning.only_sentence().unwrap();
    assert_eq!(sentence, Some(with("versioning {\n    enabled = true\n  }")));
    assert_eq!(prefix.only_sentence(), Ok(None));
    let any = way("policy", Must::Exist).unwrap();
    assert_eq!(any.only_sentence(), Ok(None));
    assert!(accepts(&any, &with("policy = \"x\"")) && !accepts(&any, &with("acl = \"x\"")));
    assert!(way("versionings.enabled", be(json!([true]))).is_none());
    assert!(way("force_destroy", be(json!(["maybe"]))).is_none());
}

#[test]
fn what_must_not_be_there_is_taken_out() {
    assert!(way("acl", Must::NotExist).is_none(), "what is deployed would stay");
    let topic = BlockAddr::resource("aws_sns_topic", "orders");
    let module = "resource \"aws_sns_topic\" \"orders\" {\n  delivery_policy = \"x\"\n}\n";
    let target = vec![wanted("delivery_policy", Must::NotExist)];
    let attribute = going(&topic, module, vec![Way { target, ..Way::default() }]).ways().pop().unwrap();
    let answer = |value: &str| format!("resource \"aws_sns_topic\" \"orders\" {{\n  delivery_policy = {value}\n}}");
    assert!(accepts(&attribute, &answer("null")) && !accepts(&attribute, &answer("\"y\"")));
    let block = way("versioning", Must::NotExist).unwrap();
    assert!(accepts(&block, &with("versioning = null")));
    let inner = way("versioning.enabled", Must::NotExist).unwrap();
    assert!(accepts(&inner, &with("versioning {\n    enabled = null\n  }")));
}

#[test]
fn several_things_are_wanted_at_once() {
    let target = vec![wanted("acl", be(json!(["private"]))), wanted("versioning.enabled", be(json!([true])))];
    let grammar = going(&bucket(), MODULE, vec![Way { target, ..Way::default() }]).ways().pop().unwrap();
    assert!(accepts(&grammar, &with("acl = \"private\"\n  versioning {\n    enabled = true\n  }")));
    assert!(accepts(&grammar, &with("versioning {\n    enabled = true\n  }\n  acl = \"private\"")));
    assert!(!accepts(&grammar, &with("acl = \"private\"")));
}

#[test]
fn a_block_that_another_one_names_holds_what_it_needs() {
    let topic = BlockAddr::resource("aws_sns_topic", "orders");
    let target = vec![wanted("kms_master_key_id", Must::Exist)];
    let module = "resource \"aws_sns_topic\" \"orders\" {\n}\n";
    let grammar = going(&topic, module, vec![Way { target, ..Way::default() }]).ways().pop().unwrap();
    let answer = |key: &str| {
        format!(
            "resource \"aws_sns_topic\" \"orders\" {{\n  kms_master_key_id = aws_kms_key.orders.arn\n}}\n\n\
             resource \"aws_kms_key\" \"orders\" {{\n{key}}}"
        )
    };
    assert!(accepts(&grammar, &answer("")));
    assert!(!accepts(&grammar, &answer("  description = \"x\"\n")));
    assert!(!accepts(&grammar, &format!("{}\n\nresource \"aws_s3_bucket\" \"orders\" {{\n}}", answer(""))));
    let free = grammar_for(&topic, module);
    assert!(accepts(&free, &answer("  description = \"x\"\n")));
}

#[test]
fn a_companion_can_be_asked_for_that_is_connected_to_another_block() {
    let lock = Companion {
        ty: "aws_s3_bucket_versioning".into(),
        to: Some(BlockAddr::resource("aws_s3_bucket", "other")),
        wanted: vec![],
    };
    let module = format!("{MODULE}resource \"aws_s3_bucket\" \"other\" {{\n}}\n");
    let way = Way { companions: vec![lock], ..Way::default() };
    let grammar = going(&bucket(), &module, vec![way]).ways().pop().unwrap();
    let answer = |bucket: &str| {
        format!(
            "resource \"aws_s3_bucket\" \"data\" {{\n}}\n\nresource \"aws_s3_bucket_versioning\" \"data\" {{\n  bucket = aws_s3_bucket.{bucket}.id\n  \
        versioning_configuration {{\n    status = \"Enabled\"\n  }}\n}}"
        )
    };
    assert!(accepts(&grammar, &answer("other")) && !accepts(&grammar, &answer("data")));
}

fn with_companion(target: Vec<Wanted>, ty: &str, wanted: Vec<Wanted>) -> Way {
    Way { target, companions: vec![Companion { ty: ty.into(), to: None, wanted }], ..Way::default() }
}

#[test]
fn a_companion_that_the_rule_asks_for_follows_refers_back_and_holds_what_it_must() {
    let status = wanted("versioning_configuration.status", be(json!(["Enabled"])));
    let way = with_companion(vec![], "aws_s3_bucket_versioning", vec![status]);
    let general = going(&bucket(), MODULE, vec![way]);
    let grammar = general.ways().pop().unwrap();
    let companion = |bucket: &str, status: &str| {
        format!(
            "resource \"aws_s3_bucket\" \"data\" {{\n}}\n\nresource \"aws_s3_bucket_versioning\" \"data\" {{\n  \
             bucket = {bucket}\n  versioning_configuration {{\n    status = \"{status}\"\n  }}\n}}"
        )
    };
    let right = companion("aws_s3_bucket.data.id", "Enabled");
    assert!(accepts(&grammar, &right) && accepts(&general, &right));
    assert!(!accepts(&grammar, &companion("\"data\"", "Enabled")));
    assert!(!accepts(&grammar, &companion("aws_s3_bucket.data.id", "Suspended")));
    assert!(!accepts(&grammar, "resource \"aws_s3_bucket\" \"data\" {\n}"));
}

#[test]
fn a_companion_that_the_rule_asks_for_has_no_nested_blocks_of_its_own_accord() {
    let general = going(&bucket(), MODULE, vec![with_companion(vec![], "aws_s3_bucket_logging", vec![])]);
    let logging = |more: &str| {
        format!(
            "resource \"aws_s3_bucket\" \"data\" {{\n}}\n\nresource \"aws_s3_bucket_logging\" \"data\" {{\n  \
             bucket = aws_s3_bucket.data.id\n  target_bucket = var.log_bucket\n  target_prefix = \"y\"\n{more}}}"
        )
    };
    let grant = "  target_grant {\n    permission = \"READ\"\n    grantee {\n      type = \"Group\"\n    }\n  }\n";
    let way = general.ways().pop().unwrap();
    assert!(accepts(&way, &logging("")) && accepts(&way, &logging("  expected_bucket_owner = \"z\"\n")));
    assert!(!accepts(&way, &logging(grant)) && accepts(&general, &logging(grant)));
}

#[test]
fn a_target_that_leads_to_its_companion_names_it() {
    let instance = BlockAddr::resource("aws_db_instance", "main");
    let module = "resource \"aws_db_instance\" \"main\" {\n  instance_class = \"x\"\n}\n";
    let way = with_companion(vec![], "aws_db_parameter_group", vec![wanted("parameter.name", be(json!(["p"])))]);
    let scope = |way: Way| {
        let path = RelPath::new("main.tf").unwrap();
        let tree = SourceTree::from_files("/", [SourceFile::parse(path, module.into()).unwrap()]);
        let dir = RelPath::default();
        let target = tree.find(&dir, &instance).unwrap().1;
        let companion_types = companion_types("aws_db_instance", ["aws_db_parameter_group"], []);
        let names = Names::of(&tree, &dir);
        let (schemas, house, shapes) = (Schemas::embedded(), Arc::default(), Shapes::default());
        compile(Scope {
            target,
            names,
            schemas,
            companion_types,
            ways: vec![way],
            found: Vec::new(),
            house,
            knowledge: Arc::default(),
            shapes,
            supposed: None,
        })
        .unwrap()
    };
    let grammar = scope(way).ways().pop().unwrap();
    let group = "resource \"aws_db_parameter_group\" \"main\" {\n  family = \"postgres16\"\n  parameter {\n    \
                 name = \"p\"\n    value = \"1\"\n  }\n}";
    let with = |line: &str| format!("resource \"aws_db_instance\" \"main\" {{\n{line}}}\n\n{group}");
    assert!(accepts(&grammar, &with("  parameter_group_name = aws_db_parameter_group.main.name\n")));
    assert!(!accepts(&grammar, &with("")));
    assert!(!accepts(&grammar, &with("  parameter_group_name = \"main\"\n")));
}

#[test]
fn a_type_without_a_schema_has_a_language_of_any_names() {
    let target = BlockAddr::resource("acme_thing", "x");
    let module = "resource \"acme_thing\" \"x\" {\n}\nresource \"acme_key\" \"k\" {\n}\n";
    let grammar = grammar_for(&target, module);
    let with = |item: &str| format!("resource \"acme_thing\" \"x\" {{\n  {item}\n}}");
    assert!(accepts(&grammar, &with("key = acme_key.k.whatever\n  rule {\n    days = -1.5\n  }")));
    assert!(!accepts(&grammar, &with("key = acme_key.other.id")));
    assert!(!accepts(&grammar, &with("count = 0")));
}

/// What the prompts show as right answers must be writable.
#[test]
fn the_worked_examples_are_words() {
    let prompts = crate::prompt::Prompts::embedded().unwrap();
    for turns in prompts.opening()[1..].chunks(2) {
        let blocks = turns[0].content.split("```hcl\n").skip(1).filter_map(|part| part.split("```").next());
        let module = blocks.collect::<String>() + "\n";
        let answer = &turns[1].content;
        let header: Vec<&str> = answer.split('"').collect();
        let target = BlockAddr::resource(header[1], header[3]);
        assert!(accepts(&grammar_for(&target, &module), answer), "{answer}");
    }
}

#[test]
fn what_has_no_language_is_an_error() {
    let text = "resource \"aws_s3_bucket\" \"a b\" {\n}\n";
    let file = SourceFile::parse(RelPath::default(), text.into()).unwrap();
    let target = file.body().blocks().next().unwrap();
    let scope = Scope {
        target,
        names: Names::default(),
        schemas: Schemas::embedded(),
        companion_types: BTreeSet::new(),
        ways: Vec::new(),
        found: Vec::new(),
        house: Arc::default(),
        knowledge: Arc::default(),
        shapes: Shapes::default(),
        supposed: None,
    };
    assert_eq!(compile(scope).unwrap_err(), GrammarError::Label(target.addr()));
}

#[test]
fn a_new_block_is_put_beside_its_target() {
    let module = "resource \"azurerm_resource_group\" \"main\" {\n}\n\
        resource \"azurerm_disk_encryption_set\" \"d\" {\n  location = \"westeurope\"\n}\n";
    let target = BlockAddr::resource("azurerm_disk_encryption_set", "d");
    let identity = |location: &str, group: &str| {
        format!(
            "resource \"azurerm_disk_encryption_set\" \"d\" {{\n  auto_key_rotation_enabled = true\n}}\n\n\
             resource \"azurerm_user_assigned_identity\" \"d\" {{\n  name = \"d\"\n  location = {location}\n  \
             resource_group_name = {group}\n}}"
        )
    };
    let grammar = grammar_for(&target, module);
    let group = "azurerm_resource_group.main.name";
    assert!(accepts(&grammar, &identity("\"westeurope\"", group)));
    assert!(!accepts(&grammar, &identity("\"eastus\"", group)));
    assert!(!accepts(&grammar, &identity("\"westeurope\"", "azurerm_key_vault.d.id")));
}

#[test]
fn a_secret_is_a_variable_that_has_to_be_given() {
    let module = "resource \"aws_db_instance\" \"main\" {\n}\n";
    let with = |secret: &str| format!("resource \"aws_db_instance\" \"main\" {{\n  password = {secret}\n}}");
    let variable = |name: &str| {
        format!(
            "\n\nvariable \"{name}\" {{\n  type        = string\n  description = \"Secret of aws_db_instance.main: to be \
             given from outside of the code.\"\n  default     = \"\"\n  sensitive   = true\n}}"
        )
    };
    let grammar = |module: &str| grammar_for(&BlockAddr::resource("aws_db_instance", "main"), module);
    assert!(accepts(&grammar(module), &(with("var.main_password") + &variable("main_password"))));
    for refused in [with("\"hunter2\""), with("\"\""), with("var.password"), with("var.other") + &variable("other")] {
        assert!(!accepts(&grammar(module), &refused), "{refused}");
    }
    let has = format!("{module}variable \"db_password\" {{\n}}\nresource \"random_password\" \"db\" {{\n}}\n");
    assert!(accepts(&grammar(&has), &with("var.db_password")));
    assert!(accepts(&grammar(&has), &with("random_password.db.result")));
    for other in ["session_token", "admin_password"] {
        let module = format!("{module}variable \"{other}\" {{\n}}\n");
        assert!(!accepts(&grammar(&module), &with(&format!("var.{other}"))), "{other} is for something else");
    }
    let taken = format!("{module}variable \"password\" {{\n}}\n");
    assert!(accepts(&grammar(&taken), &with("var.password")));
}

#[test]
fn a_connection_is_made_where_names_lead_to_it_inside_of_a_block_too() {
    let companion = Companion { ty: "azurerm_private_endpoint".to_owned(), to: None, wanted: Vec::new() };
    let way = Way { companions: vec![companion], ..Way::default() };
    let module = "resource \"azurerm_key_vault\" \"v\" {\n  location = \"x\"\n  resource_group_name = \"g\"\n}\n\
        resource \"azurerm_subnet\" \"s\" {\n}\n";
    let grammar = going(&BlockAddr::resource("azurerm_key_vault", "v"), module, vec![way]).ways().remove(0);
    let endpoint = |to: &str, subnet: &str| {
        format!(
            "resource \"azurerm_key_vault\" \"v\" {{\n}}\n\nresource \"azurerm_private_endpoint\" \"v\" {{\n  name = \"v\"\n  \
             location = \"x\"\n  resource_group_name = \"g\"\n  subnet_id = {subnet}\n  private_service_connection {{\n    \
             name = \"v\"\n    private_connection_resource_id = {to}\n    is_manual_connection = false\n  }}\n}}"
        )
    };
    let (vault, subnet) = ("azurerm_key_vault.v.id", "azurerm_subnet.s.id");
    assert!(accepts(&grammar, &endpoint(vault, subnet)));
    for (to, subnet) in [("azurerm_key_vault.v.name", subnet), (vault, vault), ("\"x\"", subnet)] {
        assert!(!accepts(&grammar, &endpoint(to, subnet)), "{to} {subnet}");
    }
}

#[test]
fn what_a_new_block_names_is_what_its_arguments_mean() {
    let module = "resource \"aws_flow_log\" \"a\" {\n}\n";
    let grammar = grammar_for(&BlockAddr::resource("aws_flow_log", "a"), module);
    let role = |policy: &str| {
        format!(
            "resource \"aws_flow_log\" \"a\" {{\n  iam_role_arn = aws_iam_role.a.arn\n}}\n\nresource \"aws_iam_role\" \"a\" {{\n  \
             assume_role_policy = {policy}\n}}"
        )
    };
    let document = "jsonencode({\n    Version = \"2012-10-17\"\n  })";
    assert!(accepts(&grammar, &role(document)));
    let other = "\n\nresource \"aws_iam_role_policy\" \"a\" {\n  role = aws_iam_role.a.name\n  policy = jsonencode({\n    A = \"b\"\n  })\n}";
    assert!(accepts(&grammar, &(role(document) + other)));
    assert!(!accepts(&grammar, &(role(document) + &other.replace("aws_iam_role.a.name", "aws_flow_log.a.id"))));
    assert!(!accepts(&grammar, &(role("aws_iam_role_policy.a.name") + other)));
    assert!(!accepts(&grammar, &role("\"x\"")));
    let listener = "resource \"aws_elb\" \"a\" {\n  listener {\n    lb_port = 80\n  }\n}\nresource \"aws_iam_role\" \"r\" {\n}\n\
        resource \"aws_acm_certificate\" \"c\" {\n}\n";
    let grammar = grammar_for(&BlockAddr::resource("aws_elb", "a"), listener);
    let certificate =
        |id: &str| format!("resource \"aws_elb\" \"a\" {{\n  listener {{\n    ssl_certificate_id = {id}\n  }}\n}}");
    assert!(accepts(&grammar, &certificate("aws_acm_certificate.c.id")));
    assert!(!accepts(&grammar, &certificate("aws_iam_role.r.id")));
}
