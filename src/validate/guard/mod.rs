//! The guardrails: what no fix may do, whatever the scanner thinks of it.
//!
//! In: the tree before and after, and which block was to be changed. Out: reasons to refuse, and reasons why a person
//! must look. Everything here is decided on the two texts; the model's answer is not looked at.

mod access;
mod documents;
mod openings;
mod policies;
mod reviewed;
mod sameness;
mod spans;
mod structure;
mod values;

use std::collections::BTreeSet;

use crate::knowledge::Knowledge;
use crate::source::{BlockAddr, RelPath, SourceTree};

/// A change under judgement.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The tree as scanned: what no fix has made up.
    pub scanned: &'a SourceTree,
    /// The tree without it.
    pub before: &'a SourceTree,
    /// The tree with it.
    pub after: &'a SourceTree,
    /// The file that holds the target.
    pub file: &'a RelPath,
    /// The block that was to be changed.
    pub target: &'a BlockAddr,
    /// The blocks that were added.
    pub companions: &'a [BlockAddr],
    /// The paths that the rule says it looked at; `None` where its scanner does not say.
    pub inspected: Option<&'a [String]>,
    /// What people know: what the user has given is not made up, and some things are for a person to look at.
    pub knowledge: &'a Knowledge,
}

/// What the guardrails say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Why the change is refused; empty when it is not.
    pub reasons: Vec<String>,
    /// Why a person must look at it.
    pub review: Vec<String>,
    /// Whether it is refused for values alone that nobody can know from the module.
    pub only_unknown: bool,
}

/// Judges a change.
pub fn judge(change: &Change<'_>) -> Guarded {
    let mut guarded = Guarded::default();
    structure::judge(change, &mut guarded);
    sameness::judge(change, &mut guarded);
    let others = guarded.reasons.len();
    values::judge(change, &mut guarded);
    let values = guarded.reasons.len();
    access::judge(change, &mut guarded);
    let no_other = others == 0 && guarded.reasons.len() == values;
    openings::judge(change, &mut guarded);
    spans::judge(change, &mut guarded);
    // Who else may come, nobody knows either.
    let known = guarded.reasons.len();
    documents::judge(change, &mut guarded);
    policies::judge(change, &mut guarded);
    reviewed::judge(change, &mut guarded);
    guarded.only_unknown = no_other && known > 0 && guarded.reasons.len() == known;
    dedup(&mut guarded.reasons);
    dedup(&mut guarded.review);
    guarded
}

fn dedup(lines: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::source::SourceFile;
    use std::collections::BTreeMap;

    /// A tree of one file, `main.tf`.
    pub(crate) fn tree(text: &str) -> SourceTree {
        let file = SourceFile::parse(main_tf(), text.as_bytes().to_vec()).unwrap();
        SourceTree::from_files("/nowhere", [file])
    }

    fn main_tf() -> RelPath {
        RelPath::new("main.tf").unwrap()
    }

    pub(crate) fn judged(
        before: &SourceTree,
        after: &SourceTree,
        target: &BlockAddr,
        companions: &[BlockAddr],
    ) -> Guarded {
        let knowledge = Knowledge::load(&[], None).unwrap();
        let inspected = Some(&["rule.from_port".to_owned()][..]);
        judge(&Change {
            scanned: before,
            before,
            after,
            file: &main_tf(),
            target,
            companions,
            inspected,
            knowledge: &knowledge,
        })
    }

    const BEFORE: &str = r#"
variable "env" {
  default = "dev"
}
resource "aws_vpc" "main" {
  cidr_block = "10.20.0.0/16"
}
resource "aws_security_group" "web" {
  description = "arn:aws:iam::210987654321:role/known"
  ingress {
    cidr_blocks = ["0.0.0.0/0"]
  }
  ingress {
    cidr_blocks = ["1.2.3.4/32"]
  }
}
"#;

    /// Judges the change of `BEFORE` that a replacement of text makes; companions are what is new.
    fn replaced(from: &str, to: &str) -> Guarded {
        assert!(BEFORE.contains(from));
        let (before, after) = (tree(BEFORE), tree(&BEFORE.replacen(from, to, 1)));
        let target = BlockAddr::resource("aws_security_group", "web");
        let new: Vec<_> = {
            let known: BTreeSet<_> = before.file(&main_tf()).unwrap().body().blocks().map(|b| b.addr()).collect();
            let blocks = after.file(&main_tf()).unwrap().body().blocks().map(|b| b.addr());
            blocks.filter(|b| !known.contains(b)).collect()
        };
        judged(&before, &after, &target, &new)
    }

    /// The change that adds a line to the target.
    fn added(line: &str) -> Guarded {
        replaced("  description", &format!("  {line}\n  description"))
    }

    #[track_caller]
    fn refused(guarded: &Guarded, why: &str) {
        assert!(guarded.reasons.iter().any(|r| r.contains(why)), "{why:?} is not in {guarded:?}");
    }

    /// What a person must look at in a second fix that changes `was` into `is`, as a first one did with another block.
    fn second(ty: &str, argument: &str, was: &str, is: &str) -> [String; 2] {
        let block = |name: &str, value: &str| {
            format!("resource \"{ty}\" \"{name}\" {{\n  part {{\n    {argument} = {value}\n  }}\n}}\n")
        };
        let module = |one: &str, other: &str| tree(&format!("{}{}", block("one", one), block("other", other)));
        let [scanned, before, after] = [(was, was), (is, was), (is, is)].map(|(one, other)| module(one, other));
        let (target, knowledge) = (BlockAddr::resource(ty, "other"), Knowledge::default());
        [&scanned, &before].map(|scanned| {
            let guarded = judge(&Change {
                scanned,
                before: &before,
                after: &after,
                file: &main_tf(),
                target: &target,
                companions: &[],
                inspected: None,
                knowledge: &knowledge,
            });
            assert_eq!(guarded.reasons, Vec::<String>::new());
            guarded.review.join(" ")
        })
    }

    #[test]
    fn what_an_earlier_fix_has_made_up_is_for_a_person_too() {
        for (ty, argument, was, is, told) in [
            (
                "aws_security_group",
                "cidr_blocks",
                "[\"0.0.0.0/0\"]",
                "[\"10.9.0.0/16\"]",
                "whether 10.9.0.0/16 is the right",
            ),
            ("kubernetes_pod", "image", "\"nginx:latest\"", "\"nginx:1.27\"", "which version, as in \"nginx:1.27\""),
        ] {
            let [made_up, stood] = second(ty, argument, was, is);
            assert!(made_up.contains(told), "{made_up}");
            assert!(!stood.contains(told), "{stood}");
        }
    }

    #[test]
    fn an_honest_change_passes() {
        assert_eq!(added("vpc_id = aws_vpc.main.id"), Guarded::default());
        assert_eq!(added("name = var.env"), Guarded::default());
        let looked_up = "data \"aws_vpc\" \"other\" {\n}\n";
        for (range, around) in [("aws_vpc.main.cidr_block", ""), ("data.aws_vpc.other.cidr_block", looked_up)] {
            let before = format!("{BEFORE}{around}");
            let after = before.replacen("[\"0.0.0.0/0\"]", &format!("[{range}]"), 1);
            let own = judged(&tree(&before), &tree(&after), &BlockAddr::resource("aws_security_group", "web"), &[]);
            assert!(own.reasons.is_empty() && own.review[0].contains("who may come"), "{own:?}");
        }
    }

    #[test]
    fn what_hides_a_finding_is_refused() {
        refused(&added("# checkov:skip=CKV_AWS_24: fine"), "suppression");
        refused(&added("#tfsec:ignore:aws-x"), "suppression");
        refused(&added("count = 0"), "count");
        refused(&added("for_each = {}"), "for_each");
        refused(&replaced("resource \"aws_vpc\" \"main\" {\n  cidr_block = \"10.20.0.0/16\"\n}\n", ""), "aws_vpc.main");
        refused(&replaced("\"aws_security_group\" \"web\"", "\"aws_security_group\" \"other\""), "is gone");
    }

    #[test]
    fn other_blocks_stay_as_they_are() {
        refused(&replaced("10.20.0.0/16", "10.30.0.0/16"), "aws_vpc.main");
    }

    #[test]
    fn what_runs_things_or_ignores_changes_is_refused() {
        refused(&added("provisioner \"local-exec\" {\n    command = \"x\"\n  }"), "provisioner");
        refused(&added("lifecycle {\n    ignore_changes = [ingress]\n  }"), "ignore_changes");
        refused(&added("name = file(\"secret\")"), "file()");
    }

    #[test]
    fn names_must_be_declared_and_variables_have_a_default() {
        refused(&added("name = var.nothing"), "var.nothing");
        refused(&added("key = aws_kms_key.none.arn"), "aws_kms_key.none");
        let variable = "resource \"aws_security_group\"";
        refused(&replaced(variable, &format!("variable \"x\" {{\n}}\n{variable}")), "default");
    }

    #[test]
    fn blocks_must_not_refer_to_one_another_in_a_circle() {
        let text = "resource \"t\" \"a\" {\n}\nresource \"t\" \"b\" {\n  x = t.a.id\n}\n";
        let (before, after) =
            (tree(text), tree(&text.replacen("{\n}", "{\n  y = local.b\n}\nlocals {\n  b = t.b.id\n}", 1)));
        let target = BlockAddr::resource("t", "a");
        let locals = BlockAddr { keyword: "locals".into(), labels: Vec::new() };
        refused(&judged(&before, &after, &target, &[locals]), "circle");
    }

    #[test]
    fn invented_values_are_refused() {
        for (line, why) in [
            ("key = \"arn:aws:kms:eu-west-1:123456789012:key/abc\"", "arn:aws:kms"),
            ("key = \"your-key\"", "placeholder"),
            ("key = \"<key id>\"", "placeholder"),
            ("subnet = \"subnet-0a1b2c3d\"", "subnet-0a1b2c3d"),
            ("master_password = \"hunter2hunter2\"", "secret"),
            ("cidrs = [\"203.0.113.7/32\"]", "203.0.113.7"),
            ("mail = \"ops@corp.test\"", "ops@corp.test"),
            ("env = {\n    DB_PASSWORD = \"hunter2hunter2\"\n  }", "secret"),
            ("cidrs = [\"0.0.0.0/1\"]", "0.0.0.0/1"),
            ("log_bucket = \"audit-logs\"", "audit-logs"),
            ("subnet_ids = [\"private-a\"]", "private-a"),
            ("logging {\n    target_bucket = \"logs\"\n  }", "logs"),
            ("cidrs = [\"2001:db8:1::/48\"]", "2001:db8:1::/48"),
            ("cidrs = [\"1.2.3.4\", \"2.3.4.3\"]", "2.3.4.3"),
            ("source = \"git::ssh://git@known/x?ref=0123456789abcdef0123456789abcdef01234567\"", "ref=0123"),
        ] {
            refused(&added(line), why);
        }
        assert_eq!(added("cidrs = [\"0.0.0.0/0\"]").reasons, Vec::<String>::new());
        assert_eq!(added("role = \"arn:aws:iam::210987654321:role/known\""), Guarded::default());
    }

    #[test]
    fn an_example_in_the_module_makes_its_word_no_placeholder() {
        refused(&added("name = \"sample-web\""), "placeholder");
        let text = "resource \"aws_sns_topic\" \"a\" {\n  name = \"sample\"\n}\n";
        let after = text.replace("  name", "  display_name = \"sample topic\"\n  name");
        let target = BlockAddr::resource("aws_sns_topic", "a");
        let (before, after) = (tree(text), tree(&after));
        assert_eq!(judged(&before, &after, &target, &[]), Guarded::default());
        // A block may be called as its label is, in the cloud's own spelling.
        let text = "resource \"aws_sns_topic\" \"badExample\" {\n}\n";
        let (before, after) = (tree(text), tree(&text.replace("{\n", "{\n  name = \"bad-example\"\n")));
        let target = BlockAddr::resource("aws_sns_topic", "badExample");
        assert_eq!(judged(&before, &after, &target, &[]), Guarded::default());
    }

    #[test]
    fn a_block_may_say_what_it_is_called_itself_and_use_what_every_account_has() {
        assert_eq!(added("kms_key_id = \"alias/aws/ebs\""), Guarded::default());
        assert_eq!(added("log_bucket = \"${var.env}-logs\""), Guarded::default());
        assert_eq!(added("rule {\n    id = \"expire\"\n  }"), Guarded::default());
        assert_eq!(added("origin_group {\n    origin_id = \"failover\"\n  }"), Guarded::default());
        let managed = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole";
        assert_eq!(added(&format!("policy_arn = \"{managed}\"")), Guarded::default());
        refused(&added("log_bucket = \"alias/aws/x\""), "alias/aws/x");
        let group = "resource \"aws_security_group\"";
        let named =
            |ty: &str| replaced(group, &format!("resource \"{ty}\" \"web\" {{\n  bucket = \"logs\"\n}}\n{group}"));
        assert_eq!(named("aws_s3_bucket"), Guarded::default());
        refused(&named("aws_s3_bucket_versioning"), "logs");
        let nested = "resource \"aws_s3_bucket\" \"web\" {\n  destination {\n    bucket = \"replica\"\n  }\n}";
        refused(&replaced(group, &format!("{nested}\n{group}")), "replica");
        let policy = |name: &str| added(&format!("policy = \"arn:aws:s3:::{name}/*\""));
        refused(&policy("replica"), "replica");
        assert_eq!(policy("known"), Guarded::default());
    }

    #[test]
    fn a_role_of_any_account_may_become_that_of_the_own() {
        let own = "${data.aws_caller_identity.current.account_id}";
        let policy = |account: &str, role: &str| {
            let principal = format!("{{\"AWS\": \"arn:aws:iam::{account}:role/{role}\"}}");
            let statement =
                format!("{{\"Effect\": \"Allow\", \"Principal\": {principal}, \"Action\": \"sns:Publish\"}}");
            tree(&format!(
                "data \"aws_caller_identity\" \"current\" {{}}\nresource \"aws_sns_topic_policy\" \"a\" {{\n  policy = \
                 <<EOT\n{{\"Statement\": [{statement}]}}\nEOT\n}}\n"
            ))
        };
        let target = BlockAddr::resource("aws_sns_topic_policy", "a");
        let to = |account: &str, role: &str| judged(&policy(account, "sns"), &policy(own, role), &target, &[]);
        assert_eq!(to("*", "sns").reasons, Vec::<String>::new());
        refused(&to("*", "other"), "role/other");
        refused(&to("210987654321", "sns"), "role/sns");
    }

    #[test]
    fn a_url_of_the_module_may_get_another_scheme() {
        let text = "resource \"aws_thing\" \"a\" {\n  uri = \"http://hooks.corp.test/in\"\n}\n";
        let target = BlockAddr::resource("aws_thing", "a");
        let with = |uri: &str| {
            let (before, after) = (tree(text), tree(&text.replace("http://hooks.corp.test/in", uri)));
            judged(&before, &after, &target, &[])
        };
        assert_eq!(with("https://hooks.corp.test/in"), Guarded::default());
        refused(&with("https://other.corp.test/in"), "other.corp.test");
    }

    #[test]
    fn what_a_person_must_choose_is_for_review() {
        for_review(&replaced("0.0.0.0/0", "10.0.0.0/8"), "10.0.0.0/8");
        let less = replaced("  ingress {\n    cidr_blocks = [\"1.2.3.4/32\"]\n  }\n", "");
        assert!(less.review[0].contains("ingress"), "{less:?}");
        let gone = replaced("  description = \"arn:aws:iam::210987654321:role/known\"\n", "");
        assert!(gone.review[0].contains("`description` is taken out"), "{gone:?}");
        refused(&replaced("[\"0.0.0.0/0\"]", "[ ]"), "who may come is not said any more");
    }

    #[track_caller]
    fn for_review(guarded: &Guarded, why: &str) {
        assert!(guarded.review.iter().any(|r| r.contains(why)), "{why:?} is not in {guarded:?}");
    }

    #[test]
    fn what_only_seems_to_close_a_finding_is_refused_or_for_review() {
        let text = "variable \"tags\" {\n  default = {}\n}\nresource \"aws_thing\" \"a\" {\n  name = \"n\"\n  enabled = true\n  \
                    ranges = [\"1.2.3.4/32\", \"5.6.7.8/32\"]\n  tags = var.tags\n  rule {\n    from_port = 22\n    cidr_blocks = []\n  }\n}\n";
        let target = BlockAddr::resource("aws_thing", "a");
        let judged = |from: &str, to: &str| {
            assert!(text.contains(from));
            let (before, after) = (tree(text), tree(&text.replacen(from, to, 1)));
            judged(&before, &after, &target, &[])
        };
        refused(&judged("enabled = true", "enabled = false"), "switches it off");
        refused(&judged("enabled = true", "enabled = true\n  disabled = true"), "switches it off");
        refused(&judged("\"n\"", "\"m\""), "with another name it is another thing");
        for_review(&judged("\"1.2.3.4/32\", ", ""), "`ranges` has lost an element");
        for_review(&judged("var.tags", "{ a = \"b\" }"), "`tags` no longer refers");
        refused(&judged("from_port = 22", "from_port = 23"), "`from_port` is another one");
        refused(&judged("from_port = 22", "from_port = 22\n    self = true"), "`self` is another one");
        for_review(&judged("enabled = true", "enabled = true\n  protocol = \"HTTPS\""), "`protocol` is another one");
        for_review(&judged("name = \"n\"", "name = \"n\"\n  publicly_accessible = false"), "may cut off");
        assert_eq!(judged("enabled = true", "enabled = true\n  encrypted = true"), Guarded::default());
        // A block of another type before it does not make it another one.
        assert_eq!(judged("  rule {", "  log {\n    on = true\n  }\n  rule {"), Guarded::default());
    }

    /// A change of one block in a module around it.
    fn changed(around: &str, line: &str) -> Guarded {
        let text = format!("{around}resource \"aws_sns_topic\" \"a\" {{\n}}\n");
        let (before, after) = (tree(&text), tree(&text.replace("\"a\" {\n", &format!("\"a\" {{\n  {line}\n"))));
        let target = BlockAddr::resource("aws_sns_topic", "a");
        judged(&before, &after, &target, &[])
    }

    #[test]
    fn what_a_provider_cannot_change_in_place_is_for_review() {
        let text = "resource \"aws_db_instance\" \"a\" {\n  storage_encrypted = false\n}\n";
        let target = BlockAddr::resource("aws_db_instance", "a");
        let judged = |after: &str| {
            let (before, after) = (tree(text), tree(after));
            judged(&before, &after, &target, &[])
        };
        let encrypted = judged(&text.replace("false", "true"));
        assert!(encrypted.review[0].contains("`storage_encrypted` may make terraform replace"), "{encrypted:?}");
        assert_eq!(judged(&text.replace("false", "false\n  copy_tags_to_snapshot = true")), Guarded::default());
    }

    #[test]
    fn what_may_not_be_there_is_for_review() {
        let key = |count: &str| format!("resource \"aws_kms_key\" \"k\" {{\n  count = {count}\n}}\n");
        let first = "kms_master_key_id = aws_kms_key.k[0].id";
        assert!(changed(&key("var.on ? 1 : 0"), first).review[0].contains("count is not 0"));
        assert_eq!(changed(&key("2"), first), Guarded::default());
        for (header, named) in [("data \"aws_kms_key\" \"k\"", "data.aws_kms_key.k"), ("module \"k\"", "module.k")] {
            let around = format!("{header} {{\n  count = var.on ? 1 : 0\n}}\n");
            let guarded = changed(&around, &format!("kms_master_key_id = {named}[0].id"));
            assert!(guarded.review.iter().any(|reason| reason.contains("count is not 0")), "{guarded:?}");
        }
        let variable = |default: &str| format!("variable \"key\" {{\n{default}}}\n");
        assert!(changed(&variable(""), "kms_master_key_id = var.key").review[0].contains("var.key has no default"));
        assert_eq!(changed(&variable("  default = \"\"\n"), "kms_master_key_id = var.key"), Guarded::default());
    }

    #[test]
    fn a_word_of_the_module_is_not_the_name_of_a_thing() {
        let bucket = "resource \"aws_s3_bucket\" \"b\" {\n  bucket = \"logs\"\n  acl = \"private\"\n}\n";
        refused(&changed(bucket, "kms_master_key_id = \"private\""), "names what the module does not have");
        refused(&changed(bucket, "iam_instance_profile = \"b\""), "names what the module does not have");
        assert_eq!(changed(bucket, "log_bucket = \"logs\""), Guarded::default());
    }

    #[test]
    fn functions_and_blocks_are_found_wherever_they_stand() {
        refused(&changed("", "x = filesha256 (\"a\")"), "reads what is not in the code");
        refused(&changed("", "y {\n    dynamic \"z\" {\n      for_each = []\n    }\n  }"), "dynamic");
        refused(&changed("variable \"s\" {\n  default = \"\"\n}\n", "secret_string = \"hunter${var.s}\""), "secret");
        assert_eq!(
            changed("variable \"s\" {\n  default = \"\"\n}\n", "secret_string = \"${var.s}\""),
            Guarded::default()
        );
    }

    #[test]
    fn what_a_new_block_leads_elsewhere_does_not_lead_back() {
        let of = |block: &str| {
            let bucket = "resource \"aws_s3_bucket\" \"a\" {\n}\n";
            let new = block.split('"').nth(1).unwrap();
            let after = tree(&format!("{bucket}{block}"));
            judged(&tree(bucket), &after, &BlockAddr::resource("aws_s3_bucket", "a"), &[BlockAddr::resource(new, "a")])
        };
        let copy = "bucket = aws_s3_bucket.a.id\n  rule {\n    destination {\n      bucket = aws_s3_bucket.a.arn\n    }\n  }\n";
        refused(
            &of(&format!("resource \"aws_s3_bucket_replication_configuration\" \"a\" {{\n  {copy}}}\n")),
            "leads back to",
        );
        let log = "bucket = aws_s3_bucket.a.id\n  target_bucket = aws_s3_bucket.a.id\n";
        let logged = of(&format!("resource \"aws_s3_bucket_logging\" \"a\" {{\n  {log}}}\n"));
        assert!(logged.reasons.is_empty() && logged.review.iter().any(|it| it.contains("leads back to")), "{logged:?}");
        let policy = "bucket = aws_s3_bucket.a.id\n  policy = jsonencode({ Resource = aws_s3_bucket.a.arn })\n";
        assert_eq!(of(&format!("resource \"aws_s3_bucket_policy\" \"a\" {{\n  {policy}}}\n")).reasons, [""; 0]);
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Deceptive {
        what: String,
        target: String,
        before: String,
        from: String,
        to: String,
        why: String,
    }

    #[test]
    fn fixes_that_only_deceive_are_refused() {
        let list: BTreeMap<String, Vec<Deceptive>> =
            toml::from_str(include_str!("../../../tests/fixtures/deceptive.toml")).unwrap();
        assert!(list["fix"].len() > 20);
        for Deceptive { what, target, before, from, to, why } in &list["fix"] {
            assert!(before.contains(from.as_str()), "{what}: {from}");
            let (before, after) = (tree(before), tree(&before.replacen(from.as_str(), to, 1)));
            let target = target.parse::<crate::source::ResourceAddr>().unwrap().block;
            let addrs = |tree: &SourceTree| -> Vec<BlockAddr> {
                tree.file(&main_tf()).unwrap().body().blocks().map(|block| block.addr()).collect()
            };
            let stood = addrs(&before);
            let companions: Vec<BlockAddr> = addrs(&after).into_iter().filter(|addr| !stood.contains(addr)).collect();
            let guarded = judged(&before, &after, &target, &companions);
            assert!(guarded.reasons.iter().any(|reason| reason.contains(why.as_str())), "{what}: {guarded:?}");
        }
    }
}
