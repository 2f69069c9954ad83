//! The machine's Python, and pip run through it: the one way to the package index, so that the user's own mirror,
//! proxy and certificate settings hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Origin, SetupError, pins};
use crate::process::{self, Cmd, Output};

/// Environment variable that names the interpreter.
pub const PYTHON_ENV: &str = "CAULK_PYTHON";
/// A slow mirror may take long over 100 wheels.
const PIP_LIMIT: Duration = Duration::from_secs(3600);
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// Tried in order; the later ones are for machines whose `python3` is too old.
const CANDIDATES: [&str; 7] =
    ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9", "python"];
/// Prints what [`Python`] holds.
const PROBE: &str = "import json, sys, sysconfig
from importlib.util import find_spec
print(json.dumps({'version': sys.version_info[:3], 'platform': sysconfig.get_platform(),
                  'venv': bool(find_spec('venv') and find_spec('ensurepip')), 'pip': bool(find_spec('pip'))}))";

/// An interpreter that is new enough.
#[derive(Clone, Debug)]
pub struct Python {
    /// How it is started.
    pub program: PathBuf,
    /// Major, minor, patch.
    pub version: (u32, u32, u32),
    /// Its platform, as wheels name it: `linux-x86_64`.
    pub platform: String,
    /// Whether it can make virtual environments that have pip.
    pub venv: bool,
    /// Whether it has pip itself.
    pub pip: bool,
}

#[derive(Deserialize)]
struct Probed {
    version: (u32, u32, u32),
    platform: String,
    venv: bool,
    pip: bool,
}

impl Python {
    /// The interpreter of `CAULK_PYTHON`, else the first on the `PATH` that is new enough.
    ///
    /// # Errors
    /// [`SetupError::Python`] when there is none; [`SetupError::Interrupted`].
    pub fn find() -> Result<Self, SetupError> {
        let named = std::env::var_os(PYTHON_ENV).filter(|name| !name.is_empty()).map(PathBuf::from);
        let candidates = match &named {
            Some(named) => vec![named.clone()],
            None => CANDIDATES.iter().filter_map(|name| which::which(name).ok()).collect(),
        };
        let mut refused = Vec::new();
        for program in candidates {
            match Self::probe(&program)? {
                Ok(python) => return Ok(python),
                Err(why) => refused.push(why),
            }
        }
        let (major, minor) = pins::MIN_PYTHON;
        Err(SetupError::Python(match refused.is_empty() {
            true => format!("there is no python3 on the PATH; {major}.{minor} or later is needed"),
            false => format!("no usable Python: {}", refused.join("; ")),
        }))
    }

    /// Asks one interpreter what it is. The inner error says why it is not usable.
    fn probe(program: &Path) -> Result<Result<Self, String>, SetupError> {
        let shown = program.display();
        let output = match process::run(&Cmd::new(program, PROBE_LIMIT).with_all_env().args(["-I", "-c", PROBE])) {
            Ok(output) => output,
            Err(process::ProcessError::Interrupted) => return Err(process::ProcessError::Interrupted.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Ok(found) = serde_json::from_slice::<Probed>(&output.stdout) else {
            return Ok(Err(format!("{shown} does not run: {}", tail(&output))));
        };
        let (major, minor, patch) = found.version;
        if (major, minor) < pins::MIN_PYTHON {
            return Ok(Err(format!("{shown} is Python {major}.{minor}.{patch}, too old")));
        }
        let Probed { version, platform, venv, pip } = found;
        Ok(Ok(Self { program: program.to_owned(), version, platform, venv, pip }))
    }

    /// `3.11`, as wheels are made for.
    pub fn minor_version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Makes a virtual environment in a folder; what is there is removed first.
    ///
    /// # Errors
    /// [`SetupError::Venv`], or when the interpreter cannot be run.
    pub fn make_venv(&self, dir: &Path) -> Result<(), SetupError> {
        let failed = |said: String| SetupError::Venv { python: self.program.display().to_string(), said };
        if !self.venv {
            return Err(failed("its module venv or ensurepip is not installed".to_owned()));
        }
        let cmd = Cmd::new(&self.program, PIP_LIMIT).with_all_env().args(["-I", "-m", "venv", "--clear"]).arg(dir);
        let output = process::run(&cmd)?;
        if output.success() { Ok(()) } else { Err(failed(tail(&output))) }
    }
}

/// Runs `python -m pip ARGS`; `on_line` sees its standard output. `doing` is the verb phrase that errors name.
///
/// # Errors
/// [`SetupError::Pip`] when it fails, or when it cannot be run.
pub fn pip(
    python: &Path,
    origin: &Origin,
    args: &[&std::ffi::OsStr],
    doing: &str,
    on_line: impl FnMut(&str),
) -> Result<(), SetupError> {
    let (command, rest) = args.split_first().map_or((None, args), |(first, rest)| (Some(first), rest));
    // -I keeps PYTHONPATH and the user's site folder out, whose packages pip would take for installed ones.
    let mut cmd = Cmd::new(python, PIP_LIMIT)
        .args(["-I", "-m", "pip"])
        .with_all_env()
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        // These two settings are about packages for people, and would refuse what is done here.
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0");
    if let Origin::Folder(_) = origin {
        cmd = cmd.arg("--isolated").env("PIP_CONFIG_FILE", "/dev/null");
    }
    cmd = cmd.args(command).args(["--no-deps", "--require-hashes", "--only-binary", ":all:", "--progress-bar", "off"]);
    if let Origin::Folder(dir) = origin {
        cmd = cmd.args(["--no-index", "--find-links"]).arg(dir);
    }
    let output = process::run_lines(&cmd.args(rest), on_line)?;
    if output.success() { Ok(()) } else { Err(SetupError::Pip { doing: doing.to_owned(), said: tail(&output) }) }
}

/// The end of what a failed process said.
pub(super) fn tail(output: &Output) -> String {
    let stderr = output.stderr_text();
    let text = if stderr.is_empty() { String::from_utf8_lossy(&output.stdout).trim().to_owned() } else { stderr };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("python");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn an_old_python_and_one_that_does_not_run_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"echo '{"version": [3, 8, 1], "platform": "x", "venv": true, "pip": true}'"#;
        let why = Python::probe(&script(dir.path(), old)).unwrap().unwrap_err();
        assert!(why.ends_with("is Python 3.8.1, too old"), "{why}");
        let why = Python::probe(&script(dir.path(), "echo broken >&2; exit 1")).unwrap().unwrap_err();
        assert!(why.ends_with("does not run: broken"), "{why}");
    }

    #[test]
    fn without_the_venv_module_the_error_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"echo '{"version": [3, 12, 1], "platform": "x", "venv": false, "pip": true}'"#;
        let python = Python::probe(&script(dir.path(), text)).unwrap().unwrap();
        let error = python.make_venv(&dir.path().join("venv")).unwrap_err();
        let failure = crate::exit::Failure::from(error);
        assert_eq!(failure.status, crate::exit::ExitStatus::Tool);
        assert!(failure.hint.unwrap().contains("python3-venv"));
    }

    #[test]
    fn from_a_folder_pip_is_told_to_use_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let python = script(dir.path(), r#"echo "$PIP_CONFIG_FILE $@"; exit "$FAIL""#);
        let mut seen = String::new();
        let origin = Origin::Folder(PathBuf::from("/media/files"));
        let _ = pip(&python, &origin, &["download".as_ref(), "-d".as_ref()], "x", |line| seen = line.to_owned());
        assert_eq!(
            seen,
            "/dev/null -I -m pip --isolated download --no-deps --require-hashes --only-binary :all: --progress-bar off \
             --no-index --find-links /media/files -d"
        );
        let _ = pip(&python, &Origin::Index, &["download".as_ref()], "x", |line| seen = line.to_owned());
        assert!(!seen.contains("index") && !seen.contains("isolated"), "{seen}");
    }
}
