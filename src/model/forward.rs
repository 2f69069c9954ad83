//! The forward pass: tokens in, the logits of any of their positions out.
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
use super::kv::KvCache;
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
    pub fn cache(&self) -> KvCache {
        KvCache::new(&self.config, &self.device)
    }

    /// Runs `tokens` behind those in the cache and gives what the last norm makes of each: `[n, width]`, for
    /// [`head`](Self::head).
    ///
    /// # Errors
    /// When they do not fit into the context, or the computation fails; the cache is then as before.
    pub fn hidden(&self, tokens: &[u32], cache: &mut KvCache) -> std::result::Result<Tensor, ModelError> {
        let (start, n) = (cache.len(), tokens.len());
        if start + n > self.config.context {
            return Err(ModelError::TooLong { tokens: start + n, context: self.config.context });
        }
        let pass = Pass::new(&self.rope, start, n, &self.device)?;
        let mut x = self.embedding.embedding(&Tensor::new(tokens, &self.device)?)?;
        for (layer, layer_cache) in self.layers.iter().zip(cache.layers_mut()) {
            let h = candle_nn::ops::rms_norm(&x, &layer.attention_norm, layer.epsilon)?;
            x = (x + layer.attention.forward(&h, layer_cache, &pass)?)?;
            x = layer.feed_forward(x)?;
        }
        cache.advance(n);
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

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::Content;
    use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

    use super::super::fixture::written;
    use super::*;

    const TOKENS: [u32; 24] =
        [5, 77, 130, 9, 9, 261, 40, 200, 3, 255, 18, 64, 90, 33, 101, 7, 150, 266, 12, 80, 81, 82, 2, 99];

    fn loaded(architecture: &str) -> Transformer {
        let (_folder, path) = written(architecture);
        let gguf = Gguf::open(&path).unwrap();
        Transformer::load(&gguf, Config::read(&gguf).unwrap(), &Device::Cpu).unwrap()
    }

    fn logits(network: &Transformer, tokens: &[u32], cache: &mut KvCache) -> Vec<Vec<f32>> {
        network.head(&network.hidden(tokens, cache).unwrap()).unwrap().to_vec2().unwrap()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// candle-transformers' logits of the last position of every beginning of `tokens`.
    fn reference(architecture: &str, tokens: &[u32]) -> Vec<Vec<f32>> {
        let (_folder, path) = written(architecture);
        let beginnings = (1..=tokens.len()).map(|n| &tokens[..n]);
        beginnings
            .map(|tokens| {
                let mut file = File::open(&path).unwrap();
                let content = Content::read(&mut file).unwrap();
                let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
                let device = &Device::Cpu;
                let logits = match architecture {
                    "qwen2" => quantized_qwen2::ModelWeights::from_gguf(content, &mut file, device)
                        .and_then(|mut model| model.forward(&input, 0)),
                    "qwen3" => quantized_qwen3::ModelWeights::from_gguf(content, &mut file, device)
                        .and_then(|mut model| model.forward(&input, 0)),
                    _ => quantized_llama::ModelWeights::from_gguf(content, &mut file, device)
                        .and_then(|mut model| model.forward(&input, 0)),
                };
                logits.unwrap().squeeze(0).unwrap().to_vec1().unwrap()
            })
            .collect()
    }

    #[test]
    fn logits_agree_with_another_implementation_at_every_position() {
        for architecture in ["qwen2", "qwen3", "llama"] {
            let network = loaded(architecture);
            let own = logits(&network, &TOKENS, &mut network.cache());
            for (position, (own, reference)) in own.iter().zip(reference(architecture, &TOKENS)).enumerate() {
                let cosine = cosine(own, &reference);
                assert!(cosine > 0.999, "{architecture}, position {position}: {cosine}");
            }
        }
    }

    #[test]
    fn going_on_after_a_cut_is_as_if_never_cut() {
        for architecture in ["qwen2", "qwen3", "llama"] {
            let network = loaded(architecture);
            let fresh = logits(&network, &TOKENS, &mut network.cache());

            let mut cache = network.cache();
            network.hidden(&TOKENS[..10], &mut cache).unwrap();
            network.hidden(&[1, 2, 3, 4, 5], &mut cache).unwrap();
            cache.truncate(10);
            assert_eq!(cache.len(), 10);
            let mut gone_on = logits(&network, &TOKENS[10..15], &mut cache);
            for token in &TOKENS[15..] {
                gone_on.extend(logits(&network, &[*token], &mut cache));
            }
            for (position, (a, b)) in fresh[10..].iter().zip(&gone_on).enumerate() {
                // Inputs are rounded to 8 bits: what attention sums in another order may round otherwise.
                assert!(cosine(a, b) > 0.999, "{architecture}, position {}: {}", 10 + position, cosine(a, b));
            }
        }
    }

    #[test]
    fn the_cache_grows_past_its_first_room() {
        let network = loaded("qwen2");
        let long: Vec<u32> = (0..600).map(|i| (i * 7) % 256).collect();
        let fresh = logits(&network, &long, &mut network.cache());
        let mut cache = network.cache();
        for part in long.chunks(500) {
            network.hidden(part, &mut cache).unwrap();
        }
        cache.truncate(599);
        let last = logits(&network, &long[599..], &mut cache);
        assert!(cosine(&fresh[599], &last[0]) > 0.9999);
    }

    #[test]
    fn a_sequence_longer_than_the_context_is_refused() {
        let network = loaded("llama");
        let mut cache = network.cache();
        network.hidden(&[1; 639], &mut cache).unwrap();
        let error = network.hidden(&[1; 2], &mut cache).unwrap_err();
        assert!(matches!(error, ModelError::TooLong { tokens: 641, context: 640 }));
        assert_eq!(cache.len(), 639);
        network.hidden(&[1], &mut cache).unwrap();
    }

    #[test]
    fn logits_of_some_tokens_are_those_of_all() {
        let network = loaded("qwen2");
        let hidden = network.hidden(&TOKENS, &mut network.cache()).unwrap().narrow(0, TOKENS.len() - 1, 1).unwrap();
        let all: Vec<f32> = network.head(&hidden).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
        let ids: Vec<u32> = (0..270).collect();
        let some: Vec<f32> = network.head_of(&hidden, &ids).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
        assert!(cosine(&all, &some) > 0.999);
        assert_eq!(network.head_of(&hidden, &[7]).unwrap().dims(), [1, 1]);
    }
}
