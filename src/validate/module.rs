//! The validate gate: `terraform validate` with the module's own providers, where they can be had without a network.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::outcome::Judgement;
use crate::process::ProcessError;

use super::terraform::Terraform;

const VALIDATE_LIMIT: Duration = Duration::from_secs(120);
const INIT_LIMIT: Duration = Duration::from_secs(300);

/// What `terraform validate` said of a module before it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Baseline {
    /// It validates.
    Valid,
    /// It cannot be asked, or does not validate to begin with.
    Unavailable(String),
}

/// `terraform validate -json` (Terraform docs, "Machine-readable UI", format 1.0).
#[derive(Debug, Deserialize)]
struct Report {
    valid: bool,
    #[serde(default)]
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    snippet: Option<Snippet>,
}

#[derive(Debug, Deserialize)]
struct Snippet {
    /// The header of the block that the diagnostic is about.
    #[serde(default)]
    context: Option<String>,
}

/// Asks for the first time; initialises the copy where a mirror is configured. A terraform that cannot be run makes the
/// gate unavailable.
///
/// # Errors
/// When the user interrupts.
pub(super) fn baseline(terraform: Option<&Terraform>, dir: &Path) -> Result<Baseline, ProcessError> {
    or_unavailable(first(terraform, dir), Baseline::Unavailable)
}

fn first(terraform: Option<&Terraform>, dir: &Path) -> Result<Baseline, ProcessError> {
    let Some(terraform) = terraform else {
        return Ok(Baseline::Unavailable("neither terraform nor tofu is on the PATH".into()));
    };
    if !dir.join(".terraform").exists() {
        if !mirror_configured() {
            return Ok(Baseline::Unavailable(format!("`{} init` was not run in the module", terraform.name())));
        }
        let out = terraform.init(dir, INIT_LIMIT)?;
        if !out.success() {
            return Ok(Baseline::Unavailable(format!("terraform init failed: {}", first_line(&out.stderr_text()))));
        }
    }
    Ok(match errors(terraform, dir)? {
        Ok(errors) if errors.is_empty() => Baseline::Valid,
        Ok(errors) => {
            let first = errors.first().cloned().unwrap_or_default();
            Baseline::Unavailable(format!("the module did not validate before the change: {first}"))
        }
        Err(why) => Baseline::Unavailable(why),
    })
}

/// Judges the changed module.
///
/// # Errors
/// When the user interrupts.
pub(super) fn judge(terraform: Option<&Terraform>, before: &Baseline, dir: &Path) -> Result<Judgement, ProcessError> {
    or_unavailable(again(terraform, before, dir), |why| Judgement::Unavailable { why })
}

/// A process that cannot be run or hangs is told, and ends nothing; an interruption does.
pub(super) fn or_unavailable<T>(
    result: Result<T, ProcessError>,
    unavailable: impl Fn(String) -> T,
) -> Result<T, ProcessError> {
    match result {
        Err(ProcessError::Interrupted) => Err(ProcessError::Interrupted),
        Err(error) => Ok(unavailable(error.to_string())),
        Ok(value) => Ok(value),
    }
}

fn again(terraform: Option<&Terraform>, before: &Baseline, dir: &Path) -> Result<Judgement, ProcessError> {
    let terraform = match (terraform, before) {
        (Some(terraform), Baseline::Valid) => terraform,
        (_, Baseline::Unavailable(why)) => return Ok(Judgement::Unavailable { why: why.clone() }),
        (None, Baseline::Valid) => return Ok(Judgement::Unavailable { why: "terraform is gone".into() }),
    };
    Ok(match errors(terraform, dir)? {
        Ok(errors) if errors.is_empty() => Judgement::Pass { note: None },
        Ok(errors) => Judgement::Reject { reasons: errors.into_iter().collect() },
        Err(why) => Judgement::Unavailable { why },
    })
}

/// The errors that validate reports, each once; `Err` when it gave no report.
fn errors(terraform: &Terraform, dir: &Path) -> Result<Result<BTreeSet<String>, String>, ProcessError> {
    let out = terraform.run(dir, &["validate", "-json", "-no-color"], VALIDATE_LIMIT)?;
    let Ok(report) = serde_json::from_slice::<Report>(&out.stdout) else {
        return Ok(Err(format!("terraform validate gave no report: {}", first_line(&out.stderr_text()))));
    };
    let errors = report.diagnostics.into_iter().filter(|d| d.severity == "error").map(|d| {
        let block = d.snippet.and_then(|snippet| snippet.context);
        let place = block.map(|block| format!("{block}: ")).unwrap_or_default();
        format!("terraform validate: {place}{}: {}", d.summary, first_line(&d.detail))
    });
    let errors: BTreeSet<String> = errors.collect();
    if errors.is_empty() && !report.valid {
        return Ok(Err("terraform validate says neither valid nor why not".into()));
    }
    Ok(Ok(errors))
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Whether the user's CLI configuration installs providers from a folder and never from a registry.
fn mirror_configured() -> bool {
    let file = std::env::var_os("TF_CLI_CONFIG_FILE").map(std::path::PathBuf::from);
    let file = file.or_else(|| Some(dirs::home_dir()?.join(".terraformrc")));
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let code = text.lines().map(|line| line.split(['#']).next().unwrap_or_default());
    let code: Vec<&str> = code.filter(|line| !line.trim_start().starts_with("//")).collect();
    let names =
        |word: &str| code.iter().any(|line| line.split_whitespace().any(|part| part.trim_end_matches('{') == word));
    names("filesystem_mirror") && !names("direct")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `terraform_data` is built into terraform: its module is initialised without a network. It calls another, so that
    /// there is something to initialise.
    #[test]
    fn an_initialised_module_is_validated_by_terraform() {
        let terraform = Terraform::find().expect("terraform or tofu on the PATH");
        let dir = tempfile::tempdir().unwrap();
        let write = |argument: &str| {
            let text = format!(
                "module \"m\" {{\n  source = \"./m\"\n}}\nresource \"terraform_data\" \"a\" {{\n  {argument} = 1\n}}\n"
            );
            std::fs::write(dir.path().join("main.tf"), text).unwrap();
        };
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(dir.path().join("m/main.tf"), "").unwrap();
        write("input");
        assert!(terraform.init(dir.path(), INIT_LIMIT).unwrap().success());
        let before = baseline(Some(&terraform), dir.path()).unwrap();
        assert_eq!(before, Baseline::Valid);
        assert_eq!(judge(Some(&terraform), &before, dir.path()).unwrap(), Judgement::Pass { note: None });
        write("inputs");
        let after = judge(Some(&terraform), &before, dir.path()).unwrap();
        let Judgement::Reject { reasons } = after else { panic!("{after:?}") };
        assert!(reasons[0].contains("\"terraform_data\" \"a\"") && reasons[0].contains("inputs"), "{reasons:?}");
        let broken = baseline(Some(&terraform), dir.path()).unwrap();
        assert!(matches!(&broken, Baseline::Unavailable(why) if why.contains("before the change")), "{broken:?}");
    }

    #[test]
    fn a_module_that_is_not_initialised_is_not_validated() {
        let terraform = Terraform::find().expect("terraform or tofu on the PATH");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("main.tf"), "resource \"t\" \"a\" {\n}\n").unwrap();
        let before = baseline(Some(&terraform), dir.path()).unwrap();
        assert!(matches!(before, Baseline::Unavailable(_)), "{before:?}");
        assert!(matches!(judge(None, &Baseline::Valid, dir.path()).unwrap(), Judgement::Unavailable { .. }));
    }
}
