//! Arrays to vectors and back: of eight rows in 256 bits, of sixteen in 512.

use std::arch::x86_64::*;

use half::f16;

#[target_feature(enable = "avx2")]
pub(super) fn load8(bytes: &[[u8; 4]; 8]) -> __m256i {
    // SAFETY: the array holds the 32 bytes that are read; the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
pub(super) fn load16(bytes: &[[u8; 4]; 16]) -> __m512i {
    // SAFETY: as above, of 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Asks for what the next group has where this one has `piece`. What the CPU guesses by itself to be read next ends with each
/// page of 4 KiB, which is less than two groups (Intel, "64 and IA-32 Architectures Optimization Reference Manual", "Data
/// Prefetching"). Piece by piece, as a core has room for a dozen lines on their way.
#[inline(always)]
pub(super) fn ask_ahead<G, T>(piece: &T) {
    let next = std::ptr::from_ref(piece).cast::<i8>().wrapping_add(size_of::<G>());
    // SAFETY: it is a hint; nothing is read, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(next) };
}

/// Sixteen bytes.
#[target_feature(enable = "avx2")]
pub(super) fn bytes16<T>(bytes: &[T; 16]) -> __m128i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: as above, of 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn floats8(values: &[f16; 8]) -> __m256 {
    // SAFETY: as above, of 16 bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f")]
pub(super) fn floats16(values: &[f16; 16]) -> __m512 {
    // SAFETY: as above, of 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
pub(super) fn store8(values: __m256) -> [f32; 8] {
    let mut out = [0f32; 8];
    // SAFETY: the array has room for the 32 bytes that are written.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) };
    out
}

#[target_feature(enable = "avx512f")]
pub(super) fn store16(values: __m512) -> [f32; 16] {
    let mut out = [0f32; 16];
    // SAFETY: as above, of 64 bytes.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) };
    out
}

/// Several of them. Not by `array::map`, which is compiled for any CPU and takes no such function in.
#[target_feature(enable = "avx2")]
pub(super) fn stored8<const M: usize>(values: [__m256; M]) -> [[f32; 8]; M] {
    let mut out = [[0f32; 8]; M];
    for m in 0..M {
        out[m] = store8(values[m]);
    }
    out
}

#[target_feature(enable = "avx512f")]
pub(super) fn stored16<const M: usize>(values: [__m512; M]) -> [[f32; 16]; M] {
    let mut out = [[0f32; 16]; M];
    for m in 0..M {
        out[m] = store16(values[m]);
    }
    out
}

/// Two rows of bytes as pairs of 16 bits, the first row's in the lower halves.
#[target_feature(enable = "avx512bw")]
pub(super) fn pairs16(first: __m128i, second: __m128i, is_signed: bool) -> __m512i {
    let pairs = _mm256_set_m128i(_mm_unpackhi_epi8(first, second), _mm_unpacklo_epi8(first, second));
    if is_signed { _mm512_cvtepi8_epi16(pairs) } else { _mm512_cvtepu8_epi16(pairs) }
}
