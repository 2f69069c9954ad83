//! `Q6_K`: 256 columns in sixteen parts of 16, each with a scale of 8 bits.
//!
//! A weight is `d · scale · (quant − 32)`, quants from 0 to 63.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use half::f16;

use super::input::Block;
#[cfg(target_arch = "x86_64")]
use super::vector::{load, load_f32, store};
use super::{BLOCK, LANES};

/// Bytes of a block in the file: 128 of the quants' low halves, 64 of their upper 2 bits, 16 scales, `d` (f16).
const SIZE: usize = 210;

/// A block of eight rows.
#[derive(Debug)]
#[repr(C, align(32))]
pub(super) struct Group {
    /// Of each 8 columns the eight rows' low 4 bits: the first four columns in the low halves of the bytes.
    low: [[u8; 32]; 32],
    /// Of each 16 columns the upper 2 bits: the first four columns in the lowest bits of the bytes.
    high: [[u8; 32]; 16],
    /// By part, then by row.
    scales: [[i8; LANES]; 16],
    scale: [f32; LANES],
}

/// Puts eight rows' blocks side by side.
pub(super) fn pack(blocks: [&[u8; SIZE]; LANES]) -> Group {
    let quant = |byte: usize, column: usize| quant(blocks[byte / 4], column + byte % 4);
    Group {
        low: std::array::from_fn(|eight| {
            std::array::from_fn(|byte| quant(byte, eight * 8) & 15 | (quant(byte, eight * 8 + 4) & 15) << 4)
        }),
        high: std::array::from_fn(|part| {
            std::array::from_fn(|byte| {
                (0..4).fold(0, |bits, four| bits | quant(byte, part * 16 + four * 4) >> 4 << (four * 2))
            })
        }),
        scales: std::array::from_fn(|part| blocks.map(|block| block[192 + part] as i8)),
        scale: blocks.map(|block| f16::from_le_bytes([block[208], block[209]]).to_f32()),
    }
}

/// A quant of the file's block: each half of the columns in four parts of 32, which share bytes.
fn quant(block: &[u8; SIZE], column: usize) -> u8 {
    let (half, part, at) = (column / 128, column % 128 / 32, column % 32);
    let low = block[half * 64 + part % 2 * 32 + at] >> (part / 2 * 4) & 15;
    let high = block[128 + half * 32 + at] >> (part * 2) & 3;
    low | high << 4
}

impl super::Group for Group {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; LANES]; M] {
        let (fifteen, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
        let mut sums = [_mm256_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input: [&Block; M] = inputs.map(|blocks| &blocks[index]);
            let mut scaled = [_mm256_setzero_si256(); M];
            for part in 0..16 {
                let (first, second) = (load(&group.low[part * 2]), load(&group.low[part * 2 + 1]));
                let high = load(&group.high[part]);
                let with = |low: __m256i, high: __m256i| {
                    _mm256_or_si256(_mm256_and_si256(low, fifteen), _mm256_and_si256(high, upper))
                };
                let quants = [
                    with(first, _mm256_slli_epi16::<4>(high)),
                    with(_mm256_srli_epi16::<4>(first), _mm256_slli_epi16::<2>(high)),
                    with(second, high),
                    with(_mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(high)),
                ];
                let scales = _mm_set_epi64x(0, i64::from_le_bytes(group.scales[part].map(|scale| scale as u8)));
                let scales = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(scales, scales));
                for m in 0..M {
                    let four = |four: usize| {
                        let x = _mm256_set1_epi32(input[m].quants[part][four]);
                        _mm256_maddubs_epi16(quants[four], x)
                    };
                    // Two products of two quants each: at most 2 · 2 · 63 · 127, which just fits into 16 bits.
                    let (a, b) = (_mm256_add_epi16(four(0), four(1)), _mm256_add_epi16(four(2), four(3)));
                    let sum = _mm256_add_epi32(_mm256_madd_epi16(a, scales), _mm256_madd_epi16(b, scales));
                    scaled[m] = _mm256_add_epi32(scaled[m], sum);
                }
            }
            let mut offset = [_mm256_setzero_si256(); M];
            for pair in 0..8 {
                let scales =
                    |part: usize| _mm_set_epi64x(0, i64::from_le_bytes(group.scales[part].map(|scale| scale as u8)));
                let scales = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(scales(pair * 2), scales(pair * 2 + 1)));
                for m in 0..M {
                    let sum = _mm256_set1_epi32(input[m].sums16[pair]);
                    offset[m] = _mm256_add_epi32(offset[m], _mm256_madd_epi16(scales, sum));
                }
            }
            let scale = load_f32(&group.scale);
            for m in 0..M {
                let product = _mm256_sub_epi32(scaled[m], _mm256_slli_epi32::<5>(offset[m]));
                let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(product));
                sums[m] = _mm256_fmadd_ps(_mm256_set1_ps(input[m].scale), product, sums[m]);
            }
        }
        sums.map(|sum| store(sum))
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn product<const M: usize>(_: &[Self], _: [&[Block]; M]) -> [[f32; LANES]; M] {
        unreachable!("nothing is packed where there is no kernel")
    }

    fn unpack(&self, lane: usize) -> [f32; BLOCK] {
        std::array::from_fn(|column| {
            let (part, four) = (column / 16, column / 4 % 4);
            let byte = lane * 4 + column % 4;
            let low = self.low[part * 2 + four / 2][byte] >> (four % 2 * 4) & 15;
            let high = self.high[part][byte] >> (four * 2) & 3;
            let quant = i16::from(low | high << 4) - 32;
            self.scale[lane] * f32::from(self.scales[part][lane]) * f32::from(quant)
        })
    }
}
