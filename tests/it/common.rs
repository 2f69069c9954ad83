//! How the tests start `caulk`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use caulk::cache::Cache;

/// Name of the small model that tests run.
pub const SMALL_MODEL: &str = "smollm2-135m-instruct-q4_1";

/// What a test's `caulk` sees of the environment. Everything else (proxies, `TF_*`, `AWS_*`, colours) is taken away.
const KEPT: [&str; 4] = ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"];

/// The binary in a scrubbed environment.
pub fn caulk() -> Command {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home");
    std::fs::create_dir_all(&home).expect("the target folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_caulk"));
    command.env_clear().stdin(Stdio::null());
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("HOME", home).env("CAULK_CACHE", cache());
    command.env("LANG", "C.UTF-8").env("TZ", "UTC").env("NO_COLOR", "1");
    command
}

/// The cache with scanners and models: `CAULK_CACHE`, or the user's own.
pub fn cache() -> PathBuf {
    let named = std::env::var_os("CAULK_CACHE").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(dirs::cache_dir()?.join("caulk"))).expect("a home folder, or CAULK_CACHE")
}

/// Makes sure that scanners and the small model are in the cache, once per test run.
pub fn ready() {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    fetched(&READY, &["setup", "--model", SMALL_MODEL]);
}

/// Runs a command of `caulk` that fetches. It keeps the user's own environment: mirrors and proxies are set there.
fn fetched(once: &OnceLock<Result<(), String>>, args: &[&str]) {
    let result = once.get_or_init(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caulk"));
        command.args(args).env("CAULK_CACHE", cache()).stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    });
    if let Err(error) = result {
        panic!("`caulk {}` failed:\n{error}", args.join(" "));
    }
}

/// The Python that has Checkov.
pub fn python() -> PathBuf {
    ready();
    opened().checkov_python().expect("set-up installs Checkov")
}

/// Trivy's binary.
pub fn trivy() -> PathBuf {
    ready();
    opened().trivy().expect("set-up installs Trivy")
}

/// The GGUF file of the small model.
pub fn smollm2() -> PathBuf {
    ready();
    model(SMALL_MODEL)
}

/// The GGUF file of the default model.
pub fn qwen() -> PathBuf {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    fetched(&READY, &["setup", "--only", "model"]);
    model(caulk::setup::DEFAULT_MODEL)
}

fn model(name: &str) -> PathBuf {
    caulk::setup::find_model(&opened(), name).expect("set-up fetches the model").path
}

fn opened() -> Cache {
    Cache::open(Some(&cache())).expect("the cache can be opened")
}

/// Writes files below a folder.
pub fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a test's folder can be made");
        std::fs::write(path, text).expect("a test's file can be written");
    }
}
