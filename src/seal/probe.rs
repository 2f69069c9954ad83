//! What would break the seal, tried.
//!
//! In: a process that is sealed, and a folder that it may not write to. Out: each attempt, and whether it was refused.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Seal;
use crate::process::{self, Cmd};

const LIMIT: Duration = Duration::from_secs(20);
/// Ends well where it is refused a socket: no shell's own words ask for one in all shells.
const SOCKET: &str = "\
import socket, sys
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
except PermissionError: sys.exit(0)
sys.exit(1)";

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What, in words.
    pub what: String,
    /// The side that it is about.
    pub about: About,
    /// Whether it is as it should be: refused, or, of what has to work, not.
    pub held: bool,
}

/// A side of the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// No sockets but unix ones.
    Network,
    /// No writes but to the folders that are named.
    Writes,
}

/// What came of trying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What the system says that it holds.
    pub seal: Seal,
    /// What was tried against that.
    pub attempts: Vec<Attempt>,
}

/// Tries to get out: by itself, and through processes that it starts. There is a file `kept` in the folder outside.
pub fn attempts(outside: &Path) -> Vec<Attempt> {
    let attempt = |about: About, what: &str, held: bool| Attempt { what: what.to_owned(), about, held };
    let network = |what: &str, held: bool| attempt(About::Network, what, held);
    let writes = |what: &str, held: bool| attempt(About::Writes, what, held);
    let Ok(inside) = tempfile::tempdir() else { return vec![writes("scratch files work", false)] };
    let by_process = |path: &Path| {
        let _ = process::run(&Cmd::new("sh", LIMIT).args(["-c", "echo x > \"$0\""]).arg(path));
        path.exists()
    };
    let kept = outside.join("kept");
    let mut all = vec![
        network("an internet socket", UdpSocket::bind(("127.0.0.1", 0)).is_err()),
        network("unix sockets work", UnixStream::pair().is_ok()),
        writes("a file outside", fs::write(outside.join("own"), "x").is_err()),
        writes("a file outside by a process", !by_process(&outside.join("process"))),
        writes("shortening one", fs::File::options().write(true).truncate(true).open(&kept).is_err()),
        writes("renaming one", fs::rename(&kept, outside.join("renamed")).is_err()),
        writes("removing one", fs::remove_file(&kept).is_err()),
        writes("scratch files work", fs::write(inside.path().join("own"), "x").is_ok()),
        writes("scratch files of a process work", by_process(&inside.path().join("process"))),
    ];
    if let Ok(program) = which::which("python3") {
        let told = process::run(&Cmd::new(program, LIMIT).args(["-I", "-c", SOCKET]));
        all.push(network("an internet socket by a process", told.is_ok_and(|out| out.success())));
    }
    all
}
