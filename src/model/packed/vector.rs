//! Arrays to vectors and back.

use std::arch::x86_64::*;

use super::LANES;

#[target_feature(enable = "avx2")]
pub(super) fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array holds the 32 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
pub(super) fn load_f32(values: &[f32; LANES]) -> __m256 {
    // SAFETY: as above.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx2")]
pub(super) fn store(values: __m256) -> [f32; LANES] {
    let mut out = [0f32; LANES];
    // SAFETY: the array has room for the 32 bytes that are written.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) };
    out
}
