//! What is there, what is missing, what that costs, and the command that mends it.
//!
//! In: the cache and the machine. Out: [`Diagnosis`], as a table or as JSON.

use std::path::Path;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cache::Cache;
use crate::exit::ExitStatus;
use crate::process::{self, Cmd, ProcessError};
use crate::seal::probe::{About, Attempt, Tried};
use crate::setup::{self, Python, SetupError, pins};

const LIMIT: Duration = Duration::from_secs(60);
/// Below this, a model and its parts do not fit, bytes.
const LITTLE_SPACE: u64 = 4 << 30;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there and works.
    Ok,
    /// It is not there.
    Missing,
    /// It is there and does not work.
    Broken,
    /// It is as it is.
    Info,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Broken => "broken",
            Self::Info => "",
        }
    }
}

/// One thing that caulk uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Version and place, or what is wrong.
    pub detail: String,
    /// What it costs that it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<String>,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of this form.
    pub version: u32,
    /// Whether the main job can run.
    pub ready: bool,
    /// The things, in the order of the table.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// [`ExitStatus::Clean`] when the main job can run; else what it lacks first.
    pub fn exit_status(&self) -> ExitStatus {
        let works = |name: &str| self.checks.iter().any(|c| c.name.starts_with(name) && c.state == State::Ok);
        match (works("checkov"), works("model")) {
            (true, true) => ExitStatus::Clean,
            (true, false) => ExitStatus::Model,
            (false, _) => ExitStatus::Tool,
        }
    }

    /// A table, and below it what is missing with its cost and remedy.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["", "state", "what was found"]);
        for check in &self.checks {
            table.add_row([&check.name, check.state.word(), &check.detail]);
        }
        let mut text = table.to_string();
        for check in self.checks.iter().filter(|check| check.costs.is_some() || check.mend.is_some()) {
            text += &format!("\n\n{}: {}", check.name, check.costs.as_deref().unwrap_or(check.state.word()));
            if let Some(mend) = &check.mend {
                text += &format!("\n  mend it: {mend}");
            }
        }
        let ready = if self.ready { "caulk fix can run." } else { "caulk fix cannot run yet." };
        format!("{text}\n\n{ready}")
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Looks at everything.
///
/// # Errors
/// When the user interrupts, or a model manifest cannot be read.
pub fn examine(cache: &Cache) -> Result<Diagnosis, SetupError> {
    let mut checks = vec![python(cache)?, checkov(cache)?, trivy(cache)?, terraform()?, git()?];
    checks.extend(models(cache)?);
    checks.extend([folder(cache), devices(), threads()]);
    let mut diagnosis = Diagnosis { version: 1, ready: false, checks };
    diagnosis.ready = diagnosis.exit_status() == ExitStatus::Clean;
    Ok(diagnosis)
}

fn ok(name: &str, detail: impl Into<String>) -> Check {
    Check { name: name.to_owned(), state: State::Ok, detail: detail.into(), costs: None, mend: None }
}

fn lacking(name: &str, state: State, detail: impl Into<String>, costs: &str, mend: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        state,
        detail: detail.into(),
        costs: Some(costs.to_owned()),
        mend: Some(mend.into()),
    }
}

/// The result, or the message of anything but an interruption.
fn said<T>(result: Result<T, SetupError>) -> Result<Result<T, String>, SetupError> {
    match result {
        Err(error @ SetupError::Interrupted(_)) => Err(error),
        other => Ok(other.map_err(|error| error.to_string())),
    }
}

/// Standard output of a program that answers at once.
fn ask(cmd: &Cmd) -> Result<Result<String, String>, SetupError> {
    match process::run(cmd) {
        Err(ProcessError::Interrupted) => Err(ProcessError::Interrupted.into()),
        Err(error) => Ok(Err(error.to_string())),
        Ok(output) if !output.success() => {
            let stderr = output.stderr_text();
            Ok(Err(stderr.lines().next().unwrap_or("it fails and says nothing").to_owned()))
        }
        Ok(output) => Ok(Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
    }
}

fn python(cache: &Cache) -> Result<Check, SetupError> {
    let mend = "install Python 3.9 or later (Debian and Ubuntu: apt-get install python3-venv)";
    let costs = match cache.checkov_python() {
        Some(_) => "nothing while the cache is complete; caulk setup cannot fetch anything anew",
        None => "Checkov cannot be installed, and files from the package index cannot be fetched",
    };
    Ok(match said(Python::find())? {
        Ok(python) if !python.venv => lacking("python3", State::Broken, "without the module venv", costs, mend),
        Ok(python) => {
            let (major, minor, patch) = python.version;
            ok("python3", format!("{major}.{minor}.{patch}, {}", python.program.display()))
        }
        Err(why) => lacking("python3", State::Missing, why, costs, mend),
    })
}

fn checkov(cache: &Cache) -> Result<Check, SetupError> {
    let costs = "no scan and no proof: caulk fix cannot run";
    let mend = "caulk setup --only checkov";
    let Some(python) = cache.checkov_python() else {
        let detail = format!("{} is not in the cache", pins::CHECKOV_VERSION);
        return Ok(lacking("checkov", State::Missing, detail, costs, mend));
    };
    Ok(match said(setup::checkov_version(&python))? {
        Ok(version) if version == pins::CHECKOV_VERSION => ok("checkov", format!("{version}, {}", python.display())),
        Ok(version) => {
            lacking("checkov", State::Broken, format!("it says that it is {version}"), costs, remove(&python))
        }
        Err(why) => lacking("checkov", State::Broken, why, costs, remove(&python)),
    })
}

/// Set-up leaves alone what it takes for complete.
fn remove(python: &Path) -> String {
    let dir = python.ancestors().nth(2).unwrap_or(python);
    format!("rm -r {} && caulk setup --only checkov", dir.display())
}

fn trivy(cache: &Cache) -> Result<Check, SetupError> {
    let costs = "no second opinion: what is new by Trivy's rules is not seen, and fixes are `review` at best";
    let Some(path) = cache.trivy() else {
        let mend = if pins::trivy_has_build() { "caulk setup --only trivy" } else { "install trivy on the PATH" };
        return Ok(lacking("trivy", State::Missing, "not in the cache", costs, mend));
    };
    let cmd = Cmd::new(&path, LIMIT).args(["--version", "--quiet"]).cwd(cache.root());
    Ok(match ask(&cmd)? {
        Ok(text) => {
            let version = text.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or(&text).to_owned();
            ok("trivy", format!("{version}, {}", path.display()))
        }
        Err(why) => {
            let mend = format!("rm {} && caulk setup --only trivy", path.display());
            lacking("trivy", State::Broken, why, costs, mend)
        }
    })
}

fn terraform() -> Result<Check, SetupError> {
    let costs = "terraform fmt and terraform validate cannot run: fixes are `review` at best";
    let mend = "install terraform or tofu on the PATH";
    let found = ["terraform", "tofu"].iter().find_map(|name| Some((*name, which::which(name).ok()?)));
    let Some((name, path)) = found else {
        return Ok(lacking("terraform", State::Missing, "neither terraform nor tofu is on the PATH", costs, mend));
    };
    // An empty configuration of its own: the user's may name a file that is not there, and says nothing here.
    let cmd = Cmd::new(&path, LIMIT)
        .args(["version", "-json"])
        .env("CHECKPOINT_DISABLE", "1")
        .env("TF_CLI_CONFIG_FILE", "/dev/null");
    Ok(match ask(&cmd)?.map(|text| terraform_version(&text)) {
        Ok(Some(version)) => ok(name, format!("{version}, {}", path.display())),
        Ok(None) => lacking(name, State::Broken, format!("{} tells no version", path.display()), costs, mend),
        Err(why) => lacking(name, State::Broken, why, costs, mend),
    })
}

/// `terraform_version` of `version -json`; warnings may stand before it.
fn terraform_version(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    Some(value.get("terraform_version")?.as_str()?.to_owned())
}

fn git() -> Result<Check, SetupError> {
    let costs = "nothing while patches are made; you need it to apply them (caulk fix --apply does not)";
    let Ok(path) = which::which("git") else {
        return Ok(lacking("git", State::Missing, "not on the PATH", costs, "install git"));
    };
    Ok(match ask(&Cmd::new(&path, LIMIT).arg("--version"))? {
        Ok(text) => ok("git", format!("{}, {}", text.trim_start_matches("git version "), path.display())),
        Err(why) => lacking("git", State::Broken, why, costs, "install git"),
    })
}

/// One line for each model that is there, and one for the default model if it is not.
fn models(cache: &Cache) -> Result<Vec<Check>, SetupError> {
    let mut checks = Vec::new();
    for manifest in setup::manifests(cache)? {
        let (path, default) = (manifest.path(cache), manifest.name == setup::DEFAULT_MODEL);
        let name = format!("model {}", manifest.name);
        let mend = format!("caulk model pull {}", manifest.name);
        let costs = if default { "no fix can be written with the default model" } else { "this model cannot be used" };
        let megabytes = format!("{} MiB", manifest.size >> 20);
        match cache.stamped_sha256(&path) {
            _ if !path.is_file() && default => {
                checks.push(lacking(&name, State::Missing, format!("not in the cache, {megabytes}"), costs, mend));
            }
            _ if !path.is_file() => {}
            Some(sha256) if sha256 == manifest.sha256 => {
                checks.push(ok(&name, format!("{megabytes}, sha256 as pinned")));
            }
            Some(_) => checks.push(lacking(&name, State::Broken, "its sha256 is not the pinned one", costs, mend)),
            None => {
                let mend = format!("caulk model verify {}", manifest.name);
                checks.push(lacking(&name, State::Broken, "changed since its hash was checked", costs, mend));
            }
        }
    }
    Ok(checks)
}

fn folder(cache: &Cache) -> Check {
    let free = setup::free_space(cache.root());
    let shown =
        free.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
    let mut check = ok("cache", format!("{}, {shown} free", cache.root().display()));
    if free.is_some_and(|bytes| bytes < LITTLE_SPACE) {
        check.costs = Some("another model may not fit".to_owned());
        check.mend = Some("make room, or name another folder with --cache".to_owned());
    }
    check
}

fn devices() -> Check {
    let mut devices = vec!["cpu"];
    devices.extend(candle_core::utils::cuda_is_available().then_some("cuda"));
    devices.extend(candle_core::utils::metal_is_available().then_some("metal"));
    Check { state: State::Info, ..ok("devices", format!("{} (compiled in)", devices.join(", "))) }
}

/// The seal, as a sealed process found it.
pub fn seal(tried: Result<Tried, String>) -> Check {
    let costs = "runs are not held to unix sockets, or to writing where they have to; their manifests say so, and \
                 `--require-seal` refuses them";
    let mend = "a Linux from 6.2 on that has seccomp and Landlock";
    let Tried { seal, attempts } = match tried {
        Ok(tried) => tried,
        Err(why) => {
            let why = format!("it could not be tried: {why}");
            return lacking(
                "seal",
                State::Broken,
                why,
                costs,
                "see that the temporary folder can be written: TMPDIR names it",
            );
        }
    };
    let sides = [(About::Network, "network", &seal.network), (About::Writes, "writes", &seal.writes)];
    let sealed = |attempt: &&Attempt| sides.iter().any(|(about, _, side)| *about == attempt.about && side.sealed);
    let broken: Vec<&str> = attempts.iter().filter(sealed).filter(|it| !it.held).map(|it| it.what.as_str()).collect();
    if !broken.is_empty() {
        let why = format!("the system says that it holds, but: {}", broken.join(", "));
        return lacking("seal", State::Broken, why, costs, "tell the authors of caulk, with the kernel's version");
    }
    let open = sides.iter().filter(|(_, _, side)| !side.sealed);
    let open: Vec<String> = open.map(|(_, name, side)| format!("{name} open: {}", side.how)).collect();
    if !open.is_empty() {
        return lacking("seal", State::Missing, open.join("; "), costs, mend);
    }
    let tried = attempts.len();
    ok("seal", format!("{} and {} hold what they should, in {tried} attempts", seal.network.how, seal.writes.how))
}

fn threads() -> Check {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Check { state: State::Info, ..ok("threads", threads.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Seal, Side};

    #[test]
    fn a_seal_that_does_not_hold_what_the_system_says_is_broken() {
        let side = |sealed| Side { sealed, how: "how".to_owned() };
        let told = |network, writes, broken: Option<About>| {
            let attempt = |about| Attempt { what: "it".to_owned(), about, held: broken != Some(about) };
            let attempts = vec![attempt(About::Network), attempt(About::Writes)];
            seal(Ok(Tried { seal: Seal { network: side(network), writes: side(writes) }, attempts })).state
        };
        assert_eq!(told(true, true, None), State::Ok);
        assert_eq!(told(true, true, Some(About::Writes)), State::Broken);
        // What is open anyway is not broken; what is not, is.
        assert_eq!(told(true, false, Some(About::Writes)), State::Missing);
        assert_eq!(told(true, false, Some(About::Network)), State::Broken);
        assert_eq!(seal(Err("no room".to_owned())).state, State::Broken);
    }

    fn diagnosis(checkov: State, model: State) -> Diagnosis {
        let check = |name: &str, state| Check { state, ..ok(name, "detail") };
        Diagnosis { version: 1, ready: false, checks: vec![check("checkov", checkov), check("model x", model)] }
    }

    #[test]
    fn the_status_says_what_the_main_job_lacks() {
        assert_eq!(diagnosis(State::Ok, State::Ok).exit_status(), ExitStatus::Clean);
        assert_eq!(diagnosis(State::Ok, State::Missing).exit_status(), ExitStatus::Model);
        assert_eq!(diagnosis(State::Broken, State::Ok).exit_status(), ExitStatus::Tool);
    }

    #[test]
    fn a_version_is_read_behind_a_warning() {
        let text = "\nWarning: Unable to open CLI configuration file\n\n{\"terraform_version\": \"1.11.4\"}";
        assert_eq!(terraform_version(text).as_deref(), Some("1.11.4"));
        assert_eq!(terraform_version("no json"), None);
    }

    #[test]
    fn an_empty_cache_lacks_checkov_and_the_default_model_and_says_how_to_mend_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let checks = [vec![checkov(&cache).unwrap()], models(&cache).unwrap()].concat();
        assert!(checks.iter().all(|check| check.state == State::Missing), "{checks:?}");
        assert_eq!(checks[0].mend.as_deref(), Some("caulk setup --only checkov"));
        assert_eq!(checks[1].mend.as_deref(), Some(&*format!("caulk model pull {}", setup::DEFAULT_MODEL)));
        let text = Diagnosis { version: 1, ready: false, checks }.text();
        assert!(text.contains("no scan and no proof") && text.ends_with("caulk fix cannot run yet."), "{text}");
    }
}
