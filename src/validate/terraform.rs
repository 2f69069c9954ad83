//! The user's own terraform or tofu: what of it is there, and how caulk calls it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{self, Cmd, Output, ProcessError};
use crate::seal;

use super::served::{self, Served};

const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// An installed terraform or tofu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terraform {
    program: PathBuf,
    name: &'static str,
    version: String,
}

impl Terraform {
    /// The first of `terraform` and `tofu` on the PATH that answers.
    pub fn find() -> Option<Self> {
        ["terraform", "tofu"].into_iter().find_map(|name| {
            let program = which::which(name).ok()?;
            let out = process::run(&quiet(Cmd::new(&program, VERSION_LIMIT)).arg("version")).ok()?;
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let version = text.lines().find_map(|line| line.split_once(" v"))?.1.trim().to_owned();
            Some(Self { program, name, version })
        })
    }

    /// `terraform` or `tofu`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Formats a text as `fmt -` does.
    ///
    /// # Errors
    /// When it cannot be run. A text that it refuses gives `Ok(Err(message))`.
    pub fn fmt(&self, text: &str) -> Result<Result<String, String>, ProcessError> {
        let cmd = quiet(Cmd::new(&self.program, Duration::from_secs(60))).args(["fmt", "-no-color", "-"]);
        let out = process::run(&cmd.stdin(text))?;
        match String::from_utf8(out.stdout.clone()) {
            Ok(formatted) if out.success() => Ok(Ok(formatted)),
            _ => Ok(Err(out.stderr_text())),
        }
    }

    /// Initialises a module's folder from what is on the machine, without its backend.
    ///
    /// # Errors
    /// When it cannot be run or runs past the limit.
    pub(super) fn init(&self, dir: &Path, served: Option<&Served>, limit: Duration) -> Result<Output, ProcessError> {
        self.run(dir, &["init", "-backend=false", "-input=false", "-no-color"], served, limit)
    }

    /// Validates an initialised module. Gives its report as JSON.
    ///
    /// # Errors
    /// When it cannot be run or runs past the limit.
    pub(super) fn validate(
        &self,
        dir: &Path,
        served: Option<&Served>,
        limit: Duration,
    ) -> Result<Output, ProcessError> {
        self.run(dir, &["validate", "-json", "-no-color"], served, limit)
    }

    /// What the providers of an initialised module say of themselves, as JSON.
    ///
    /// # Errors
    /// When it cannot be run or runs past the limit.
    pub(super) fn providers_schema(&self, dir: &Path, limit: Duration) -> Result<Output, ProcessError> {
        self.run(dir, &["providers", "schema", "-json"], None, limit)
    }

    /// Plans in an initialised module's folder, into a file: with the user's own settings, and free to call the providers'
    /// clouds. It takes no lock and writes no state.
    ///
    /// # Errors
    /// When it cannot be run or runs past the limit.
    pub(super) fn plan(&self, dir: &Path, file: &Path, limit: Duration) -> Result<Output, ProcessError> {
        let cmd =
            Cmd::new(&self.program, limit).args(["plan", "-input=false", "-lock=false", "-no-color"]).with_all_env();
        let out = OsString::from_iter([OsStr::new("-out="), file.as_os_str()]);
        process::run(&quiet(cmd.arg(out).cwd(dir)))
    }

    /// A plan's file as JSON.
    ///
    /// # Errors
    /// When it cannot be run or runs past the limit.
    pub(super) fn show_plan(&self, dir: &Path, file: &Path, limit: Duration) -> Result<Output, ProcessError> {
        process::run(&quiet(
            Cmd::new(&self.program, limit).args(["show", "-json", "-no-color"]).with_all_env().arg(file).cwd(dir),
        ))
    }

    /// Runs a subcommand in a module's folder, with providers that are served, if any, in place of plugins.
    fn run(&self, dir: &Path, args: &[&str], served: Option<&Served>, limit: Duration) -> Result<Output, ProcessError> {
        let cmd = offline(quiet(Cmd::new(&self.program, limit))).args(args).cwd(dir);
        process::run(&match served {
            Some(served) => cmd.env(served::VARIABLE, served.environment()),
            None => cmd,
        })
    }
}

/// No version check over the network, no questions, and no complaint of a configuration file that is not there.
fn quiet(cmd: Cmd) -> Cmd {
    let cmd = cmd.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_INPUT", "0");
    match std::env::var_os("TF_CLI_CONFIG_FILE") {
        Some(file) if !Path::new(&file).exists() => cmd.env("TF_CLI_CONFIG_FILE", "/dev/null"),
        _ => cmd,
    }
}

/// No way out: what is not in a mirror is not fetched.
fn offline(mut cmd: Cmd) -> Cmd {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        cmd = cmd.env(name, "http://127.0.0.1:9");
    }
    // The user's own is not open to what a sealed run starts.
    if let Some(plugins) = seal::scratch().map(|scratch| scratch.join("plugins"))
        && std::fs::create_dir_all(&plugins).is_ok()
    {
        cmd = cmd.env("TF_PLUGIN_CACHE_DIR", plugins);
    }
    cmd.env("GIT_ALLOW_PROTOCOL", "none")
}
