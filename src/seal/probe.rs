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

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What, in words.
    pub what: String,
    /// Whether it is as it should be: refused, or, of what has to work, not.
    pub held: bool,
}

/// What came of trying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What the system says that it holds.
    pub seal: Seal,
    /// What was tried against that.
    pub attempts: Vec<Attempt>,
}

/// Tries to get out: by itself, and through processes that it starts.
pub fn attempts(outside: &Path) -> Vec<Attempt> {
    let attempt = |what: &str, held: bool| Attempt { what: what.to_owned(), held };
    let inside = tempfile::tempdir();
    let writes = |path: &Path| fs::write(path, "x").is_ok();
    // Its own words: some shells have built-ins that open sockets, and none has one that all of them know.
    let python = "import socket, sys\ntry: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nexcept OSError: sys.exit(0)\nsys.exit(1)";
    let mut all = vec![
        attempt("a socket of the internet's", UdpSocket::bind(("127.0.0.1", 0)).is_err()),
        attempt("a file outside", !writes(&outside.join("own"))),
        attempt("a file outside, by a process", {
            let path = outside.join("process");
            let _ = process::run(&Cmd::new("sh", LIMIT).args(["-c", "echo x > \"$0\""]).arg(&path));
            !path.exists()
        }),
        attempt("unix sockets work", UnixStream::pair().is_ok()),
        attempt("scratch files work", inside.is_ok_and(|dir| writes(&dir.path().join("own")))),
    ];
    if let Ok(program) = which::which("python3") {
        let told = process::run(&Cmd::new(program, LIMIT).args(["-I", "-c", python]));
        all.insert(1, attempt("a socket of the internet's, by a process", told.is_ok_and(|out| out.success())));
    }
    all
}
