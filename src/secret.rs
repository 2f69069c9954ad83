//! What holds a secret: by the name of the argument, or by the form of the text.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let names = "password|passwd|passphrase|secret|secret_(key|string|data|value)|private_key|access_key|account_key|\
                 shared_key|psk|api_key|token|credentials|connection_string";
    pattern(&format!("(?i)(^|_)({names})$"))
});

static FORM: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|\bghp_[0-9A-Za-z]{36}\b"));

/// Whether an argument of this name holds a secret.
pub fn is_name_of_one(argument: &str) -> bool {
    NAME.is_match(argument)
}

/// Whether an argument of this name holds a secret itself, and not what leads to one: the `secret` of a version of it, or the
/// role whose `credentials` are used.
pub fn is_name_of_text(argument: &str) -> bool {
    is_name_of_one(argument) && argument != "secret" && !argument.ends_with("credentials")
}

/// Whether a secret stands in a text: a key of AWS, a private key, a token of GitHub.
pub fn is_in(text: &str) -> bool {
    FORM.is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_and_by_form() {
        for name in ["password", "administrator_login_password", "auth_token", "secret_string", "primary_access_key"] {
            assert!(is_name_of_one(name), "{name}");
        }
        for name in ["password_policy", "secret_id", "token_validity", "kms_key_id", "key", "allowed_tokens"] {
            assert!(!is_name_of_one(name), "{name}");
        }
        assert!(is_name_of_text("client_secret") && !is_name_of_text("secret") && is_name_of_one("secret"));
        assert!(is_in("id AKIAIOSFODNN7EXAMPLE"));
        assert!(!is_in("aws_kms_key.main.arn"));
    }
}
