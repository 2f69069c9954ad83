//! A linear layer on quantised weights.

use std::fs::File;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Result, Tensor};

use super::ModelError;
use super::gguf::Gguf;

/// `x · Wᵀ + b`, with `W` as the file has it.
#[derive(Debug)]
pub struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `{name}.weight`, `[outputs, inputs]`, and `{name}.bias` where the file has one.
    pub fn read(
        gguf: &Gguf,
        reader: &mut File,
        name: &str,
        [outputs, inputs]: [usize; 2],
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let weight = gguf.tensor(reader, &format!("{name}.weight"), &[outputs, inputs], device)?;
        let mut linear = Self::new(Arc::new(with_fast_kernel(weight, gguf.len())?))?;
        let bias = format!("{name}.bias");
        if gguf.has_tensor(&bias) {
            linear.bias = Some(gguf.tensor(reader, &bias, &[outputs], device)?.dequantize(device)?);
        }
        Ok(linear)
    }

    /// A layer without a bias.
    pub fn new(weight: Arc<QTensor>) -> Result<Self> {
        Ok(Self { weight: QMatMul::from_arc(weight)?, bias: None })
    }

    /// `[n, inputs]` to `[n, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.add_bias(self.weight.forward(x)?)
    }

    /// The layers' outputs for one input: where it can be, the input is quantised once for all of them.
    pub fn forward_all<const N: usize>(layers: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let weights: Vec<&QTensor> = layers.iter().filter_map(|layer| layer.quantised()).collect();
        let fused = match weights.len() == N {
            true => QTensor::gemv_fused_shared_lhs(&weights, x)?,
            false => None,
        };
        let outputs = match fused {
            Some(outputs) => {
                layers.iter().zip(outputs).map(|(layer, y)| layer.add_bias(y)).collect::<Result<Vec<_>>>()?
            }
            None => layers.iter().map(|layer| layer.forward(x)).collect::<Result<Vec<_>>>()?,
        };
        outputs.try_into().map_err(|_| candle_core::Error::msg("a layer gave no output"))
    }

    /// Some of the outputs, by row of the weights, for one input `[1, inputs]`; without the bias.
    pub fn forward_rows(&self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        let weight = self.weight.embedding(&Tensor::new(rows, x.device())?)?;
        x.matmul(&weight.t()?)
    }

    fn quantised(&self) -> Option<&QTensor> {
        match &self.weight {
            QMatMul::QTensor(weight) => Some(weight),
            _ => None,
        }
    }

    fn add_bias(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Files up to this size may be unpacked to `f32`, bytes.
const SMALL_FILE: u64 = 256 << 20;

/// candle multiplies by `Q4_1`, `Q5_0` and `Q5_1` without vector instructions on x86: some 10 tokens a second for 135 million
/// weights. Unpacked to `f32` they run at ten times that; where it would take too much room, as `Q8_0` at four times.
fn with_fast_kernel(weight: QTensor, file: u64) -> Result<QTensor> {
    let slow = matches!(weight.dtype(), GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
    if !slow || !weight.device().is_cpu() || !cfg!(target_arch = "x86_64") {
        return Ok(weight);
    }
    let kind = if file <= SMALL_FILE { GgmlDType::F32 } else { GgmlDType::Q8_0 };
    QTensor::quantize(&weight.dequantize(&Device::Cpu)?, kind)
}
