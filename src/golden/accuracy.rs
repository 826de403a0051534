//! How near a reduction is to the exact one: what rounding did, what wrapped and what overflowed.
//!
//! The golden says whether a device computed what the schedule says. This says what such a computation is worth, against a
//! reference of higher precision that has no order.

use crate::collective::Op;
use crate::element::{DataType, Element, with_op};

/// Elements that are looked at together: small enough for the first-level cache.
const BLOCK: usize = 1024;

/// How near reductions are to exact ones. Each is counted once, however many ranks hold it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Accuracy {
    /// Reductions that were looked at.
    pub reductions: u64,
    /// Of integers: those whose exact value the type does not hold, so that they wrapped around.
    pub wrapped: u64,
    /// Of floats: those that are infinite or NaN, though all that went into them is finite; of types that saturate, those
    /// whose exact value is beyond the largest number. What saturated on the way and came back is an error like others.
    pub overflowed: u64,
    /// Of floats: those into which an infinity or a NaN went. Nothing else is said of them.
    pub nonfinite: u64,
    /// The largest error, over the magnitudes of what was summed: Higham's backward error of a sum, which no cancellation
    /// makes large. Of a product or an average, minimum or maximum: over its own magnitude, or that of the summands.
    pub backward: Option<Worst>,
    /// The largest error in units of the last place, where nothing cancels: of sums that are at least half as large as the
    /// magnitudes of what was summed.
    pub max_ulp: f64,
    /// Those farther from the exact value than [`Tolerance::of`] their type allows.
    pub beyond: u64,
}

/// Where an error is the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Worst {
    /// The error, relative to the magnitudes of what was summed, as [`Accuracy::backward`] says: 0 where it is exact.
    pub error: f64,
    /// A rank that holds it.
    pub rank: u32,
    /// The element of that rank's output.
    pub index: usize,
}

/// How far two results may be apart and still be called close: by `atol + rtol * |expected|`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Tolerance {
    /// Relative tolerance: a part of the magnitude of the expected value, 0 or more.
    pub rtol: f64,
    /// Absolute tolerance, whatever the expected value: in the unit of the elements, 0 or more.
    pub atol: f64,
}

impl Tolerance {
    /// A tolerance of `atol + rtol * |expected|`.
    pub fn new(rtol: f64, atol: f64) -> Self {
        Self { rtol, atol }
    }

    /// Those of `torch.testing.assert_close`; integers must be equal. It has none for fp8, of which they are a unit of the
    /// last place.
    pub fn of(data_type: DataType) -> Self {
        let (rtol, atol) = match data_type {
            DataType::F16 => (1e-3, 1e-5),
            DataType::BF16 => (1.6e-2, 1e-5),
            DataType::F32 => (1.3e-6, 1e-5),
            DataType::F64 => (1e-7, 1e-7),
            DataType::F8E4M3 => (0.125, 1.953_125e-3),
            DataType::F8E5M2 => (0.25, 1.525_878_906_25e-5),
            _ => (0.0, 0.0),
        };
        Self { rtol, atol }
    }

    /// Whether an error is more than that. One that is no number is.
    pub fn exceeded(self, error: f64, expected: f64) -> bool {
        error.is_nan() || error > self.atol + self.rtol * expected.abs()
    }
}

impl Accuracy {
    /// Adds the reductions `output`, which `rank` holds from element `first` on, of all ranks' `inputs`: as many elements of
    /// each.
    pub fn add<T: Element>(&mut self, op: Op, inputs: &[&[T]], output: &[T], rank: u32, first: usize) {
        let tolerance = Tolerance::of(T::TYPE);
        for (block, output) in output.chunks(BLOCK).enumerate() {
            let start = block * BLOCK;
            let of_block: Vec<&[T]> = inputs.iter().map(|input| &input[start..start + output.len()]).collect();
            self.reductions += output.len() as u64;
            for (i, (&got, sum)) in output.iter().zip(references(op, &of_block)).enumerate() {
                self.judge(op, got, &sum, tolerance, (rank, first + start + i));
            }
        }
    }

    fn judge<T: Element>(&mut self, op: Op, got: T, sum: &Reference<T>, tolerance: Tolerance, at: (u32, usize)) {
        let &Reference { exact, magnitude, finite } = sum;
        if !finite {
            self.nonfinite += 1;
            return;
        }
        if !T::TYPE.is_float() {
            // Exact by definition otherwise.
            self.wrapped += u64::from(!T::holds(exact));
            return;
        }
        if !got.to_f64().is_finite() || (T::TYPE.saturates() && !T::holds(exact)) {
            self.overflowed += 1;
            return;
        }
        let (error, value) = (got.error(exact), T::wide_to_f64(exact));
        self.beyond += u64::from(tolerance.exceeded(error, value));
        let backward = if error == 0.0 { 0.0 } else { error / magnitude };
        if self.backward.is_none_or(|worst| backward > worst.error) {
            self.backward = Some(Worst { error: backward, rank: at.0, index: at.1 });
        }
        let cancels = matches!(op, Op::Sum | Op::Avg) && value.abs() < magnitude / 2.0;
        if !cancels {
            self.max_ulp = self.max_ulp.max(got.ulp_error(exact));
        }
    }
}

/// What a reduction is held against.
struct Reference<T: Element> {
    exact: T::Wide,
    /// Of what was summed, or of the value itself.
    magnitude: f64,
    /// All that went into it is.
    finite: bool,
}

/// Of each element, in rank order: f64 has room for the sum of some 2^29 f32 of like size without an error here.
fn references<T: Element>(op: Op, inputs: &[&[T]]) -> Vec<Reference<T>> {
    let ranks = inputs.len() as u32;
    let Some((first, rest)) = inputs.split_first() else { return Vec::new() };
    let of = |x: T| Reference { exact: x.widen(), magnitude: x.to_f64().abs(), finite: x.to_f64().is_finite() };
    let mut all: Vec<Reference<T>> = first.iter().map(|&x| of(x)).collect();
    for input in rest {
        with_op!(op, OP => for (all, &x) in all.iter_mut().zip(*input) {
            let x = of(x);
            all.exact = T::combine_wide(OP, all.exact, x.exact);
            all.magnitude += x.magnitude;
            all.finite &= x.finite;
        });
    }
    for all in &mut all {
        match op {
            Op::Avg => {
                all.exact = T::mean_wide(all.exact, ranks);
                all.magnitude /= f64::from(ranks);
            }
            Op::Sum => {}
            _ => all.magnitude = T::wide_to_f64(all.exact).abs(),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::{bf16, f8e4m3, f8e5m2, f16};

    fn of<T: Element>(op: Op, inputs: &[&[T]], output: &[T]) -> Accuracy {
        let mut accuracy = Accuracy::default();
        accuracy.add(op, inputs, output, 3, 10);
        accuracy
    }

    #[test]
    fn integers_wrap_and_are_counted() {
        for (op, inputs, output, wrapped) in [
            (Op::Sum, [&[120_i8, 100, -128, 127][..], &[100, 27, -1, 1]], [-36_i8, 127, 127, -128], 3),
            (Op::Prod, [&[16, -128, 0, 11], &[16, -1, 99, 11]], [0, -128, 0, 121], 2),
            (Op::Max, [&[127, -128, 0, 1], &[127, -128, 0, 1]], [127, -128, 0, 1], 0),
        ] {
            let accuracy = of(op, &inputs, &output);
            assert_eq!((accuracy.reductions, accuracy.wrapped), (4, wrapped), "{op}");
            assert_eq!((accuracy.beyond, accuracy.overflowed, accuracy.max_ulp), (0, 0, 0.0), "{op}");
        }
        // Products of many factors, whose exact value no type holds.
        let many = vec![&[u64::MAX, 2, 0, 1][..]; 100];
        assert_eq!(of(Op::Prod, &many, &[1, 0, 0, 1]).wrapped, 2);
        assert_eq!(of(Op::Sum, &[&[i64::MIN][..], &[-1]], &[i64::MAX]).wrapped, 1);
        assert_eq!(of(Op::Sum, &[&[u64::MAX - 1][..], &[1]], &[u64::MAX]).wrapped, 0);
    }

    #[test]
    fn infinities_out_of_finite_inputs_are_counted() {
        let most = f16::from_f32(65504.0);
        let inputs = [&[most, most, f16::INFINITY, f16::NAN][..], &[most, -most, most, most]];
        let accuracy = of(Op::Sum, &inputs, &[f16::INFINITY, f16::from_f32(0.0), f16::INFINITY, f16::NAN]);
        assert_eq!((accuracy.overflowed, accuracy.nonfinite, accuracy.beyond), (1, 2, 0));
        // What saturates is a number, and no less lost; what came back from there is an error.
        let most = f8e4m3::from_f32(448.0);
        let inputs = [&[most, most, f8e4m3::NAN, most][..], &[most, -most, most, f8e4m3::from_f32(8.0)]];
        let accuracy = of(Op::Sum, &inputs, &[most, f8e4m3::from_f32(0.0), f8e4m3::NAN, most]);
        assert_eq!((accuracy.overflowed, accuracy.nonfinite, accuracy.beyond), (1, 1, 0));
        let back = of(Op::Sum, &[&[most][..], &[most], &[-most]], &[f8e4m3::from_f32(0.0)]);
        assert_eq!((back.overflowed, back.beyond), (0, 1));
        // Of both, more than half a unit beyond the largest number.
        for (more, overflowed) in [(4096.0, 1), (3584.0, 0)] {
            let inputs = [f8e5m2::MAX, f8e5m2::from_f32(more)];
            let accuracy = of(Op::Sum, &[&inputs[..1], &inputs[1..]], &[f8e5m2::MAX]);
            assert_eq!(accuracy.overflowed, overflowed, "{more}");
        }
        // The average is 65504, and was summed beyond it.
        assert_eq!(of(Op::Avg, &[&[f64::MAX][..], &[f64::MAX]], &[f64::INFINITY]).overflowed, 1);
    }

    /// A sum that cancels has a large error in its own last place, and a small one of what was summed.
    #[test]
    fn cancelled_sums_are_measured_by_their_summands() {
        let inputs = [&[1e8_f32, 1.0][..], &[1.0, 1.0], &[-1e8, 1e-9]];
        let accuracy = of(Op::Sum, &inputs, &[0.0, 2.0]);
        let worst = accuracy.backward.unwrap();
        assert_eq!((worst.rank, worst.index, accuracy.beyond), (3, 10, 1));
        assert!((worst.error * 2e8 - 1.0).abs() < 1e-6, "{worst:?}");
        assert!(accuracy.max_ulp > 0.0 && accuracy.max_ulp < 1.0, "{}", accuracy.max_ulp);
        // Half a unit of 1 + 2^-8, rounded to even.
        let brain = of(Op::Sum, &[&[bf16::from_f32(1.0)][..], &[bf16::from_f32(1.0 / 256.0)]], &[bf16::from_f32(1.0)]);
        assert_eq!((brain.max_ulp, brain.beyond), (0.5, 0));
        let exact = of(Op::Prod, &[&[0.5_f64, 0.0][..], &[3.0, -1.0]], &[1.5, -0.0]);
        assert_eq!((exact.max_ulp, exact.backward.unwrap().error), (0.0, 0.0));
    }

    #[test]
    fn tolerances_are_exceeded_by_what_is_no_number() {
        let tolerance = Tolerance::new(0.1, 1.0);
        for (error, expected, exceeded) in [(2.0, 10.0, false), (2.01, -10.0, true), (f64::NAN, 0.0, true)] {
            assert_eq!(tolerance.exceeded(error, expected), exceeded, "{error}");
        }
        assert!(Tolerance::of(DataType::I8).exceeded(1.0, 100.0) && !Tolerance::of(DataType::I8).exceeded(0.0, 100.0));
    }
}
