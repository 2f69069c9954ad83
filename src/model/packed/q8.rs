//! `Q8_0`: columns in parts of 32, each with a scale; eight parts are taken together.
//!
//! A weight is `d · quant`, quants from -127 to 127.

use std::arch::x86_64::*;

use half::f16;

use super::input::{Block, at};
use super::vector::{ask_ahead, floats8, floats16, load8, load16, stored8, stored16};
use super::{BLOCK, four};

/// Parts that are taken together.
const PARTS: usize = BLOCK / 32;
/// Bytes of eight blocks in the file: of each `d` (f16) and 32 quants.
const SIZE: usize = PARTS * 34;

/// 256 columns of several rows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Group<const LANES: usize> {
    /// Four by four, the rows' quants.
    quants: [[[u8; 4]; LANES]; BLOCK / 4],
    /// By part, then by row.
    scales: [[f16; LANES]; PARTS],
}

/// Puts rows' blocks side by side.
pub(super) fn pack<const LANES: usize>(blocks: [&[u8; SIZE]; LANES]) -> Group<LANES> {
    Group {
        quants: std::array::from_fn(|at| blocks.map(|block| four(block, at / 8 * 34 + 2 + at % 8 * 4))),
        scales: std::array::from_fn(|part| {
            blocks.map(|block| f16::from_le_bytes([block[part * 34], block[part * 34 + 1]]))
        }),
    }
}

impl<const LANES: usize> super::Unpack for Group<LANES> {
    fn unpack(&self, lane: usize) -> [f32; BLOCK] {
        std::array::from_fn(|column| {
            let quant = self.quants[column / 4][lane][column % 4] as i8;
            self.scales[column / 32][lane].to_f32() * f32::from(quant)
        })
    }
}

impl super::Group<8> for Group<8> {
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 8]; M] {
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm256_setzero_ps(); M];
            for (part, scales) in group.scales.iter().enumerate() {
                let mut products = [_mm256_setzero_si256(); M];
                for four in 0..8 {
                    if four % 2 == 0 {
                        ask_ahead::<Self, _>(&group.quants[part * 8 + four]);
                    }
                    let quants = load8(&group.quants[part * 8 + four]);
                    let sizes = _mm256_abs_epi8(quants);
                    for m in 0..M {
                        // The sign goes to the inputs, as one side has to be without: at most 2 · 127 · 127.
                        let x = _mm256_set1_epi32(input[m].quants[part * 2 + four / 4][four % 4]);
                        let pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(x, quants));
                        products[m] = _mm256_add_epi32(products[m], _mm256_madd_epi16(pairs, ones));
                    }
                }
                let scales = floats8(scales);
                for m in 0..M {
                    scaled[m] = _mm256_fmadd_ps(scales, _mm256_cvtepi32_ps(products[m]), scaled[m]);
                }
            }
            for m in 0..M {
                sums[m] = _mm256_fmadd_ps(_mm256_set1_ps(input[m].scale), scaled[m], sums[m]);
            }
        }
        stored8(sums)
    }
}

impl super::Group<16> for Group<16> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 16]; M] {
        let upper = _mm512_set1_epi8(-128);
        let mut sums = [_mm512_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm512_setzero_ps(); M];
            for (part, scales) in group.scales.iter().enumerate() {
                // Quants are raised by 128, as they have to be without a sign.
                let mut products = [_mm512_setzero_si512(); M];
                for m in 0..M {
                    let pair = input[m].sums32[part / 2];
                    let sum = if part % 2 == 0 { i32::from(pair as i16) } else { pair >> 16 };
                    products[m] = _mm512_set1_epi32(-128 * sum);
                }
                for four in 0..8 {
                    let quants = _mm512_xor_si512(load16(&group.quants[part * 8 + four]), upper);
                    for m in 0..M {
                        let x = _mm512_set1_epi32(input[m].quants[part * 2 + four / 4][four % 4]);
                        products[m] = _mm512_dpbusd_epi32(products[m], quants, x);
                    }
                }
                let scales = floats16(scales);
                for m in 0..M {
                    scaled[m] = _mm512_fmadd_ps(scales, _mm512_cvtepi32_ps(products[m]), scaled[m]);
                }
            }
            for m in 0..M {
                sums[m] = _mm512_fmadd_ps(_mm512_set1_ps(input[m].scale), scaled[m], sums[m]);
            }
        }
        stored16(sums)
    }
}
