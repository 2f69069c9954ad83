//! Models from the hub, by the `hf-hub` crate. Its own settings hold (`HF_ENDPOINT`, `HF_HOME` for the token).

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Repo, RepoType};

use super::SetupError;
use crate::interrupt;
use crate::progress::Task;

/// Without an answer for so long, the hub is taken for unreachable: the next source may be quicker.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// Without a byte for so long, a download is given up. What came is kept.
const STALLED: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(100);

struct Bytes(Sender<u64>);

impl hf_hub::api::Progress for Bytes {
    fn init(&mut self, _size: usize, _filename: &str) {
        let _ = self.0.send(0);
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(size as u64);
    }

    fn finish(&mut self) {}
}

/// Downloads a file into `dir` (in the hub's own layout) and returns where it lies there. A partial file of an
/// earlier try is completed. `size` is what the whole file has, bytes.
///
/// # Errors
/// [`SetupError::Hub`] when the hub cannot be reached or refuses; [`SetupError::Interrupted`].
pub fn fetch(
    dir: &Path,
    repo: &str,
    file: &str,
    revision: &str,
    size: u64,
    task: &Task,
) -> Result<PathBuf, SetupError> {
    let failed = |message: String| SetupError::Hub { repo: repo.to_owned(), message };
    drop_overlong(dir, size);
    let api = ApiBuilder::from_env()
        .with_cache_dir(dir.to_owned())
        .with_progress(false)
        .build()
        .map_err(|e| failed(e.to_string()))?
        .repo(Repo::with_revision(repo.to_owned(), RepoType::Model, revision.to_owned()));
    let (send, bytes) = channel();
    let name = file.to_owned();
    // The client blocks without a limit of its own, so that it runs apart from the clock and the interrupt flag.
    let worker = std::thread::spawn(move || api.download_with_progress(&name, Bytes(send)));
    let (mut last, mut limit) = (Instant::now(), FIRST_ANSWER);
    loop {
        interrupt::check()?;
        match bytes.recv_timeout(TICK) {
            Ok(n) => {
                task.inc(n);
                (last, limit) = (Instant::now(), STALLED);
            }
            Err(RecvTimeoutError::Timeout) if last.elapsed() > limit => {
                return Err(failed(format!("no answer within {} s", limit.as_secs())));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let path = worker.join().map_err(|_| failed("the hub's answer was not understood".to_owned()))?;
    let path = path.map_err(|e| failed(e.to_string()))?;
    // A link to the file proper, which may be moved.
    path.canonicalize().map_err(SetupError::io("open", &path))
}

/// A partial file that has all bytes already cannot be completed: the hub refuses to send the rest.
fn drop_overlong(dir: &Path, size: u64) {
    let parts = walkdir::WalkDir::new(dir).into_iter().flatten();
    for part in parts.filter(|entry| entry.path().extension().is_some_and(|e| e == "part")) {
        if part.metadata().is_ok_and(|data| data.len() >= size) {
            let _ = std::fs::remove_file(part.path());
        }
    }
}
