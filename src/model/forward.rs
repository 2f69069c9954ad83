//! The forward pass through candle, on any device: tokens in, the logits of any of their positions out.
//!
//! A decoder of blocks, each attention and a gated feed-forward part (SwiGLU, <https://arxiv.org/abs/2002.05202>) with RMS norms
//! before them. Weights stay quantised; of the embedding only the rows that are looked up are ever dequantised.

use std::fs::File;
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::ModelError;
use super::attention::{Attention, Pass};
use super::config::Config;
use super::gguf::Gguf;
use super::kv::{KvCache, LayerCache, Run};
use super::linear::Linear;
use super::rope::Rope;

/// A network's weights.
pub struct Transformer {
    config: Config,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    rope: Rope,
    device: Device,
}

struct Layer {
    attention_norm: Tensor,
    attention: Attention,
    feed_forward_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
    epsilon: f32,
}

impl Transformer {
    /// Reads all weights onto a device.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape than the hyper-parameters ask for, or does not fit on the device.
    pub fn load(gguf: &Gguf, config: Config, device: &Device) -> std::result::Result<Self, ModelError> {
        let layer = |index| Layer::read(gguf, index, &config, device);
        let layers: Vec<Layer> =
            (0..config.layers).into_par_iter().map(layer).collect::<std::result::Result<_, _>>()?;
        let mut reader = gguf.reader()?;
        let shape = [config.vocab, config.width];
        let embedding = Arc::new(gguf.tensor(&mut reader, "token_embd.weight", &shape, device)?);
        let head = match gguf.has_tensor("output.weight") {
            true => Linear::read(gguf, &mut reader, "output", shape, device)?,
            false => Linear::new(embedding.clone())?,
        };
        let factors = match gguf.has_tensor("rope_freqs.weight") {
            true => {
                let tensor = gguf.tensor(&mut reader, "rope_freqs.weight", &[config.rope_width / 2], device)?;
                Some(tensor.dequantize(device)?.to_vec1::<f32>()?)
            }
            false => None,
        };
        let norm = norm_weight(gguf, &mut reader, "output_norm.weight", config.width, device)?;
        let rope = Rope::new(&config, factors.as_deref());
        let transformer = Self { config, embedding, layers, norm, head, rope, device: device.clone() };
        transformer.warm_up()?;
        Ok(transformer)
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// An empty cache for this network.
    pub fn cache(&self) -> KvCache<LayerCache> {
        KvCache::new(self.config.layers, || LayerCache::new(&self.config, &self.device))
    }

    /// Runs tokens behind those in their caches, all in one pass, and gives what the last norm makes of each: `[n, width]`, one
    /// run after the other, for [`head`](Self::head).
    ///
    /// # Errors
    /// When they do not fit into the context, or the computation fails; the caches are then as before.
    pub fn hidden(&self, runs: &mut [Run<'_, KvCache<LayerCache>>]) -> std::result::Result<Tensor, ModelError> {
        let context = self.config.context;
        let mut passes = Vec::new();
        for Run { tokens, cache } in &*runs {
            let (start, n) = (cache.len(), tokens.len());
            if start + n > context {
                return Err(ModelError::TooLong { tokens: start + n, context });
            }
            passes.push(Pass::new(&self.rope, start, n, &self.device)?);
        }
        let tokens: Vec<u32> = runs.iter().flat_map(|run| run.tokens).copied().collect();
        let mut x = self.embedding.embedding(&Tensor::new(tokens, &self.device)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let h = candle_nn::ops::rms_norm(&x, &layer.attention_norm, layer.epsilon)?;
            let caches = runs.iter_mut().map(|run| &mut run.cache.layers_mut()[index]);
            x = (x + layer.attention.forward(&h, caches, &passes)?)?;
            x = layer.feed_forward(x)?;
        }
        for run in runs {
            run.cache.advance(run.tokens.len());
        }
        Ok(candle_nn::ops::rms_norm(&x, &self.norm, self.config.norm_epsilon as f32)?)
    }

    /// Logits over the whole vocabulary: `[n, width]` to `[n, vocab]`.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// Logits of some tokens for one position: `[1, width]` to `[1, tokens]`. For few tokens it costs a fraction of
    /// [`head`](Self::head), which reads the largest matrix of the network.
    pub fn head_of(&self, hidden: &Tensor, tokens: &[u32]) -> Result<Tensor> {
        self.head.forward_rows(hidden, tokens)
    }

    /// On the CPU candle repacks each matrix when it is first multiplied by, on one thread: done here on all of them.
    fn warm_up(&self) -> Result<()> {
        if !self.device.is_cpu() {
            return Ok(());
        }
        let rows = |width| Tensor::zeros((2, width), DType::F32, &self.device);
        self.layers.par_iter().try_for_each(|layer| {
            layer.attention.warm_up(rows)?;
            layer.feed_forward(rows(self.config.width)?).map(drop)
        })
    }
}

impl Layer {
    fn read(gguf: &Gguf, index: usize, config: &Config, device: &Device) -> std::result::Result<Self, ModelError> {
        let &Config { width, feed_forward, .. } = config;
        let prefix = format!("blk.{index}");
        let mut reader = gguf.reader()?;
        let reader = &mut reader;
        Ok(Self {
            attention_norm: norm_weight(gguf, reader, &format!("{prefix}.attn_norm.weight"), width, device)?,
            attention: Attention::read(gguf, reader, &prefix, config, device)?,
            feed_forward_norm: norm_weight(gguf, reader, &format!("{prefix}.ffn_norm.weight"), width, device)?,
            gate: Linear::read(gguf, reader, &format!("{prefix}.ffn_gate"), [feed_forward, width], device)?,
            up: Linear::read(gguf, reader, &format!("{prefix}.ffn_up"), [feed_forward, width], device)?,
            down: Linear::read(gguf, reader, &format!("{prefix}.ffn_down"), [width, feed_forward], device)?,
            epsilon: config.norm_epsilon as f32,
        })
    }

    fn feed_forward(&self, x: Tensor) -> Result<Tensor> {
        let h = candle_nn::ops::rms_norm(&x, &self.feed_forward_norm, self.epsilon)?;
        let [gate, up] = Linear::forward_all([&self.gate, &self.up], &h)?;
        x + self.down.forward(&(candle_nn::ops::silu(&gate)? * up)?)?
    }
}

fn norm_weight(
    gguf: &Gguf,
    reader: &mut File,
    name: &str,
    width: usize,
    device: &Device,
) -> std::result::Result<Tensor, ModelError> {
    Ok(gguf.tensor(reader, name, &[width], device)?.dequantize(device)?)
}
