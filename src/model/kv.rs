//! The key/value cache: what attention needs of the tokens that have been run.

use candle_core::{DType, Device, Result, Tensor};

use super::config::Config;

/// Room is taken in steps of this many tokens.
const STEP: usize = 512;

/// Keys and values of all layers for the first [`len`](Self::len) positions.
///
/// A forward pass writes behind them and moves the length only when it is through, so a pass that fails half-way
/// leaves the cache as it was. Cutting back is free; what stands behind the length is written over.
#[derive(Debug)]
pub struct KvCache<L> {
    layers: Vec<L>,
    len: usize,
}

impl<L> KvCache<L> {
    /// An empty cache of so many layers. They take room as they grow.
    pub fn new(layers: usize, layer: impl Fn() -> L) -> Self {
        Self { layers: (0..layers).map(|_| layer()).collect(), len: 0 }
    }

    /// A cache that goes on from here by itself; `layer` makes one of a layer's.
    ///
    /// # Errors
    /// When `layer` fails.
    pub fn fork(&self, layer: impl Fn(&L) -> Result<L>) -> Result<Self> {
        Ok(Self { layers: self.layers.iter().map(layer).collect::<Result<_>>()?, len: self.len })
    }

    /// A cache of so many positions.
    pub fn of(layers: Vec<L>, len: usize) -> Self {
        Self { layers, len }
    }

    /// The layers, in order.
    pub fn layers(&self) -> &[L] {
        &self.layers
    }

    /// Positions in the cache.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Forgets all positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A pass over `n` more tokens has written all layers.
    pub fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The layers, in order.
    pub fn layers_mut(&mut self) -> &mut [L] {
        &mut self.layers
    }
}

/// Keys and values of one layer on candle's devices, each `[kv heads, room, head width]`.
#[derive(Debug)]
pub struct LayerCache {
    shape: (usize, usize),
    context: usize,
    store: Option<(Tensor, Tensor)>,
    device: Device,
}

impl LayerCache {
    /// Nothing yet.
    pub fn new(config: &Config, device: &Device) -> Self {
        let shape = (config.kv_heads, config.head_width);
        Self { shape, context: config.context, store: None, device: device.clone() }
    }

    /// The same keys and values once more: clones of a tensor share what is written into it.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn fork(&self) -> Result<Self> {
        let copy = |(keys, values): &(Tensor, Tensor)| Ok::<_, candle_core::Error>((keys.copy()?, values.copy()?));
        let store = self.store.as_ref().map(copy).transpose()?;
        Ok(Self { shape: self.shape, context: self.context, store, device: self.device.clone() })
    }

    /// Writes keys and values (`[kv heads, n, head width]`, contiguous) at positions `at..at + n` and gives those of all
    /// positions up to `at + n`, as views.
    pub fn write(&mut self, at: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let end = at + keys.dim(1)?;
        let (all_keys, all_values) = self.reserve(at, end)?;
        all_keys.slice_set(keys, 1, at)?;
        all_values.slice_set(values, 1, at)?;
        Ok((all_keys.narrow(1, 0, end)?, all_values.narrow(1, 0, end)?))
    }

    /// Room for `end` positions; the first `keep` are carried over when it has to grow.
    fn reserve(&mut self, keep: usize, end: usize) -> Result<(Tensor, Tensor)> {
        if let Some((keys, values)) = &self.store
            && keys.dim(1)? >= end
        {
            return Ok((keys.clone(), values.clone()));
        }
        let (heads, width) = self.shape;
        let room = end.next_multiple_of(STEP).min(self.context.max(end));
        let grown = |old: Option<&Tensor>| -> Result<Tensor> {
            let new = Tensor::zeros((heads, room, width), DType::F32, &self.device)?;
            if let Some(old) = old.filter(|_| keep > 0) {
                new.slice_set(&old.narrow(1, 0, keep)?.contiguous()?, 1, 0)?;
            }
            Ok(new)
        };
        let keys = grown(self.store.as_ref().map(|s| &s.0))?;
        let values = grown(self.store.as_ref().map(|s| &s.1))?;
        self.store = Some((keys.clone(), values.clone()));
        Ok((keys, values))
    }
}

/// A run of tokens behind those in a cache. Several of them make one pass, which reads the weights once for all.
#[derive(Debug)]
pub struct Run<'a, C> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// What they stand behind.
    pub cache: &'a mut C,
}
