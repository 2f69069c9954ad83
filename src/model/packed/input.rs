//! Inputs in 8 bits: blocks of 256 with one scale each, and the sums by which the weights' offsets are told.

use rayon::prelude::*;

use super::BLOCK;

/// Inputs from which on they are brought to 8 bits by all threads.
const MANY: usize = 8;

/// A block of 256 columns of one input.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// What the quants are multiplied by.
    pub(super) scale: f32,
    /// Values from -127 to 127, four in each, the first in the lowest byte; sixteen values together.
    pub(super) quants: [[i32; 4]; BLOCK / 16],
    /// Sums of 16 and of 32 values, two in each, the first in the lower half.
    pub(super) sums16: [i32; BLOCK / 32],
    pub(super) sums32: [i32; BLOCK / 64],
}

/// Some inputs, each a row of blocks.
#[derive(Debug)]
pub struct Input {
    blocks: Vec<Block>,
    per_row: usize,
}

impl Input {
    /// Brings rows of `columns` values to 8 bits. `columns` is a multiple of 256, the values are whole rows.
    pub fn new(values: &[f32], columns: usize) -> Self {
        let (blocks, _) = values.as_chunks::<BLOCK>();
        let many = values.len() >= MANY * columns;
        let blocks =
            if many { blocks.par_iter().map(block).collect() } else { blocks.iter().map(block).collect::<Vec<_>>() };
        Self { blocks, per_row: columns / BLOCK }
    }

    /// The width of a row.
    pub(super) fn columns(&self) -> usize {
        self.per_row * BLOCK
    }

    /// The rows.
    pub(super) fn rows(&self) -> std::slice::Chunks<'_, Block> {
        self.blocks.chunks(self.per_row)
    }
}

fn block(values: &[f32; BLOCK]) -> Block {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let quants = values.map(|value| (value * factor).round() as i8);
    let sum = |part: &[i8]| part.iter().map(|&quant| i16::from(quant)).sum::<i16>();
    let pair = |parts: &[i8]| {
        let (first, second) = parts.split_at(parts.len() / 2);
        i32::from(sum(second)) << 16 | i32::from(sum(first)) & 0xffff
    };
    let four = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| quants[at + i] as u8));
    Block {
        scale,
        quants: std::array::from_fn(|part| std::array::from_fn(|i| four(part * 16 + i * 4))),
        sums16: std::array::from_fn(|i| pair(&quants[i * 32..][..32])),
        sums32: std::array::from_fn(|i| pair(&quants[i * 64..][..64])),
    }
}
