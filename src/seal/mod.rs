//! The seal: once it is closed, this process and all that it starts open no sockets but unix ones, and write nowhere but where
//! they have to.
//!
//! In: the folders that are to be written. Out: [`Seal`], how far the system holds the process to it, and a folder for scratch
//! copies. What is closed stays so until the process ends, for it and for all that it starts:
//!
//! - **Network.** A seccomp filter (Linux, `Documentation/userspace-api/seccomp_filter.rst`) refuses `socket` and `socketpair` of
//!   every family but `AF_UNIX`, and what gets at sockets or at the rights of other processes in another way. Who answers on a
//!   unix socket of the user's is not held.
//! - **Writes.** Landlock (`Documentation/userspace-api/landlock.rst`) refuses to create, rename and remove files, and to change
//!   what they hold, but below the folders that are named; modes, owners and times it leaves. Processes that are started get the
//!   scratch folder alone, and devices that keep nothing.

pub mod probe;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// How far the system holds the process to the seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// No sockets but unix ones.
    pub network: Side,
    /// No writes but to the folders that are named.
    pub writes: Side,
}

/// One side of the seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Whether the system refuses what goes against it.
    pub sealed: bool,
    /// What holds it, or why nothing does.
    pub how: String,
}

impl Side {
    fn open(why: impl Into<String>) -> Self {
        Self { sealed: false, how: why.into() }
    }
}

impl Seal {
    /// One that nobody closed.
    fn open(why: &str) -> Self {
        Self { network: Side::open(why), writes: Side::open(why) }
    }
}

/// A closed seal. Its scratch folder goes with it; the seal itself stays.
#[derive(Debug)]
pub struct Closed {
    /// How far it holds.
    pub seal: Seal,
    _scratch: TempDir,
}

/// What the process that is sealed hands on to those that it starts.
#[derive(Debug)]
struct Current {
    seal: Seal,
    scratch: PathBuf,
}

static CURRENT: OnceLock<Current> = OnceLock::new();
static LEFT_OPEN: OnceLock<&'static str> = OnceLock::new();

/// The seal of this process.
pub fn current() -> Seal {
    let open = || Seal::open(LEFT_OPEN.get().copied().unwrap_or("not asked for"));
    CURRENT.get().map_or_else(open, |current| current.seal.clone())
}

/// Says why the seal stays open. The first reason stands.
pub fn leave_open(why: &'static str) {
    let _ = LEFT_OPEN.set(why);
}

/// The folder for temporary files of a run with a seal, whether or not the system holds to it what is started.
pub fn scratch() -> Option<&'static Path> {
    CURRENT.get().map(|current| current.scratch.as_path())
}

/// A seal that cannot be closed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no place for temporary files.
    #[error("cannot make a scratch folder in {}: {source}", .around.display())]
    Scratch {
        /// Where it was to be.
        around: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is closed already, for other folders.
    #[error("the process is sealed already")]
    Twice,
}

/// Closes the seal for this process. To be called before it has threads that write: those that are there already can still do
/// so. Temporary files are in the scratch folder from then on. The folders of `writable` have to be there.
///
/// # Errors
/// When there is no room for the scratch folder, or the seal is closed already.
pub fn close(writable: &[&Path]) -> Result<Closed, SealError> {
    let around = std::env::temp_dir();
    let scratch = tempfile::Builder::new().prefix("caulk-").tempdir_in(&around);
    let scratch = scratch.map_err(|source| SealError::Scratch { around: around.clone(), source })?;
    tempfile::env::override_temp_dir(scratch.path()).map_err(|_| SealError::Twice)?;
    let folders: Vec<&Path> = writable.iter().copied().chain([scratch.path()]).collect();
    let seal = Seal { network: system::without_network(), writes: system::only_below(&folders, Some(&around)) };
    let current = Current { seal: seal.clone(), scratch: scratch.path().to_owned() };
    CURRENT.set(current).map_err(|_| SealError::Twice)?;
    Ok(Closed { seal, _scratch: scratch })
}

/// Starts something, held to the scratch folder where this process is sealed: a thread of its own gives up more than the others
/// have given up, and what it starts comes into its place.
///
/// # Errors
/// Of `start`, or when the thread cannot be held.
pub fn narrowed<T: Send>(start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let Some(Current { seal, scratch }) = CURRENT.get() else { return start() };
    if !seal.writes.sealed {
        return start();
    }
    std::thread::scope(|scope| {
        let held = std::thread::Builder::new().spawn_scoped(scope, || match system::only_below(&[scratch], None) {
            Side { sealed: true, .. } => start(),
            Side { how, .. } => Err(io::Error::other(format!("it cannot be sealed ({how}); --no-seal leaves it open"))),
        })?;
        held.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetStatus,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    use super::Side;

    /// What keeps nothing that is written to it.
    const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];
    /// With these rights Landlock refuses to shorten files as well: from Linux 6.2 on.
    const RIGHTS: ABI = ABI::V3;
    /// On x86-64, added to a call's number it calls the same by another convention; some calls have numbers of their own there
    /// (Linux, `arch/x86/entry/syscalls/syscall_64.tbl`).
    const X32: i64 = 0x4000_0000;
    const OF_X32: [(i64, i64); 3] =
        [(libc::SYS_ioctl, 514), (libc::SYS_ptrace, 521), (libc::SYS_process_vm_writev, 540)];

    /// Refuses sockets for all threads, and for what they start.
    pub fn without_network() -> Side {
        match refused().and_then(|program| seccompiler::apply_filter_all_threads(&program)) {
            Ok(()) => Side { sealed: true, how: "seccomp".to_owned() },
            Err(error) => Side::open(format!("seccomp: {error}")),
        }
    }

    fn refused() -> Result<BpfProgram, seccompiler::Error> {
        let rule = |argument: u8, op: SeccompCmpOp, value: u64| -> Result<SeccompRule, seccompiler::Error> {
            Ok(SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?])?)
        };
        let unix = u64::try_from(libc::AF_UNIX).unwrap_or_default();
        // Letters put into the terminal's input, which the user's shell would read when the run is over.
        let typing = [libc::TIOCSTI, libc::TIOCLINUX];
        let typing = typing.into_iter().map(|request| rule(1, SeccompCmpOp::Eq, u64::from(request as u32)));
        let mut rules = BTreeMap::from([
            (libc::SYS_socket, vec![rule(0, SeccompCmpOp::Ne, unix)?]),
            (libc::SYS_socketpair, vec![rule(0, SeccompCmpOp::Ne, unix)?]),
            (libc::SYS_ioctl, typing.collect::<Result<Vec<_>, _>>()?),
        ]);
        // Whatever their arguments are: sockets by a ring, a name asked for through the kernel, and hands in other processes.
        let others = [
            libc::SYS_io_uring_setup,
            libc::SYS_request_key,
            libc::SYS_pidfd_getfd,
            libc::SYS_ptrace,
            libc::SYS_process_vm_writev,
        ];
        rules.extend(others.map(|call| (call, Vec::new())));
        if cfg!(target_arch = "x86_64") {
            let number = |call: i64| OF_X32.iter().find(|(own, _)| *own == call).map_or(call, |(_, of_x32)| *of_x32);
            let calls: Vec<i64> = rules.keys().map(|call| number(*call) | X32).collect();
            rules.extend(calls.into_iter().map(|call| (call, Vec::new())));
        }
        let errno = u32::try_from(libc::EPERM).unwrap_or_default();
        let arch = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch)?;
        Ok(filter.try_into()?)
    }

    /// Refuses changes but below these folders, for this thread, and for what it starts. Empty folders may be removed below
    /// `around` as well: the scratch folder goes at the end.
    pub fn only_below(folders: &[&Path], around: Option<&Path>) -> Side {
        match restricted(folders, around) {
            Ok(RulesetStatus::FullyEnforced) => Side { sealed: true, how: "Landlock".to_owned() },
            Ok(_) => Side::open("the system has no Landlock, or one older than that of Linux 6.2"),
            Err(error) => Side::open(format!("Landlock: {error}")),
        }
    }

    fn restricted(folders: &[&Path], around: Option<&Path>) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let rights = AccessFs::from_write(RIGHTS);
        let mut rules =
            Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(rights)?.create()?;
        for folder in folders {
            rules = rules.add_rule(beneath(folder, rights)?)?;
        }
        if let Some(around) = around {
            rules = rules.add_rule(beneath(around, AccessFs::RemoveDir.into())?)?;
            // The model runs in this process alone.
            for device in gpus() {
                rules = rules.add_rule(beneath(device, AccessFs::WriteFile.into())?)?;
            }
        }
        // A machine need not have them all.
        for device in DEVICES.iter().filter_map(|device| beneath(device, AccessFs::WriteFile.into()).ok()) {
            rules = rules.add_rule(device)?;
        }
        Ok(rules.restrict_self()?.ruleset)
    }

    /// The devices that CUDA opens to write to.
    fn gpus() -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let gpus = entries.filter(|_| cfg!(feature = "cuda")).map(|entry| entry.path());
        gpus.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"nvidia")))
            .collect()
    }

    fn beneath(path: impl AsRef<Path>, rights: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, PathFdError> {
        Ok(PathBeneath::new(PathFd::new(path)?, rights))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    use super::Side;

    const WHY: &str = "only Linux has what holds it";

    pub fn without_network() -> Side {
        Side::open(WHY)
    }

    pub fn only_below(_: &[&Path], _: Option<&Path>) -> Side {
        Side::open(WHY)
    }
}
