//! Where the model runs: `cpu`, `cuda`, `cuda:N`, `metal`.

use candle_core::{Device, DeviceLocation};

use super::ModelError;
use super::error::in_words;

/// The device that a user names.
///
/// # Errors
/// When the name is none of `cpu`, `cuda`, `cuda:N`, `metal`, when caulk was built without that backend, or when the
/// machine has no such device.
pub fn parse_device(name: &str) -> Result<Device, ModelError> {
    let fail = |why: String| ModelError::Device { name: name.to_owned(), why };
    let built_without =
        |feature: &str| fail(format!("this caulk was built without it (`cargo build --release --features {feature}`)"));
    match name.split_once(':').unwrap_or((name, "0")) {
        ("cpu", _) if name == "cpu" => Ok(Device::Cpu),
        ("cuda", ordinal) => {
            let ordinal = ordinal.parse().map_err(|_| fail(format!("`{ordinal}` is not the number of a device")))?;
            if !cfg!(feature = "cuda") {
                return Err(built_without("cuda"));
            }
            Device::new_cuda(ordinal).map_err(|e| fail(in_words(&e)))
        }
        ("metal", _) if name == "metal" => {
            if !cfg!(feature = "metal") {
                return Err(built_without("metal"));
            }
            Device::new_metal(0).map_err(|e| fail(in_words(&e)))
        }
        _ => Err(fail("there are `cpu`, `cuda`, `cuda:N` and `metal`".to_owned())),
    }
}

/// The name of a device, as [`parse_device`] takes it.
pub fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { .. } => "metal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(device_name(&parse_device("cpu").unwrap()), "cpu");
    }

    #[test]
    fn unknown_names_are_refused() {
        for name in ["", "gpu", "cpu:0", "metal:1", "cuda:x", "cuda:"] {
            assert!(matches!(parse_device(name), Err(ModelError::Device { .. })), "{name}");
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_missing_backend_names_its_feature() {
        for name in ["cuda", "cuda:1", "metal"] {
            let error = parse_device(name).unwrap_err().to_string();
            let feature = name.split(':').next().unwrap();
            assert!(error.contains(&format!("--features {feature}")), "{error}");
        }
    }
}
