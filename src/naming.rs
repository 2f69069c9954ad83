//! Whether an argument names a thing that stands elsewhere, by what it is called: who writes one has to have that thing.
//!
//! In: the name of an argument, and where it stands. Out: whether a text in it has to be known from the module; the guardrails
//! refuse others, and the languages of answers have none.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let ends = "ids?|arns?|self_link|bucket|bucket_name|kms_key|kms_key_name|key_ring|instance_profile|subnetwork|\
                security_groups|log_group_name|[a-z]+_group_name|key_vault_name|storage_account_name|role_name";
    pattern(&format!("(^|_)({ends})$"))
});

static OWN: LazyLock<Regex> = LazyLock::new(|| pattern("(^|_)(name|identifier)$"));

/// Arguments of that form whose value is a label, given by who writes it.
const LABELS: [&str; 4] = ["id", "origin_id", "rule_id", "statement_id"];

static MANAGED: LazyLock<Regex> = LazyLock::new(|| pattern("^arn:aws[a-z-]*:iam::aws:"));

/// Whether an argument of a block names a thing which stands elsewhere: not where it is a label, or where the block is such a
/// thing itself and the argument its own (`is_outer`: it stands in no nested block).
pub fn names_another(ty: &str, is_outer: bool, argument: &str) -> bool {
    let stem = argument.strip_suffix("_id").or_else(|| argument.strip_suffix("_name")).unwrap_or(argument);
    let is_own = is_outer && ty.ends_with(&format!("_{stem}"));
    REFERENCE.is_match(argument) && !LABELS.contains(&argument) && !is_own
}

/// Whether an argument holds what a thing is called, be it its own or another.
pub fn holds_name(argument: &str) -> bool {
    REFERENCE.is_match(argument) || OWN.is_match(argument)
}

/// Whether a text names what AWS itself keeps in every account: managed policies, and the default keys by their aliases.
pub fn is_everywhere(argument: &str, text: &str) -> bool {
    MANAGED.is_match(text) || argument.contains("key") && text.starts_with("alias/aws/")
}

/// The texts that an argument may hold of what is [everywhere](is_everywhere), in quotes, as a regular expression.
pub fn everywhere(argument: &str) -> Option<&'static str> {
    match argument {
        _ if argument.ends_with("policy_arn") || argument.ends_with("policy_arns") => {
            Some(r#""arn:aws[a-z-]*:iam::aws:policy\/[A-Za-z0-9\/_+=,.@-]+""#)
        }
        _ if argument.contains("key") => Some(r#""alias\/aws\/[a-z0-9-]+""#),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_other_things_by_what_they_are_called() {
        for argument in
            ["kms_key_id", "subnet_ids", "role_arn", "bucket", "cluster_subnet_group_name", "vpc_security_group_ids"]
        {
            assert!(names_another("aws_db_instance", true, argument), "{argument}");
        }
        for argument in ["name", "id", "origin_id", "engine_version", "identifier"] {
            assert!(!names_another("aws_db_instance", true, argument), "{argument}");
        }
        assert!(!names_another("aws_s3_bucket", true, "bucket"));
        assert!(names_another("aws_s3_bucket", false, "bucket"), "in a nested block it is another one");
    }

    #[test]
    fn what_is_everywhere_is_told_by_its_form() {
        for (argument, text) in [
            ("policy_arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
            ("managed_policy_arns", "arn:aws-cn:iam::aws:policy/service-role/A"),
            ("kms_master_key_id", "alias/aws/sns"),
        ] {
            assert!(is_everywhere(argument, text), "{text}");
            let form = everywhere(argument).unwrap().trim_matches('"').replace("\\/", "/");
            assert!(pattern(&format!("^{form}$")).is_match(text), "{text}");
        }
        assert!(
            !is_everywhere("kms_key_id", "alias/mine")
                && !is_everywhere("policy_arn", "arn:aws:iam::123456789012:policy/a")
        );
        assert_eq!(everywhere("vpc_id"), None);
    }
}
