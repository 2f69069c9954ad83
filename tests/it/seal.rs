//! The seal around a run: real Checkov, and a terraform that does what it should not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common;

/// Writes into the user's folder what it finds in the environment, and then works as ever.
const CURIOUS: &str = r#"#!/bin/sh
env > "$HOME/seen" 2>/dev/null
exec "$(PATH="${PATH#*:}" command -v terraform || PATH="${PATH#*:}" command -v tofu)" "$@"
"#;

struct Place {
    _folder: tempfile::TempDir,
    module: PathBuf,
    home: PathBuf,
    scratch: PathBuf,
    bin: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [module, home, scratch, bin] = ["module", "home", "scratch", "bin"].map(|name| folder.path().join(name));
        for dir in [&module, &home, &scratch, &bin] {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::write(module.join("main.tf"), "resource \"aws_sqs_queue\" \"q\" {\n  name = \"q\"\n}\n").unwrap();
        std::fs::write(bin.join("terraform"), CURIOUS).unwrap();
        std::fs::set_permissions(bin.join("terraform"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { _folder: folder, module, home, scratch, bin }
    }

    /// A fix of the module, with the manifest's word on the seal.
    fn fix(&self, flags: &[&str]) -> Value {
        common::ready();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&paths));
        let mut command = common::caulk();
        command.env("PATH", std::env::join_paths(paths).unwrap()).env("HOME", &self.home).env("TMPDIR", &self.scratch);
        command.env("AWS_SECRET_ACCESS_KEY", "of-somebody").env("HTTPS_PROXY", "http://proxy.example");
        command.current_dir(&self.module).args(["fix", "--model", "none", "--format", "json"]).args(flags);
        let output = command.output().unwrap();
        let run: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(run["counts"]["fixed"], 1, "{run}");
        run["seal"].clone()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_a_run_starts_writes_nowhere_else() {
    let place = Place::new();
    let seal = place.fix(&[]);
    assert_eq!(seal["network"]["sealed"], cfg!(target_os = "linux"), "{seal}");
    // A machine may lack Landlock: the manifest says so then.
    assert_eq!(place.home.join("seen").exists(), seal["writes"]["sealed"] == false, "{seal}");
    assert_eq!(files(&place.scratch), Vec::<PathBuf>::new(), "what was started leaves nothing either");
    assert!(seal["network"]["how"].as_str().is_some_and(|how| !how.is_empty()), "{seal}");
}

#[test]
fn what_a_run_starts_knows_no_secrets_and_no_proxies() {
    let place = Place::new();
    let seal = place.fix(&["--no-seal"]);
    assert_eq!((&seal["network"]["sealed"], &seal["network"]["how"]), (&false.into(), &"--no-seal".into()));
    let seen = std::fs::read_to_string(place.home.join("seen")).expect("without a seal it can write there");
    assert!(seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("AWS_SECRET_ACCESS_KEY") && !seen.contains("proxy.example"), "{seen}");
}

#[test]
fn doctor_tries_the_seal() {
    common::ready();
    let output = common::caulk().args(["doctor", "--format", "json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let seal = checks.iter().find(|check| check["name"] == "seal").expect("it is told");
    // What the system says that it holds, it holds; a run that has to be sealed is refused where it is not.
    assert_ne!(seal["state"], "broken", "{seal}");
    let place = Place::new();
    let output = common::caulk().current_dir(&place.module).args(["scan", "--require-seal"]).output().unwrap();
    let code = if seal["state"] == "ok" { 1 } else { 4 };
    assert_eq!(output.status.code(), Some(code), "{seal}: {output:?}");
}

#[test]
fn what_cannot_be_sealed_is_refused_where_it_has_to_be() {
    let place = Place::new();
    let mut command = common::caulk();
    let output = command.current_dir(&place.module).args(["fix", "--plan", "--require-seal"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--plan may call your cloud"), "{output:?}");
    assert!(files(&place.module).len() == 1, "nothing is written");
}
