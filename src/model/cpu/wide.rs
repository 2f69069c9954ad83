//! The two products of attention in vectors of 512 bits.
//!
//! In: some queries of a group, and the cache of their head. Out: the scores, and the mixed values, as the plain loops of
//! [`super::attention`] have them, to the bit. Two vectors of keys or values are taken at a time: with six queries these are
//! twelve sums, enough that none waits for its own last multiplication, and one load does for several of them. Left to itself
//! the compiler keeps no more than six sums in registers.

use std::arch::x86_64::*;

use super::cache::Head;
use crate::model::lanes::LANES;

/// Whether this CPU has the instructions.
pub fn is_able() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// The products of the queries with the keys of the first positions, sixteen by sixteen, as many as `out` has room for. The
/// queries come element by element.
///
/// # Panics
/// Where the CPU is not [able](is_able).
pub fn scores<const R: usize>(queries: &[[f32; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    assert!(is_able());
    // SAFETY: the CPU has the instructions.
    unsafe { scores_wide(queries, head, out) }
}

/// The values, summed by the weights, sixteen elements by sixteen, as many as `out` has room for.
///
/// # Panics
/// Where the CPU is not [able](is_able).
pub fn mix<const R: usize>(weights: &[[[f32; LANES]; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    assert!(is_able());
    // SAFETY: the CPU has the instructions.
    unsafe { mix_wide(weights, head, out) }
}

#[target_feature(enable = "avx512f")]
fn scores_wide<const R: usize>(queries: &[[f32; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    let (pairs, last) = out.as_chunks_mut::<2>();
    let done = 2 * pairs.len();
    for (pair, scores) in pairs.iter_mut().enumerate() {
        *scores = of_tiles(queries, [head.keys(2 * pair), head.keys(2 * pair + 1)]);
    }
    for scores in last {
        [*scores] = of_tiles(queries, [head.keys(done)]);
    }
}

#[target_feature(enable = "avx512f")]
fn of_tiles<const R: usize, const T: usize>(
    queries: &[[f32; R]],
    tiles: [&[[f32; LANES]]; T],
) -> [[[f32; LANES]; R]; T] {
    let mut sums = [[_mm512_setzero_ps(); R]; T];
    for (element, query) in queries.iter().enumerate() {
        let mut keys = [_mm512_setzero_ps(); T];
        for tile in 0..T {
            keys[tile] = load(&tiles[tile][element]);
        }
        for row in 0..R {
            let query = _mm512_set1_ps(query[row]);
            for tile in 0..T {
                sums[tile][row] = _mm512_fmadd_ps(query, keys[tile], sums[tile][row]);
            }
        }
    }
    stored(sums)
}

#[target_feature(enable = "avx512f")]
fn mix_wide<const R: usize>(weights: &[[[f32; LANES]; R]], head: &Head, out: &mut [[[f32; LANES]; R]]) {
    let parts = out.len();
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (pair, mixed) in pairs.iter_mut().enumerate() {
        *mixed = of_parts::<R, 2>(weights, head, 2 * pair, parts);
    }
    for mixed in last {
        [*mixed] = of_parts::<R, 1>(weights, head, parts - 1, parts);
    }
}

/// `P` parts from one on, of so many that a value has.
#[target_feature(enable = "avx512f")]
fn of_parts<const R: usize, const P: usize>(
    weights: &[[[f32; LANES]; R]],
    head: &Head,
    from: usize,
    parts: usize,
) -> [[[f32; LANES]; R]; P] {
    let mut sums = [[_mm512_setzero_ps(); R]; P];
    for (tile, weights) in weights.iter().enumerate() {
        let values = head.values(tile).as_chunks::<LANES>().0;
        for (position, value) in values.chunks_exact(parts).enumerate().take(LANES) {
            let value = &value[from..from + P];
            let mut lanes = [_mm512_setzero_ps(); P];
            for part in 0..P {
                lanes[part] = load(&value[part]);
            }
            for row in 0..R {
                let weight = _mm512_set1_ps(weights[row][position]);
                for part in 0..P {
                    sums[part][row] = _mm512_fmadd_ps(weight, lanes[part], sums[part][row]);
                }
            }
        }
    }
    stored(sums)
}

#[target_feature(enable = "avx512f")]
fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array holds the 64 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
fn stored<const R: usize, const N: usize>(sums: [[__m512; R]; N]) -> [[[f32; LANES]; R]; N] {
    let mut out = [[[0f32; LANES]; R]; N];
    for n in 0..N {
        for row in 0..R {
            // SAFETY: the array has room for the 64 bytes that are written.
            unsafe { _mm512_storeu_ps(out[n][row].as_mut_ptr(), sums[n][row]) };
        }
    }
    out
}
