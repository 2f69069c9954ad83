//! Keys and values of one layer on the CPU, laid out for attention.

use crate::model::config::Config;
use crate::model::lanes::LANES;

/// Keys and values of one layer.
#[derive(Debug)]
pub struct LayerCache {
    /// By key/value head.
    pub heads: Vec<Head>,
}

impl LayerCache {
    /// Nothing yet.
    pub fn new(config: &Config) -> Self {
        let head = || Head { keys: Vec::new(), values: Vec::new(), width: config.head_width };
        Self { heads: (0..config.kv_heads).map(|_| head()).collect() }
    }
}

/// Keys and values of one head.
#[derive(Debug)]
pub struct Head {
    /// Of sixteen positions after sixteen, element by element, the positions' keys.
    keys: Vec<[f32; LANES]>,
    /// Position by position.
    values: Vec<f32>,
    width: usize,
}

impl Head {
    /// Writes the key and the value of a position.
    pub fn write(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let (tile, lane, width) = (position / LANES, position % LANES, self.width);
        if self.keys.len() < (tile + 1) * width {
            self.keys.resize((tile + 1) * width, [0.0; LANES]);
            self.values.resize((tile + 1) * LANES * width, 0.0);
        }
        for (tile, element) in self.keys[tile * width..(tile + 1) * width].iter_mut().zip(key) {
            tile[lane] = *element;
        }
        self.values[position * width..(position + 1) * width].copy_from_slice(value);
    }

    /// Keys of sixteen positions.
    #[inline(always)]
    pub fn keys(&self, tile: usize) -> &[[f32; LANES]] {
        &self.keys[tile * self.width..(tile + 1) * self.width]
    }

    /// Values of sixteen positions.
    #[inline(always)]
    pub fn values(&self, tile: usize) -> &[f32] {
        &self.values[tile * LANES * self.width..(tile + 1) * LANES * self.width]
    }
}
