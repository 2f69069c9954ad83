//! `Q4_K`: 256 columns in eight parts of 32, each with a scale and a minimum of 6 bits.
//!
//! A weight is `d · scale · quant − dmin · minimum`, quants from 0 to 15.

use std::arch::x86_64::*;

use half::f16;

use super::input::{Block, at};
use super::vector::{ask_ahead, bytes16, floats8, floats16, load8, load16, pairs16, stored8, stored16};
use super::{BLOCK, four};

/// Bytes of a block in the file: `d`, `dmin` (f16), 12 bytes of scales and minima, 128 of quants.
const SIZE: usize = 144;

/// A block of several rows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Group<const LANES: usize> {
    /// Of each 64 columns, four by four, the rows' quants: the first 32 in the low halves of the bytes.
    quants: [[[[u8; 4]; LANES]; 8]; 4],
    /// By part, then by row.
    scales: [[u8; LANES]; 8],
    minima: [[u8; LANES]; 8],
    scale: [f16; LANES],
    minimum: [f16; LANES],
}

/// Puts rows' blocks side by side.
pub(super) fn pack<const LANES: usize>(blocks: [&[u8; SIZE]; LANES]) -> Group<LANES> {
    let half = |at: usize| blocks.map(|block| f16::from_le_bytes([block[at], block[at + 1]]));
    Group {
        quants: std::array::from_fn(|pair| {
            std::array::from_fn(|at| blocks.map(|block| four(block, 16 + pair * 32 + at * 4)))
        }),
        scales: std::array::from_fn(|part| blocks.map(|block| scale_and_minimum(block, part).0)),
        minima: std::array::from_fn(|part| blocks.map(|block| scale_and_minimum(block, part).1)),
        scale: half(0),
        minimum: half(2),
    }
}

/// The first four of each have 6 bits of a byte of their own; the others 4 bits together in one, and their upper 2 bits on
/// top of the first ones'.
fn scale_and_minimum(block: &[u8; SIZE], part: usize) -> (u8, u8) {
    let byte = |at: usize| block[4 + at];
    match part {
        0..4 => (byte(part) & 63, byte(part + 4) & 63),
        _ => (byte(part + 4) & 15 | byte(part - 4) >> 6 << 4, byte(part + 4) >> 4 | byte(part) >> 6 << 4),
    }
}

impl<const LANES: usize> super::Unpack for Group<LANES> {
    fn unpack(&self, lane: usize) -> [f32; BLOCK] {
        std::array::from_fn(|column| {
            let (pair, half, four) = (column / 64, column / 32 % 2, column % 32 / 4);
            let part = pair * 2 + half;
            let quant = self.quants[pair][four][lane][column % 4] >> (half * 4) & 15;
            self.scale[lane].to_f32() * f32::from(self.scales[part][lane]) * f32::from(quant)
                - self.minimum[lane].to_f32() * f32::from(self.minima[part][lane])
        })
    }
}

impl super::Group<8> for Group<8> {
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 8]; M] {
        let low = _mm256_set1_epi8(15);
        let mut sums = [_mm256_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm256_setzero_si256(); M];
            for (pair, quants) in group.quants.iter().enumerate() {
                for half in 0..2 {
                    let part = pair * 2 + half;
                    // Eight products of two quants each: at most 8 · 2 · 15 · 127, which fits into 16 bits.
                    let mut products = [_mm256_setzero_si256(); M];
                    for (four, both) in quants.iter().enumerate() {
                        if half == 0 && four % 2 == 0 {
                            ask_ahead::<Self, _>(both);
                        }
                        let both = load8(both);
                        let shifted = if half == 0 { both } else { _mm256_srli_epi16::<4>(both) };
                        let quants = _mm256_and_si256(shifted, low);
                        for m in 0..M {
                            let x = _mm256_set1_epi32(input[m].quants[part * 2 + four / 4][four % 4]);
                            products[m] = _mm256_add_epi16(products[m], _mm256_maddubs_epi16(quants, x));
                        }
                    }
                    let scales = _mm_set_epi64x(0, i64::from_le_bytes(group.scales[part]));
                    let scales = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(scales, scales));
                    for m in 0..M {
                        scaled[m] = _mm256_add_epi32(scaled[m], _mm256_madd_epi16(products[m], scales));
                    }
                }
            }
            let mut lowered = [_mm256_setzero_si256(); M];
            for pair in 0..4 {
                let minima = |part: usize| _mm_set_epi64x(0, i64::from_le_bytes(group.minima[part]));
                let minima = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(minima(pair * 2), minima(pair * 2 + 1)));
                for m in 0..M {
                    let sum = _mm256_set1_epi32(input[m].sums32[pair]);
                    lowered[m] = _mm256_add_epi32(lowered[m], _mm256_madd_epi16(minima, sum));
                }
            }
            let (scale, minimum) = (floats8(&group.scale), floats8(&group.minimum));
            for m in 0..M {
                let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(scaled[m]));
                let product = _mm256_fnmadd_ps(minimum, _mm256_cvtepi32_ps(lowered[m]), product);
                sums[m] = _mm256_fmadd_ps(_mm256_set1_ps(input[m].scale), product, sums[m]);
            }
        }
        stored8(sums)
    }
}

impl super::Group<16> for Group<16> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 16]; M] {
        let low = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm512_setzero_si512(); M];
            for (pair, quants) in group.quants.iter().enumerate() {
                for half in 0..2 {
                    let part = pair * 2 + half;
                    let mut products = [_mm512_setzero_si512(); M];
                    for (four, both) in quants.iter().enumerate() {
                        if half == 0 {
                            ask_ahead::<Self, _>(both);
                        }
                        let both = load16(both);
                        let shifted = if half == 0 { both } else { _mm512_srli_epi16::<4>(both) };
                        let quants = _mm512_and_si512(shifted, low);
                        for m in 0..M {
                            let x = _mm512_set1_epi32(input[m].quants[part * 2 + four / 4][four % 4]);
                            products[m] = _mm512_dpbusd_epi32(products[m], quants, x);
                        }
                    }
                    let scales = _mm512_cvtepu8_epi32(bytes16(&group.scales[part]));
                    for m in 0..M {
                        scaled[m] = _mm512_add_epi32(scaled[m], _mm512_mullo_epi32(products[m], scales));
                    }
                }
            }
            let mut lowered = [_mm512_setzero_si512(); M];
            for pair in 0..4 {
                let minima = |part: usize| bytes16(&group.minima[part]);
                let minima = pairs16(minima(pair * 2), minima(pair * 2 + 1), false);
                for m in 0..M {
                    lowered[m] = _mm512_dpwssd_epi32(lowered[m], minima, _mm512_set1_epi32(input[m].sums32[pair]));
                }
            }
            let (scale, minimum) = (floats16(&group.scale), floats16(&group.minimum));
            for m in 0..M {
                let product = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(scaled[m]));
                let product = _mm512_fnmadd_ps(minimum, _mm512_cvtepi32_ps(lowered[m]), product);
                sums[m] = _mm512_fmadd_ps(_mm512_set1_ps(input[m].scale), product, sums[m]);
            }
        }
        stored16(sums)
    }
}
