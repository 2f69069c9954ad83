//! What long work shows: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`. Always on standard error.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error. A reader that has gone away is no reason to stop.
macro_rules! say {
    ($($part:tt)*) => {{ let _ = writeln!(std::io::stderr(), $($part)*); }};
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A bar that redraws itself.
    Bar,
    /// One line now and then: for CI logs.
    Plain,
    /// Nothing.
    Quiet,
}

/// What a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with binary prefixes.
    Bytes,
    /// Things: findings, files.
    Items,
}

/// Where progress goes.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    mode: Mode,
}

/// Plain lines come no more often than this.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Progress in the given mode.
    pub fn new(mode: Mode) -> Self {
        Self { mode }
    }

    /// A bar if standard error is a terminal, else plain lines; nothing if `quiet`.
    pub fn detect(quiet: bool) -> Self {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bar,
            (false, false) => Mode::Plain,
        };
        Self { mode }
    }

    /// A line that stands by itself.
    pub fn line(&self, text: &str) {
        if self.mode != Mode::Quiet {
            say!("{text}");
        }
    }

    /// A line that is shown even where no progress is: what was asked for may not be what was meant.
    pub fn warning(&self, text: &str) {
        say!("warning: {text}");
    }

    /// Starts a task of `total` steps (0: unknown).
    pub fn task(&self, label: &str, total: u64, unit: Unit) -> Task {
        let bar = match self.mode {
            Mode::Bar => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8)),
            Mode::Plain | Mode::Quiet => ProgressBar::hidden(),
        };
        bar.set_length(total);
        let counts = match unit {
            Unit::Bytes => "{binary_bytes}/{binary_total_bytes}",
            Unit::Items => "{pos}/{len}",
        };
        let template = match total {
            0 => "{spinner} {prefix} {wide_msg}".to_owned(),
            _ => format!("{{prefix}} [{{bar:28}}] {counts} {{eta}} {{wide_msg}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label.to_owned());
        if self.mode == Mode::Bar {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        if self.mode == Mode::Plain {
            say!("{label} …");
        }
        Task { mode: self.mode, label: label.to_owned(), unit, bar, said: Mutex::new(Instant::now()) }
    }
}

/// One piece of long work under way. Dropping it clears its bar.
#[derive(Debug)]
pub struct Task {
    mode: Mode,
    label: String,
    unit: Unit,
    bar: ProgressBar,
    said: Mutex<Instant>,
}

impl Task {
    /// `n` more steps are done.
    pub fn inc(&self, n: u64) {
        self.bar.inc(n);
        self.say_now_and_then();
    }

    /// `n` steps are done in all.
    pub fn set(&self, n: u64) {
        self.bar.set_position(n);
        self.say_now_and_then();
    }

    /// What is being done just now.
    pub fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// A line above the bar.
    pub fn line(&self, text: &str) {
        match self.mode {
            Mode::Bar => self.bar.println(text),
            Mode::Plain => say!("{text}"),
            Mode::Quiet => {}
        }
    }

    fn say_now_and_then(&self) {
        if self.mode != Mode::Plain {
            return;
        }
        let Ok(mut said) = self.said.lock() else { return };
        if said.elapsed() < PLAIN_EVERY {
            return;
        }
        *said = Instant::now();
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        match (self.unit, total) {
            (Unit::Bytes, 0) => say!("{}: {} MiB", self.label, done >> 20),
            (Unit::Bytes, _) => say!("{}: {} of {} MiB", self.label, done >> 20, total >> 20),
            (Unit::Items, 0) => say!("{}: {done}", self.label),
            (Unit::Items, _) => say!("{}: {done} of {total}", self.label),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
