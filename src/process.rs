//! The one place that starts processes.
//!
//! Every child gets its own process group, so that a timeout or Ctrl-C ends it with all that it started; standard
//! input is never the terminal. Of the environment it gets what is named here alone: no tokens, no proxies, no settings of
//! clouds. Where the process is sealed, so is the child, which may write to the scratch folder alone. [`run`] waits for a
//! child's end, [`Service`] talks to one over its pipes line by line.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::seal;

/// What children get of the environment, and all that begins with `LC_`. Tools read dozens of others (`CKV_*`, `TRIVY_*`,
/// `TF_VAR_*`, `LOG_LEVEL`, …) that would change what they say.
const KEPT_ENV: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "TZ",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TF_CLI_CONFIG_FILE",
    "TF_PLUGIN_CACHE_DIR",
    // What keeps several versions of Python or terraform finds the right one by these.
    "PYENV_ROOT",
    "PYENV_VERSION",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "TFENV_ROOT",
    "TFENV_CONFIG_DIR",
    "TFENV_TERRAFORM_VERSION",
];

/// How often a wait looks at the clock and at the interrupt flag.
const TICK: Duration = Duration::from_millis(20);
/// How much of a service's standard error is kept for messages, bytes.
const STDERR_KEPT: usize = 8 * 1024;

/// A process that could not be started or talked to.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not there or cannot be executed.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program as called.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The pipe to it broke: it has ended.
    #[error("{program} ended unexpectedly{}", said(.stderr))]
    Ended {
        /// The program as called.
        program: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It gave no answer in time and was stopped.
    #[error("{program} gave no answer within {} s and was stopped{}", .limit.as_secs(), said(.stderr))]
    TimedOut {
        /// The program as called.
        program: String,
        /// The limit it ran past.
        limit: Duration,
        /// The end of its standard error.
        stderr: String,
    },
    /// The user asked to stop; the process was stopped.
    #[error("interrupted")]
    Interrupted,
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!("; it said: {text}"),
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: PathBuf,
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    envs: Vec<(OsString, OsString)>,
    has_all_env: bool,
    stdin: Vec<u8>,
    timeout: Duration,
}

impl Cmd {
    /// A command with a limit on its run time.
    pub fn new(program: impl AsRef<Path>, timeout: Duration) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            cwd: None,
            envs: Vec::new(),
            has_all_env: false,
            stdin: Vec::new(),
            timeout,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives the child all of the environment: for what is to go by the user's own settings, with the user's own rights.
    #[must_use]
    pub fn with_all_env(mut self) -> Self {
        self.has_all_env = true;
        self
    }

    /// Gives bytes on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    fn spawn(&self) -> Result<Child, ProcessError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        if !self.has_all_env {
            let kept =
                |name: &OsStr| KEPT_ENV.iter().any(|kept| name == *kept) || name.as_encoded_bytes().starts_with(b"LC_");
            command.env_clear().envs(std::env::vars_os().filter(|(name, _)| kept(name)));
        }
        if let Some(scratch) = seal::scratch() {
            command.env("TMPDIR", scratch);
        }
        command.envs(self.envs.iter().map(|(key, value)| (key, value)));
        seal::narrowed(|| command.spawn()).map_err(|source| ProcessError::Start { program: self.name(), source })
    }

    fn name(&self) -> String {
        self.program.display().to_string()
    }
}

/// What a finished process left.
#[derive(Debug)]
pub struct Output {
    /// Its exit code, or `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Wall time.
    pub took: Duration,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard error as text, invalid bytes replaced, trimmed.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, runs past its limit, or the user interrupts; the process group is ended then.
/// An exit code other than 0 is no error here.
pub fn run(cmd: &Cmd) -> Result<Output, ProcessError> {
    run_lines(cmd, |_| {})
}

/// As [`run`], and `on_line` sees each line of standard output as it comes, without its line end.
///
/// # Errors
/// As [`run`].
pub fn run_lines(cmd: &Cmd, mut on_line: impl FnMut(&str)) -> Result<Output, ProcessError> {
    let start = Instant::now();
    let mut child = cmd.spawn()?;
    let mut stdin = child.stdin.take();
    let bytes = cmd.stdin.clone();
    // A child that does not read its input breaks the pipe; that is its right.
    let feeder = std::thread::spawn(move || {
        if let Some(pipe) = stdin.as_mut() {
            let _ = pipe.write_all(&bytes);
        }
    });
    let (send, lines) = channel();
    let stdout = drain_lines(child.stdout.take(), send);
    let stderr = drain(child.stderr.take());
    let status = loop {
        lines.try_iter().for_each(|line| on_line(&line));
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if interrupt::requested() => {
                end_group(&mut child);
                return Err(ProcessError::Interrupted);
            }
            Ok(None) if start.elapsed() > cmd.timeout => {
                end_group(&mut child);
                let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
                return Err(ProcessError::TimedOut { program: cmd.name(), limit: cmd.timeout, stderr: tail(&stderr) });
            }
            Ok(None) => std::thread::sleep(TICK.min(start.elapsed().max(Duration::from_millis(1)))),
            Err(source) => return Err(ProcessError::Start { program: cmd.name(), source }),
        }
    };
    // What the child left running holds its pipes open: it ends with the child.
    end_group(&mut child);
    let _ = feeder.join();
    let stdout = stdout.join().unwrap_or_default();
    lines.try_iter().for_each(|line| on_line(&line));
    Ok(Output {
        code: status.code(),
        signal: status.signal(),
        stdout,
        stderr: stderr.join().unwrap_or_default(),
        took: start.elapsed(),
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn drain_lines(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let Some(pipe) = pipe else { return bytes };
        let mut pipe = BufReader::new(pipe);
        loop {
            let from = bytes.len();
            match pipe.read_until(b'\n', &mut bytes) {
                Ok(1..) => {
                    let line = String::from_utf8_lossy(&bytes[from..]);
                    let _ = lines.send(line.trim_end_matches(['\r', '\n']).to_owned());
                }
                _ => return bytes,
            }
        }
    })
}

fn end_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn tail(text: &str) -> String {
    let text = text.trim();
    let mut from = text.len().saturating_sub(2000);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

/// A process that answers lines on its standard input with lines on its standard output. Ended when dropped.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Service {
    /// Starts it. The command's `stdin` bytes and timeout are not used.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(cmd: &Cmd) -> Result<Self, ProcessError> {
        let mut child = cmd.spawn()?;
        let (send, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stderr = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        if let Some(mut pipe) = child.stderr.take() {
            let kept = std::sync::Arc::clone(&stderr);
            std::thread::spawn(move || {
                let mut chunk = [0; 1024];
                while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                    let Ok(mut kept) = kept.lock() else { break };
                    kept.extend_from_slice(&chunk[..n]);
                    let over = kept.len().saturating_sub(STDERR_KEPT);
                    kept.drain(..over);
                }
            });
        }
        Ok(Self { name: cmd.name(), stdin: child.stdin.take(), child, lines, stderr })
    }

    /// Sends one line and waits for the line that answers it.
    ///
    /// # Errors
    /// When the process has ended, gives no answer within `limit`, or the user interrupts. In the latter two cases
    /// it is stopped; it must be started anew.
    pub fn ask(&mut self, line: &str, limit: Duration) -> Result<String, ProcessError> {
        self.send(line)?;
        self.next_line(limit)
    }

    /// Sends one line.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn send(&mut self, line: &str) -> Result<(), ProcessError> {
        let sent = self.stdin.as_mut().map(|pipe| writeln!(pipe, "{line}").and_then(|()| pipe.flush()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ended()),
        }
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// As [`Service::ask`].
    pub fn next_line(&mut self, limit: Duration) -> Result<String, ProcessError> {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(TICK) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if interrupt::requested() => {
                    end_group(&mut self.child);
                    return Err(ProcessError::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) if start.elapsed() > limit => {
                    end_group(&mut self.child);
                    return Err(ProcessError::TimedOut { program: self.name.clone(), limit, stderr: self.said() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The end of what it wrote on standard error so far.
    pub fn said(&self) -> String {
        self.stderr.lock().map(|kept| tail(&String::from_utf8_lossy(&kept))).unwrap_or_default()
    }

    fn ended(&mut self) -> ProcessError {
        end_group(&mut self.child);
        ProcessError::Ended { program: self.name.clone(), stderr: self.said() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_code_are_told() {
        let out = run(&Cmd::new("sh", LONG).args(["-c", "cat; echo no >&2; exit 3"]).stdin("in")).unwrap();
        assert_eq!((out.code, out.stdout.as_slice(), out.stderr_text().as_str()), (Some(3), &b"in"[..], "no"));
    }

    #[test]
    fn a_child_sees_of_the_environment_what_it_needs() {
        // Cargo sets it for its tests.
        let cmd = Cmd::new("sh", LONG)
            .args(["-c", "echo \"${PATH:+path} ${CARGO_MANIFEST_DIR:+cargo} $OWN\""])
            .env("OWN", "own");
        assert_eq!(run(&cmd).unwrap().stdout, b"path  own\n");
        assert_eq!(run(&cmd.with_all_env()).unwrap().stdout, b"path cargo own\n");
    }

    #[test]
    fn lines_are_seen_and_standard_output_stays_whole() {
        let mut seen = Vec::new();
        let cmd = Cmd::new("sh", LONG).args(["-c", "printf 'one\\ntwo\\r\\nthree'"]);
        let out = run_lines(&cmd, |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two", "three"]);
        assert_eq!(out.stdout, b"one\ntwo\r\nthree");
    }

    #[test]
    fn a_child_that_hangs_is_ended_with_its_children() {
        let cmd = Cmd::new("sh", Duration::from_millis(100)).args(["-c", "sleep 600 & echo before >&2; wait"]);
        assert!(matches!(run(&cmd), Err(ProcessError::TimedOut { stderr, .. }) if stderr == "before"));
    }

    #[test]
    fn what_a_child_leaves_running_does_not_hold_the_output() {
        let out = run(&Cmd::new("sh", LONG).args(["-c", "sleep 600 & echo done"])).unwrap();
        assert_eq!((out.code, out.stdout.as_slice()), (Some(0), &b"done\n"[..]));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&Cmd::new("no-such-program", LONG)).unwrap_err();
        assert!(error.to_string().starts_with("cannot start no-such-program"));
    }

    #[test]
    fn a_service_answers_lines_and_its_death_is_told() {
        let script = "while read line; do [ \"$line\" = die ] && { echo why >&2; exit 1; }; echo \"got $line\"; done";
        let mut service = Service::start(&Cmd::new("sh", LONG).args(["-c", script])).unwrap();
        assert_eq!(service.ask("one", LONG).unwrap(), "got one");
        assert!(matches!(service.ask("die", LONG), Err(ProcessError::Ended { .. })));
    }
}
