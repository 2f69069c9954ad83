//! Inputs in 8 bits: blocks of 256 with one scale each, and the sums by which the weights' offsets are told.

use rayon::prelude::*;

use super::BLOCK;
use crate::model::lanes::{self, Kernel, LANES};

/// Values from which on they are brought to 8 bits by all threads.
const MANY: usize = 64 << 10;

/// A block of 256 columns of one input.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// What the quants are multiplied by; not a number where a value is none.
    pub(super) scale: f32,
    /// Values from -127 to 127, four in each, the first in the lowest byte; sixteen values together.
    pub(super) quants: [[i32; 4]; BLOCK / 16],
    /// Sums of 16 and of 32 values, two in each, the first in the lower half.
    pub(super) sums16: [i32; BLOCK / 32],
    pub(super) sums32: [i32; BLOCK / 64],
}

/// The blocks of several inputs at one place.
#[inline(always)]
pub(super) fn at<'a, const M: usize>(inputs: &[&'a [Block]; M], index: usize) -> [&'a Block; M] {
    let mut blocks = [&inputs[0][index]; M];
    for m in 1..M {
        blocks[m] = &inputs[m][index];
    }
    blocks
}

/// Some inputs, each a row of blocks. It keeps its room from one filling to the next.
#[derive(Debug, Default)]
pub struct Input {
    blocks: Vec<Block>,
    per_row: usize,
}

impl Input {
    /// Brings rows of `columns` values to 8 bits. `columns` is a multiple of 256, the values are whole rows.
    pub fn fill(&mut self, values: &[f32], columns: usize) {
        let (blocks, _) = values.as_chunks::<BLOCK>();
        self.per_row = columns / BLOCK;
        if values.len() >= MANY {
            blocks.par_iter().map(|values| lanes::run(Quantise(values))).collect_into_vec(&mut self.blocks);
        } else {
            self.blocks.clear();
            self.blocks.extend(blocks.iter().map(|values| lanes::run(Quantise(values))));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// The width of a row.
    pub(super) fn columns(&self) -> usize {
        self.per_row * BLOCK
    }

    /// The rows.
    pub(super) fn rows(&self) -> std::slice::Chunks<'_, Block> {
        self.blocks.chunks(self.per_row.max(1))
    }
}

struct Quantise<'a>(&'a [f32; BLOCK]);

impl Kernel for Quantise<'_> {
    type Output = Block;

    #[inline(always)]
    fn run(self) -> Block {
        let (values, _) = self.0.as_chunks::<LANES>();
        // A comparison passes over what is no number; nothing times such a value, or one that has no end, is none.
        let (mut largest, mut nothing) = ([0f32; LANES], [0f32; LANES]);
        for values in values {
            for lane in 0..LANES {
                nothing[lane] += values[lane] * 0.0;
                let size = values[lane].abs();
                largest[lane] = if size > largest[lane] { size } else { largest[lane] };
            }
        }
        let largest = lanes::largest(&largest);
        let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let mut quants = [0i8; BLOCK];
        for (quant, value) in quants.iter_mut().zip(self.0) {
            // Added to this, a number is rounded to a whole one, which stands in the lowest bits.
            *quant = (value * factor + 12_582_912.0).to_bits() as i8;
        }
        let (sixteens, _) = quants.as_chunks::<16>();
        let mut sums = [0i16; BLOCK / 16];
        for (sum, part) in sums.iter_mut().zip(sixteens) {
            for quant in part {
                *sum += i16::from(*quant);
            }
        }
        let (fours, _) = quants.as_chunks::<4>();
        let mut packed = [[0i32; 4]; BLOCK / 16];
        for (packed, fours) in packed.as_flattened_mut().iter_mut().zip(fours) {
            let [a, b, c, d] = *fours;
            *packed = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
        }
        let (mut sums16, mut sums32) = ([0i32; BLOCK / 32], [0i32; BLOCK / 64]);
        let (twos, _) = sums.as_chunks::<2>();
        for (pair, [first, second]) in sums16.iter_mut().zip(twos) {
            *pair = pair_of(*first, *second);
        }
        let (fours, _) = sums.as_chunks::<4>();
        for (pair, [a, b, c, d]) in sums32.iter_mut().zip(fours) {
            *pair = pair_of(a + b, c + d);
        }
        Block { scale: largest / 127.0 + lanes::sum(&nothing), quants: packed, sums16, sums32 }
    }
}

/// Two numbers of 16 bits, the first in the lower half.
#[inline(always)]
fn pair_of(first: i16, second: i16) -> i32 {
    i32::from(second) << 16 | i32::from(first) & 0xffff
}
