//! Plain loops over arrays, compiled for the widest vectors that the CPU has.
//!
//! A [`Kernel`] is written once, in loops over arrays of fixed size that the compiler turns into vector instructions. It is
//! compiled once for each set of instructions, and [`run`] takes the right one.

/// Floats that one vector of 512 bits, or two of 256, hold together.
pub const LANES: usize = 16;

/// Something to be computed. `run` and all that it calls must be `#[inline(always)]`, and no closure may hold its loops: what is
/// not taken in is compiled for any CPU.
pub trait Kernel {
    /// What comes out.
    type Output;

    /// Computes it.
    fn run(self) -> Self::Output;
}

/// Whether this CPU has all instructions that [`wide`] is compiled for.
#[cfg(target_arch = "x86_64")]
fn has_wide() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && has_narrow()
}

/// Whether this CPU has all instructions that [`narrow`] is compiled for.
#[cfg(target_arch = "x86_64")]
fn has_narrow() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// The instructions that [`run`] takes on this CPU, in a word.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if has_wide() {
            return "avx512";
        }
        if has_narrow() {
            return "avx2";
        }
    }
    "any"
}

/// Runs a kernel with the instructions that this CPU has.
#[cfg(target_arch = "x86_64")]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    if has_wide() {
        // SAFETY: the CPU has these instructions.
        unsafe { wide(kernel) }
    } else if has_narrow() {
        // SAFETY: as above.
        unsafe { narrow(kernel) }
    } else {
        kernel.run()
    }
}

/// Runs a kernel as it is compiled for any CPU of this kind.
#[cfg(not(target_arch = "x86_64"))]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
fn wide<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn narrow<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// `e^x`, for `x` from -87 to 88; smaller ones are taken for -87, larger ones for 88. The relative error is below 2^-21:
/// a power of two, and a polynomial of what is left of the exponent (J.-M. Muller, "Elementary Functions", chapter on range
/// reduction; coefficients of the Taylor series).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Added and taken away again, it rounds to a whole number, which stands in its lowest bits meanwhile.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that what is taken away first is exact.
    let rest = whole.mul_add(-0.693_359_4, x);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let mut sum = 1f32 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum.mul_add(rest, factor);
    }
    let power = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    sum * power
}

/// The sum of products of two arrays, in lanes.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    let mut sum = sum(&sums);
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = a.mul_add(*b, sum);
    }
    sum
}

/// The sum of lanes, in halves.
#[inline(always)]
pub fn sum(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// The largest of the lanes, in halves.
#[inline(always)]
pub fn largest(lanes: &[f32; LANES]) -> f32 {
    let mut most = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            most[lane] = if most[lane + half] > most[lane] { most[lane + half] } else { most[lane] };
        }
        half /= 2;
    }
    most[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp<'a>(&'a [f32]);

    impl Kernel for Exp<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run(self) -> Vec<f32> {
            self.0.iter().map(|x| exp(*x)).collect()
        }
    }

    #[test]
    fn powers_are_those_of_the_standard_library() {
        let inputs: Vec<f32> =
            (-870..=880).map(|tenth| tenth as f32 / 10.0 + 0.013).filter(|x| x.abs() < 87.0).collect();
        for (x, power) in inputs.iter().zip(run(Exp(&inputs))) {
            let exact = f64::from(*x).exp();
            assert!((f64::from(power) / exact - 1.0).abs() < 5e-7, "{x}: {power} {exact}");
        }
        assert_eq!(run(Exp(&[0.0])), [1.0]);
        assert!(run(Exp(&[f32::NEG_INFINITY]))[0] < 1e-37);
    }

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn run(self) -> f32 {
            dot(self.0, self.1)
        }
    }

    #[test]
    fn products_are_summed_to_the_last() {
        for n in [0, 1, 16, 37] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let exact: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(run(Dot(&a, &a)), exact);
        }
    }
}
