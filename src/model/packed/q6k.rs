//! `Q6_K`: 256 columns in sixteen parts of 16, each with a scale of 8 bits.
//!
//! A weight is `d · scale · (quant − 32)`, quants from 0 to 63.

use std::arch::x86_64::*;

use half::f16;

use super::input::{Block, at};
use super::vector::{ask_ahead, bytes16, floats8, floats16, load8, load16, pairs16, stored8, stored16};
use super::{BLOCK, four};

/// Bytes of a block in the file: 128 of the quants' low halves, 64 of their upper 2 bits, 16 scales, `d` (f16).
const SIZE: usize = 210;

/// A block of several rows.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Group<const LANES: usize> {
    /// Of each 8 columns the rows' low 4 bits: the first four columns in the low halves of the bytes.
    low: [[[u8; 4]; LANES]; 32],
    /// Of each 16 columns the upper 2 bits: the first four columns in the lowest bits of the bytes.
    high: [[[u8; 4]; LANES]; 16],
    /// By part, then by row.
    scales: [[i8; LANES]; 16],
    scale: [f16; LANES],
}

/// Puts rows' blocks side by side.
pub(super) fn pack<const LANES: usize>(blocks: [&[u8; SIZE]; LANES]) -> Group<LANES> {
    Group {
        low: std::array::from_fn(|eight| {
            blocks.map(|block| (low(block, eight * 8) | low(block, eight * 8 + 4) << 4).to_le_bytes())
        }),
        high: std::array::from_fn(|part| {
            let upper = |block, four: usize| high(block, part * 16 + four * 4) << (four * 2);
            blocks.map(|block| (0..4).fold(0, |bits, four| bits | upper(block, four)).to_le_bytes())
        }),
        scales: std::array::from_fn(|part| blocks.map(|block| block[192 + part] as i8)),
        scale: blocks.map(|block| f16::from_le_bytes([block[208], block[209]])),
    }
}

/// The low 4 bits of four columns' quants, each in a byte. Each half of the file's block has four parts of 32 columns: the first
/// and the third share their bytes, and so do the second and the fourth.
fn low(block: &[u8; SIZE], column: usize) -> u32 {
    let (half, part, at) = (column / 128, column % 128 / 32, column % 32);
    let bytes = u32::from_le_bytes(four(block, half * 64 + part % 2 * 32 + at));
    bytes >> (part / 2 * 4) & 0x0f0f_0f0f
}

/// The upper 2 bits, of which all four parts share their bytes.
fn high(block: &[u8; SIZE], column: usize) -> u32 {
    let (half, part, at) = (column / 128, column % 128 / 32, column % 32);
    u32::from_le_bytes(four(block, 128 + half * 32 + at)) >> (part * 2) & 0x0303_0303
}

impl<const LANES: usize> super::Unpack for Group<LANES> {
    fn unpack(&self, lane: usize) -> [f32; BLOCK] {
        std::array::from_fn(|column| {
            let (part, four, byte) = (column / 16, column / 4 % 4, column % 4);
            let low = self.low[part * 2 + four / 2][lane][byte] >> (four % 2 * 4) & 15;
            let high = self.high[part][lane][byte] >> (four * 2) & 3;
            let quant = i16::from(low | high << 4) - 32;
            self.scale[lane].to_f32() * f32::from(self.scales[part][lane]) * f32::from(quant)
        })
    }
}

impl super::Group<8> for Group<8> {
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 8]; M] {
        let (fifteen, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
        let mut sums = [_mm256_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm256_setzero_si256(); M];
            for part in 0..16 {
                ask_ahead::<Self, _>(&group.low[part * 2]);
                if part % 2 == 0 {
                    ask_ahead::<Self, _>(&group.high[part]);
                }
                let (first, second) = (load8(&group.low[part * 2]), load8(&group.low[part * 2 + 1]));
                let high = load8(&group.high[part]);
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
            let scale = floats8(&group.scale);
            for m in 0..M {
                let product = _mm256_sub_epi32(scaled[m], _mm256_slli_epi32::<5>(offset[m]));
                let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(product));
                sums[m] = _mm256_fmadd_ps(_mm256_set1_ps(input[m].scale), product, sums[m]);
            }
        }
        stored8(sums)
    }
}

impl super::Group<16> for Group<16> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn product<const M: usize>(groups: &[Self], inputs: [&[Block]; M]) -> [[f32; 16]; M] {
        let (fifteen, upper) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
        let mut sums = [_mm512_setzero_ps(); M];
        for (index, group) in groups.iter().enumerate() {
            let input = at(&inputs, index);
            let mut scaled = [_mm512_setzero_si512(); M];
            for part in 0..16 {
                let [first, second] = [&group.low[part * 2], &group.low[part * 2 + 1]];
                [first, second, &group.high[part]].into_iter().for_each(ask_ahead::<Self, _>);
                let (first, second) = (load16(first), load16(second));
                let high = load16(&group.high[part]);
                let with = |low: __m512i, high: __m512i| {
                    _mm512_or_si512(_mm512_and_si512(low, fifteen), _mm512_and_si512(high, upper))
                };
                let quants = [
                    with(first, _mm512_slli_epi16::<4>(high)),
                    with(_mm512_srli_epi16::<4>(first), _mm512_slli_epi16::<2>(high)),
                    with(second, high),
                    with(_mm512_srli_epi16::<4>(second), _mm512_srli_epi16::<2>(high)),
                ];
                let scales = _mm512_cvtepi8_epi32(bytes16(&group.scales[part]));
                for m in 0..M {
                    let mut product = _mm512_setzero_si512();
                    for (quants, x) in quants.iter().zip(&input[m].quants[part]) {
                        product = _mm512_dpbusd_epi32(product, *quants, _mm512_set1_epi32(*x));
                    }
                    scaled[m] = _mm512_add_epi32(scaled[m], _mm512_mullo_epi32(product, scales));
                }
            }
            let mut offset = [_mm512_setzero_si512(); M];
            for pair in 0..8 {
                let scales = |part: usize| bytes16(&group.scales[part]);
                let scales = pairs16(scales(pair * 2), scales(pair * 2 + 1), true);
                for m in 0..M {
                    offset[m] = _mm512_dpwssd_epi32(offset[m], scales, _mm512_set1_epi32(input[m].sums16[pair]));
                }
            }
            let scale = floats16(&group.scale);
            for m in 0..M {
                let product = _mm512_sub_epi32(scaled[m], _mm512_slli_epi32::<5>(offset[m]));
                let product = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(product));
                sums[m] = _mm512_fmadd_ps(_mm512_set1_ps(input[m].scale), product, sums[m]);
            }
        }
        stored16(sums)
    }
}
