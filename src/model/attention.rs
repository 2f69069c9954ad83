//! Grouped-query attention (<https://arxiv.org/abs/2305.13245>) over the key/value cache.

use std::fs::File;

use candle_core::{Device, Result, Tensor};

use super::ModelError;
use super::config::{Architecture, Config};
use super::gguf::Gguf;
use super::kv::LayerCache;
use super::linear::Linear;
use super::rope::{Angles, Rope};

/// What all layers share of one run of tokens.
pub struct Pass<'a> {
    /// First position of the run.
    pub start: usize,
    /// How many tokens it has.
    pub n: usize,
    /// Angles of its positions.
    pub angles: Angles,
    /// Rotates by them.
    pub rope: &'a Rope,
    /// `[n, start + n]`: 0 where a position may look, −∞ where it may not; `None` for a single token.
    pub mask: Option<Tensor>,
}

impl<'a> Pass<'a> {
    /// A run of `n` tokens from position `start` on.
    pub fn new(rope: &'a Rope, start: usize, n: usize, device: &Device) -> Result<Self> {
        let mask = match n {
            1 => None,
            _ => {
                let cell = |i: usize, j: usize| if j <= start + i { 0f32 } else { f32::NEG_INFINITY };
                let cells: Vec<f32> = (0..n).flat_map(|i| (0..start + n).map(move |j| cell(i, j))).collect();
                Some(Tensor::from_vec(cells, (n, start + n), device)?)
            }
        };
        Ok(Self { start, n, angles: rope.angles(start, n, device)?, rope, mask })
    }
}

/// The attention part of a layer.
#[derive(Debug)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: Option<Tensor>,
    key_norm: Option<Tensor>,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    epsilon: f32,
}

impl Attention {
    /// Reads the part from `{prefix}.attn_*`.
    pub fn read(
        gguf: &Gguf,
        reader: &mut File,
        prefix: &str,
        config: &Config,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let &Config { heads, kv_heads, head_width, width, .. } = config;
        let mut linear =
            |part: &str, shape| Linear::read(gguf, reader, &format!("{prefix}.attn_{part}"), shape, device);
        let (query, key, value, output) = (
            linear("q", [heads * head_width, width])?,
            linear("k", [kv_heads * head_width, width])?,
            linear("v", [kv_heads * head_width, width])?,
            linear("output", [width, heads * head_width])?,
        );
        let mut norm = |part: &str| -> std::result::Result<Option<Tensor>, ModelError> {
            if config.architecture != Architecture::Qwen3 {
                return Ok(None);
            }
            let name = format!("{prefix}.attn_{part}_norm.weight");
            Ok(Some(gguf.tensor(reader, &name, &[head_width], device)?.dequantize(device)?))
        };
        let (query_norm, key_norm) = (norm("q")?, norm("k")?);
        let epsilon = config.norm_epsilon as f32;
        Ok(Self { query, key, value, output, query_norm, key_norm, width, heads, kv_heads, head_width, epsilon })
    }

    /// `[n, width]` to `[n, width]` for the tokens of several runs, one after the other; their keys and values go into the
    /// caches.
    pub fn forward<'c>(
        &self,
        x: &Tensor,
        caches: impl Iterator<Item = &'c mut LayerCache>,
        passes: &[Pass<'_>],
    ) -> Result<Tensor> {
        let [query, key, value] = Linear::forward_all([&self.query, &self.key, &self.value], x)?;
        let mut first = 0;
        let mut mixed = Vec::new();
        for (pass, cache) in passes.iter().zip(caches) {
            let part = |rows: &Tensor| rows.narrow(0, first, pass.n);
            mixed.push(self.mix(&part(&query)?, &part(&key)?, &part(&value)?, cache, pass)?);
            first += pass.n;
        }
        let mixed = match mixed.as_slice() {
            [only] => only.clone(),
            several => Tensor::cat(several, 0)?,
        };
        self.output.forward(&mixed)
    }

    /// What the tokens of one run see, `[n, heads · head width]`.
    fn mix(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        cache: &mut LayerCache,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let n = pass.n;
        let query = self.rotated(query, self.heads, self.query_norm.as_ref(), pass)?;
        let key = self.rotated(key, self.kv_heads, self.key_norm.as_ref(), pass)?;
        let value = value.reshape((n, self.kv_heads, self.head_width))?.transpose(0, 1)?.contiguous()?;
        let (keys, values) = cache.write(pass.start, &key, &value)?;

        // The query heads of a group share their keys and values: they are rows of one product instead of copies of those.
        let rows = self.heads / self.kv_heads * n;
        let query = query.reshape((self.kv_heads, rows, self.head_width))?;
        let mut scores = (query.matmul(&keys.t()?)? / (self.head_width as f64).sqrt())?;
        if let Some(mask) = &pass.mask {
            let reach = keys.dim(1)?;
            scores = scores.reshape((self.heads, n, reach))?.broadcast_add(mask)?;
            scores = scores.reshape((self.kv_heads, rows, reach))?;
        }
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&values)?;
        let mixed = mixed.reshape((self.heads, n, self.head_width))?.transpose(0, 1)?.contiguous()?;
        mixed.reshape((n, self.heads * self.head_width))
    }

    /// Multiplies once by each matrix; `rows` makes an input of a given width.
    pub fn warm_up(&self, rows: impl Fn(usize) -> Result<Tensor>) -> Result<()> {
        let [query, ..] = Linear::forward_all([&self.query, &self.key, &self.value], &rows(self.width)?)?;
        self.output.forward(&query).map(drop)
    }

    /// `[n, heads · head width]` to `[heads, n, head width]`, normalised where the network does so, and rotated.
    fn rotated(&self, x: &Tensor, heads: usize, norm: Option<&Tensor>, pass: &Pass) -> Result<Tensor> {
        let n = x.dim(0)?;
        let mut x = x.reshape((n, heads, self.head_width))?;
        if let Some(norm) = norm {
            x = candle_nn::ops::rms_norm(&x, norm, self.epsilon)?;
        }
        pass.rope.apply(&x.transpose(0, 1)?.unsqueeze(0)?, &pass.angles)?.squeeze(0)
    }
}
