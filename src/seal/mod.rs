//! The seal: once it is closed, this process and all that it starts open no sockets but unix ones, and write nowhere but where
//! they have to.
//!
//! In: the folders that are to be written. Out: [`Seal`], how far the system holds the process to it, and a folder for scratch
//! copies. What is closed stays so until the process ends, for it and for all that it starts:
//!
//! - **Network.** A seccomp filter (Linux, `Documentation/userspace-api/seccomp_filter.rst`) refuses `socket` and `socketpair` of
//!   every family but `AF_UNIX`, and `io_uring_setup`, through which sockets could be had as well.
//! - **Writes.** Landlock (`Documentation/userspace-api/landlock.rst`) refuses to create, change, rename and remove files but
//!   below the folders that are named. Processes that are started get the scratch folder alone.

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

    /// In words.
    pub fn text(&self) -> String {
        format!("{} ({})", if self.sealed { "sealed" } else { "open" }, self.how)
    }
}

impl Seal {
    /// One that nobody closed.
    pub fn open(why: &str) -> Self {
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

/// The folder that processes which are started may write to; `None` where they are not held to one.
pub fn scratch() -> Option<&'static Path> {
    CURRENT.get().map(|current| current.scratch.as_path())
}

/// Closes the seal for this process. To be called before it has threads that write: those that are there already can still do
/// so. Temporary files are in the scratch folder from then on. `writable` may name what is not there yet: the nearest folder
/// above it that is there may be written then.
///
/// # Errors
/// When there is no room for the scratch folder, or the seal is closed already.
pub fn close(writable: &[&Path]) -> io::Result<Closed> {
    let around = std::env::temp_dir();
    let scratch = tempfile::Builder::new().prefix("caulk-").tempdir_in(&around)?;
    let there = |path: &&Path| path.ancestors().find(|path| path.exists()).map(Path::to_owned);
    // Where a relative path has nothing left, it is in the working directory.
    let not_empty = |path: PathBuf| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
    let folders = writable.iter().map(|path| there(path).map_or(PathBuf::from("."), not_empty));
    let folders: Vec<PathBuf> = folders.chain([scratch.path().to_owned()]).collect();
    let seal = Seal { network: system::without_network(), writes: system::only_below(&folders, Some(&around)) };
    let current = Current { seal: seal.clone(), scratch: scratch.path().to_owned() };
    CURRENT.set(current).map_err(|_| io::Error::other("the process is sealed already"))?;
    if tempfile::env::override_temp_dir(scratch.path()).is_err() {
        return Err(io::Error::other("temporary files have a folder of their own already"));
    }
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
        let held = scope.spawn(|| match system::only_below(std::slice::from_ref(scratch), None) {
            Side { sealed: true, .. } => start(),
            Side { how, .. } => Err(io::Error::other(format!("what is started cannot be sealed: {how}"))),
        });
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

    /// What is written to without being changed.
    const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/tty", "/dev/full"];
    /// With these rights Landlock covers all ways to change a file, from Linux 6.2 on.
    const RIGHTS: ABI = ABI::V3;
    /// On x86-64, added to a call's number it calls the same by another convention (Linux, `arch/x86/include/uapi/asm/unistd.h`).
    const X32: i64 = 0x4000_0000;

    /// Refuses sockets for all threads, and for what they start.
    pub fn without_network() -> Side {
        match refused().and_then(|program| seccompiler::apply_filter_all_threads(&program)) {
            Ok(()) => Side { sealed: true, how: "seccomp".to_owned() },
            Err(error) => Side::open(format!("seccomp: {error}")),
        }
    }

    fn refused() -> Result<BpfProgram, seccompiler::Error> {
        let unix = u64::try_from(libc::AF_UNIX).unwrap_or_default();
        let other_family = || -> Result<Vec<SeccompRule>, seccompiler::Error> {
            let family = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, unix)?;
            Ok(vec![SeccompRule::new(vec![family])?])
        };
        let mut rules = BTreeMap::from([
            (libc::SYS_socket, other_family()?),
            (libc::SYS_socketpair, other_family()?),
            // Whatever its arguments are.
            (libc::SYS_io_uring_setup, Vec::new()),
        ]);
        if cfg!(target_arch = "x86_64") {
            let calls: Vec<i64> = rules.keys().copied().collect();
            rules.extend(calls.into_iter().map(|call| (call | X32, Vec::new())));
        }
        let errno = u32::try_from(libc::EPERM).unwrap_or_default();
        let arch = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch)?;
        Ok(filter.try_into()?)
    }

    /// Refuses changes but below these folders, for this thread, and for what it starts. Empty folders may be removed below
    /// `around` as well: the scratch folder goes at the end.
    pub fn only_below(folders: &[PathBuf], around: Option<&Path>) -> Side {
        match restricted(folders, around) {
            Ok(RulesetStatus::FullyEnforced) => Side { sealed: true, how: "Landlock".to_owned() },
            Ok(RulesetStatus::PartiallyEnforced) => {
                Side::open("the system's Landlock is too old to refuse all changes: Linux 6.2 or later does")
            }
            Ok(RulesetStatus::NotEnforced) => Side::open("the system has no Landlock: Linux 6.2 or later may have it"),
            Err(error) => Side::open(format!("Landlock: {error}")),
        }
    }

    fn restricted(folders: &[PathBuf], around: Option<&Path>) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let rights = AccessFs::from_write(RIGHTS);
        let mut rules =
            Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(rights)?.create()?;
        for folder in folders {
            rules = rules.add_rule(beneath(folder, rights)?)?;
        }
        if let Some(around) = around {
            rules = rules.add_rule(beneath(around, AccessFs::RemoveDir.into())?)?;
        }
        // A machine need not have them all.
        for device in DEVICES.iter().filter_map(|device| beneath(device, AccessFs::WriteFile.into()).ok()) {
            rules = rules.add_rule(device)?;
        }
        Ok(rules.restrict_self()?.ruleset)
    }

    fn beneath(path: impl AsRef<Path>, rights: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, PathFdError> {
        Ok(PathBeneath::new(PathFd::new(path)?, rights))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::{Path, PathBuf};

    use super::Side;

    const WHY: &str = "only Linux has what holds it";

    pub fn without_network() -> Side {
        Side::open(WHY)
    }

    pub fn only_below(_: &[PathBuf], _: Option<&Path>) -> Side {
        Side::open(WHY)
    }
}
