//! Whether an argument names a thing that stands elsewhere, by what it is called: who writes one has to have that thing.
//!
//! In: the name of an argument, and where it stands. Out: whether a text in it has to be known from the module; the guardrails
//! refuse others, and the languages of answers have none.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let ends = "ids?|arns?|self_link|public_key|bucket|bucket_name|kms_key|kms_key_name|key_ring|instance_profile|subnetwork|\
                security_groups?|log_group_name|[a-z]+_group_name|key_vault_name|storage_account_name|role_name";
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

/// Whether an argument of a block, by its path, is what the block itself is called: what had another name is another thing.
pub fn is_own_name(ty: &str, path: &str) -> bool {
    let stem = path.strip_suffix("_identifier").or_else(|| path.strip_suffix("_name")).unwrap_or(path);
    match path {
        "name" | "identifier" => true,
        "metadata.name" | "metadata.namespace" => ty.starts_with("kubernetes_"),
        _ => holds_name(path) && ty.ends_with(&format!("_{stem}")),
    }
}

/// Whether an argument holds what a thing is called, be it its own or another.
pub fn holds_name(argument: &str) -> bool {
    REFERENCE.is_match(argument) || OWN.is_match(argument)
}

/// Words that say of no thing which one it is.
const PLAIN_WORDS: [&str; 7] = ["arn", "id", "list", "name", "of", "the", "value"];

/// Whether a variable, a local or an output (as it is referred to) is called as an argument is: the last word that says
/// which thing is meant, or two of its words, are the same. An argument without such a word asks for all of its own.
pub fn is_called_alike(argument: &str, reference: &str) -> bool {
    // Of a module's outputs, their own names tell.
    let called = reference.rsplit('.').next().unwrap_or(reference);
    let ends = |name: &str, ends: &[&str]| ends.iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let is_given_out = |name: &str| ends(name, &["_id", "_ids", "_arn", "_arns"]);
    if is_given_out(argument) && ends(called, &["_name", "_names"])
        || ends(argument, &["_name"]) && is_given_out(called)
    {
        return false;
    }
    let other = words(called);
    let all = words(argument);
    let telling: Vec<&String> = all.iter().filter(|word| !PLAIN_WORDS.contains(&word.as_str())).collect();
    match telling.last() {
        Some(last) => other.contains(last) || telling.iter().filter(|word| other.contains(word)).count() > 1,
        None => all.iter().all(|word| other.contains(word)),
    }
}

/// The words of a name, each as one of several is called.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || c.is_ascii_uppercase() && was_small {
            words.push(String::new());
        }
        was_small = c.is_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            words.last_mut().expect("there is one").push(c.to_ascii_lowercase());
        }
    }
    let single = |word: String| match (word.strip_suffix("ies"), word.strip_suffix("sses"), word.strip_suffix('s')) {
        (Some(stem), ..) => format!("{stem}y"),
        (_, Some(stem), _) => format!("{stem}ss"),
        (.., Some(stem)) if !stem.ends_with('s') => stem.to_owned(),
        _ => word,
    };
    words.into_iter().filter(|word| !word.is_empty()).map(single).collect()
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
            ["kms_key_id", "subnet_ids", "role_arn", "bucket", "cluster_subnet_group_name", "security_group"]
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
    fn own_names_are_those_of_the_block() {
        for (ty, path) in [
            ("azurerm_subnet", "name"),
            ("aws_s3_bucket", "bucket"),
            ("aws_db_instance", "identifier"),
            ("aws_iam_user", "user_name"),
            ("kubernetes_service_account", "metadata.name"),
        ] {
            assert!(is_own_name(ty, path), "{ty} {path}");
        }
        for (ty, path) in [
            ("azurerm_mssql_database", "sku_name"),
            ("azurerm_subnet", "virtual_network_name"),
            ("aws_db_instance", "ca_cert_identifier"),
            ("aws_ecs_task_definition", "metadata.name"),
            ("google_sql_database_instance", "settings.database_flags.name"),
        ] {
            assert!(!is_own_name(ty, path), "{ty} {path}");
        }
    }

    #[test]
    fn inputs_are_called_as_arguments_are() {
        for (argument, reference) in [
            ("kms_key_id", r"var\.kms_key_arn"),
            ("subnet_ids", r"module\.network\.private_subnets"),
            ("name", r"var\.bucket_name"),
            ("ssl_certificate_id", r"local\.certificate"),
            ("cidr_blocks", r"var\.allowed_cidr_blocks"),
            ("address", r"var\.allowed_addresses"),
            ("kms_key_id", r"var\.kmsKeyArn"),
            ("policy", r"local\.policies"),
        ] {
            assert!(is_called_alike(argument, reference), "{argument} {reference}");
        }
        for (argument, reference) in [
            ("ssl_certificate_id", r"var\.ami"),
            ("account_name", r"var\.subscription_id"),
            ("private_dns_zone_ids", r"var\.private_subnets"),
            ("name", r"var\.environment"),
            ("storage_account_name", r"var\.account_id"),
            ("network", r"module\.network\.vpc_id"),
        ] {
            assert!(!is_called_alike(argument, reference), "{argument} {reference}");
        }
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
