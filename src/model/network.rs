//! A network on whatever runs it: the CPU's own kernels where there are some for all of its matrices, else candle.

use std::io::{self, Read, Write};

use candle_core::{Device, Tensor};

use super::ModelError;
use super::config::Config;
use super::cpu;
use super::forward::Transformer;
use super::gguf::Gguf;
use super::kv::{KvCache, LayerCache, Run};

/// A network's weights.
pub enum Network {
    /// Packed, for the CPU's kernels.
    Packed(Box<cpu::Network>),
    /// As candle has them, on any device.
    Candle(Box<Transformer>),
}

/// What a network keeps of the tokens that have been run.
#[derive(Debug)]
pub enum Cache {
    /// Of a [`Network::Packed`].
    Packed(cpu::Cache),
    /// Of a [`Network::Candle`].
    Candle(KvCache<LayerCache>),
}

impl Network {
    /// Reads all weights onto a device.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape than the hyper-parameters ask for, or does not fit on the device.
    pub fn load(gguf: &Gguf, config: Config, device: &Device) -> Result<Self, ModelError> {
        if device.is_cpu()
            && let Some(network) = cpu::Network::load(gguf, &config)?
        {
            return Ok(Self::Packed(Box::new(network)));
        }
        Ok(Self::Candle(Box::new(Transformer::load(gguf, config, device)?)))
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &Config {
        match self {
            Self::Packed(network) => network.config(),
            Self::Candle(network) => network.config(),
        }
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        match self {
            Self::Packed(_) => &Device::Cpu,
            Self::Candle(network) => network.device(),
        }
    }

    /// An empty cache for this network.
    pub fn cache(&self) -> Cache {
        match self {
            Self::Packed(network) => Cache::Packed(network.cache()),
            Self::Candle(network) => Cache::Candle(network.cache()),
        }
    }

    /// A cache with what was [written](Cache::write_to) of so many positions.
    ///
    /// # Errors
    /// When it cannot be read, or is another network's: [`std::io::ErrorKind::Unsupported`] where there is none to be written.
    pub fn read_cache(&self, positions: usize, from: &mut dyn Read) -> io::Result<Cache> {
        let Self::Packed(network) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let layer = |_| cpu::LayerCache::read_from(network.config(), positions, from);
        let layers = (0..network.config().layers).map(layer).collect::<io::Result<Vec<_>>>()?;
        Ok(Cache::Packed(KvCache::of(layers, positions)))
    }

    /// Runs `tokens` behind those in the cache and gives what the last norm makes of each: `[n, width]`, for
    /// [`head`](Self::head).
    ///
    /// # Errors
    /// When they do not fit into the context, or the computation fails; the cache is then as before.
    pub fn hidden(&self, tokens: &[u32], cache: &mut Cache) -> Result<Tensor, ModelError> {
        self.hidden_all(&mut [Run { tokens, cache }])
    }

    /// The same for several runs of tokens in one pass, one after the other: the weights are read once for all.
    ///
    /// # Errors
    /// As of [`hidden`](Self::hidden); all caches are then as before.
    pub fn hidden_all(&self, runs: &mut [Run<'_, Cache>]) -> Result<Tensor, ModelError> {
        let foreign = || ModelError::from(candle_core::Error::msg("the cache is another network's"));
        match self {
            Self::Packed(network) => {
                let own = runs.iter_mut().map(|run| match run.cache {
                    Cache::Packed(cache) => Some(Run { tokens: run.tokens, cache }),
                    Cache::Candle(_) => None,
                });
                let hidden = network.hidden(&mut own.collect::<Option<Vec<_>>>().ok_or_else(foreign)?)?;
                let n: usize = runs.iter().map(|run| run.tokens.len()).sum();
                Ok(Tensor::from_vec(hidden, (n, network.config().width), &Device::Cpu)?)
            }
            Self::Candle(network) => {
                let own = runs.iter_mut().map(|run| match run.cache {
                    Cache::Candle(cache) => Some(Run { tokens: run.tokens, cache }),
                    Cache::Packed(_) => None,
                });
                network.hidden(&mut own.collect::<Option<Vec<_>>>().ok_or_else(foreign)?)
            }
        }
    }

    /// Logits over the whole vocabulary: `[n, width]` to `[n, vocab]`.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn head(&self, hidden: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Packed(network) => {
                let logits = network.head(&hidden.flatten_all()?.to_vec1::<f32>()?);
                Tensor::from_vec(logits, (hidden.dim(0)?, network.config().vocab), &Device::Cpu)
            }
            Self::Candle(network) => network.head(hidden),
        }
    }

    /// Logits of some tokens for one position: `[1, width]` to `[1, tokens]`. For few tokens it costs a fraction of
    /// [`head`](Self::head), which reads the largest matrix of the network.
    ///
    /// # Errors
    /// When the computation fails.
    pub fn head_of(&self, hidden: &Tensor, tokens: &[u32]) -> candle_core::Result<Tensor> {
        match self {
            Self::Packed(network) => {
                let logits = network.head_of(&hidden.flatten_all()?.to_vec1::<f32>()?, tokens);
                Tensor::from_vec(logits, (1, tokens.len()), &Device::Cpu)
            }
            Self::Candle(network) => network.head_of(hidden, tokens),
        }
    }
}

impl Cache {
    /// Positions in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(cache) => cache.len(),
            Self::Candle(cache) => cache.len(),
        }
    }

    /// A cache that goes on from here by itself.
    ///
    /// # Errors
    /// When the device has no room for it.
    pub fn fork(&self) -> candle_core::Result<Self> {
        Ok(match self {
            // What they have in common they share.
            Self::Packed(cache) => Self::Packed(cache.fork(|layer| Ok(layer.clone()))?),
            Self::Candle(cache) => Self::Candle(cache.fork(LayerCache::fork)?),
        })
    }

    /// Writes the first positions, layer by layer.
    ///
    /// # Errors
    /// When that fails; [`std::io::ErrorKind::Unsupported`] where the keys and values are on a device.
    pub fn write_to(&self, positions: usize, out: &mut dyn Write) -> io::Result<()> {
        let Self::Packed(cache) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        cache.layers().iter().try_for_each(|layer| layer.write_to(positions, out))
    }

    /// Forgets all positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Self::Packed(cache) => cache.truncate(len),
            Self::Candle(cache) => cache.truncate(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use candle_core::quantized::gguf_file::Content;
    use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

    use super::super::fixture::written;
    use super::*;

    const TOKENS: [u32; 24] =
        [5, 77, 130, 9, 9, 261, 40, 200, 3, 255, 18, 64, 90, 33, 101, 7, 150, 266, 12, 80, 81, 82, 2, 99];

    /// A network as candle runs it, and as the CPU's kernels do where there are some.
    fn loaded(architecture: &str) -> Vec<Network> {
        let (_folder, path) = written(architecture);
        let gguf = Gguf::open(&path).unwrap();
        let config = Config::read(&gguf).unwrap();
        let own = Network::load(&gguf, config.clone(), &Device::Cpu).unwrap();
        let is_packed = matches!(own, Network::Packed(_));
        assert_eq!(is_packed, cfg!(target_arch = "x86_64"), "every CPU that tests run on has the instructions");
        vec![Network::Candle(Box::new(Transformer::load(&gguf, config, &Device::Cpu).unwrap())), own]
    }

    fn logits(network: &Network, tokens: &[u32], cache: &mut Cache) -> Vec<Vec<f32>> {
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
            let reference = reference(architecture, &TOKENS);
            for network in loaded(architecture) {
                let own = logits(&network, &TOKENS, &mut network.cache());
                for (position, (own, reference)) in own.iter().zip(&reference).enumerate() {
                    let cosine = cosine(own, reference);
                    // Both round inputs to 8 bits, in ways of their own on some CPUs: seen down to 0.9986 with AVX2.
                    assert!(cosine > 0.998, "{architecture}, position {position}: {cosine}");
                }
            }
        }
    }

    #[test]
    fn going_on_after_a_cut_is_as_if_never_cut() {
        let networks = ["qwen2", "qwen3", "llama"].map(|architecture| (architecture, loaded(architecture)));
        for (architecture, network) in networks.iter().flat_map(|(name, all)| all.iter().map(move |it| (name, it))) {
            let fresh = logits(network, &TOKENS, &mut network.cache());

            let mut cache = network.cache();
            network.hidden(&TOKENS[..10], &mut cache).unwrap();
            network.hidden(&[1, 2, 3, 4, 5], &mut cache).unwrap();
            cache.truncate(10);
            let mut gone_on = logits(network, &TOKENS[10..15], &mut cache);
            for token in &TOKENS[15..] {
                gone_on.extend(logits(network, &[*token], &mut cache));
            }
            for (position, (a, b)) in fresh[10..].iter().zip(&gone_on).enumerate() {
                // Inputs are rounded to 8 bits: what attention sums in another order may round otherwise.
                assert!(cosine(a, b) > 0.999, "{architecture}, position {}: {}", 10 + position, cosine(a, b));
            }
        }
    }

    #[test]
    fn runs_that_share_a_pass_are_as_if_each_had_its_own() {
        for architecture in ["qwen2", "qwen3", "llama"] {
            for network in loaded(architecture) {
                let mut common = network.cache();
                network.hidden(&TOKENS[..19], &mut common).unwrap();
                let runs: [&[u32]; 3] = [&TOKENS[19..], &[7], &TOKENS[2..16]];
                let alone: Vec<Vec<Vec<f32>>> =
                    runs.iter().map(|tokens| logits(&network, tokens, &mut common.fork().unwrap())).collect();
                let mut caches = [(); 3].map(|()| common.fork().unwrap());
                let mut together: Vec<_> =
                    runs.iter().zip(&mut caches).map(|(tokens, cache)| Run { tokens, cache }).collect();
                let hidden = network.hidden_all(&mut together).unwrap();
                let together: Vec<Vec<f32>> = network.head(&hidden).unwrap().to_vec2().unwrap();
                let alone = alone.concat();
                assert_eq!(alone.len(), together.len());
                match network {
                    // To the bit: answers must not depend on which others are written beside them.
                    Network::Packed(_) => assert_eq!(alone, together, "{architecture}"),
                    Network::Candle(_) => {
                        assert!(alone.iter().zip(&together).all(|(a, b)| cosine(a, b) > 0.999), "{architecture}");
                    }
                }
                // What was forked off is gone on with apart.
                let after: Vec<Vec<f32>> =
                    caches.iter_mut().map(|cache| logits(&network, &[3], cache).concat()).collect();
                let mut own = common.fork().unwrap();
                network.hidden(runs[0], &mut own).unwrap();
                assert!(cosine(&after[0], &logits(&network, &[3], &mut own).concat()) > 0.999);
            }
        }
    }

    #[test]
    fn the_cache_grows_past_its_first_room() {
        for network in loaded("qwen2") {
            let long: Vec<u32> = (0..600).map(|i| (i * 7) % 256).collect();
            let fresh = logits(&network, &long, &mut network.cache());
            let mut cache = network.cache();
            for part in long.chunks(500) {
                network.hidden(part, &mut cache).unwrap();
            }
            cache.truncate(599);
            let last = logits(&network, &long[599..], &mut cache);
            assert!(cosine(&fresh[599], &last[0]) > 0.999);
        }
    }

    #[test]
    fn a_sequence_longer_than_the_context_is_refused() {
        for network in loaded("llama") {
            let mut cache = network.cache();
            network.hidden(&[1; 639], &mut cache).unwrap();
            let error = network.hidden(&[1; 2], &mut cache).unwrap_err();
            assert!(matches!(error, ModelError::TooLong { tokens: 641, context: 640 }));
            network.hidden(&[1], &mut cache).unwrap();
        }
    }

    #[test]
    fn logits_of_some_tokens_are_those_of_all() {
        for network in loaded("qwen2") {
            let hidden = network.hidden(&TOKENS, &mut network.cache()).unwrap().narrow(0, TOKENS.len() - 1, 1).unwrap();
            let all: Vec<f32> = network.head(&hidden).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
            let ids: Vec<u32> = (0..270).collect();
            let some: Vec<f32> = network.head_of(&hidden, &ids).unwrap().squeeze(0).unwrap().to_vec1().unwrap();
            assert!(cosine(&all, &some) > 0.999);
            assert_eq!(network.head_of(&hidden, &[7]).unwrap().dims(), [1, 1]);
        }
    }

    #[test]
    fn a_token_that_is_none_and_anothers_cache_are_errors() {
        let networks = loaded("qwen2");
        for network in &networks {
            assert!(network.hidden(&[270], &mut network.cache()).is_err());
        }
        if let [candle, own] = networks.as_slice() {
            assert!(own.hidden(&[1], &mut candle.cache()).is_err());
        }
    }
}
