//! How near a run's reductions are to exact ones, in numbers for a program and in words for a person.
//!
//! A result may be right in every bit and worth little: a sum that wrapped, overflowed or cancelled says so here.

use serde::Serialize;
use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::golden::{Accuracy as Golden, Tolerance};

/// See [`wgccl::golden::Accuracy`], whose numbers these are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Reductions, each counted once.
    pub reductions: u64,
    /// Integers that wrapped around.
    pub wrapped: u64,
    /// Infinities and NaN out of finite inputs; of fp8 what saturated.
    pub overflowed: u64,
    /// Reductions into which an infinity or a NaN went.
    pub nonfinite: u64,
    /// The largest error over the magnitudes of what was reduced; none of integers, and where nothing is finite.
    pub backward_error: Option<f64>,
    /// A rank that has it.
    pub backward_error_rank: Option<u32>,
    /// The element of that rank's output.
    pub backward_error_index: Option<usize>,
    /// The largest error in units of the last place, where nothing cancels.
    pub max_ulp: f64,
    /// Elements farther from the exact value than `atol + rtol * |exact|`.
    pub beyond_tolerance: u64,
    /// As `torch.testing.assert_close` has it for the type.
    pub rtol: f64,
    /// As `torch.testing.assert_close` has it for the type.
    pub atol: f64,
}

impl Accuracy {
    pub(crate) fn new(golden: &Golden, data_type: DataType) -> Self {
        let &Golden { reductions, wrapped, overflowed, nonfinite, backward, max_ulp, beyond, .. } = golden;
        let Tolerance { rtol, atol, .. } = Tolerance::of(data_type);
        Self {
            reductions,
            wrapped,
            overflowed,
            nonfinite,
            backward_error: backward.map(|worst| worst.error),
            backward_error_rank: backward.map(|worst| worst.rank),
            backward_error_index: backward.map(|worst| worst.index),
            max_ulp,
            beyond_tolerance: beyond,
            rtol,
            atol,
        }
    }

    /// The worst that there is to say, in a word or two.
    pub fn brief(&self) -> String {
        match *self {
            Self { wrapped, .. } if wrapped > 0 => format!("{wrapped} wrapped"),
            Self { overflowed, .. } if overflowed > 0 => format!("{overflowed} overflowed"),
            Self { backward_error: Some(error), .. } if error > 0.0 => format!("{error:.1e}"),
            _ => "exact".to_owned(),
        }
    }

    /// Names and texts of what there is to say.
    pub fn lines(&self, op: Op, data_type: DataType) -> Vec<(&'static str, String)> {
        let Self { reductions, wrapped, overflowed, nonfinite, max_ulp, beyond_tolerance, rtol, atol, .. } = *self;
        let (one, many) = nouns(op);
        let of = |some: u64| format!("{some} of {reductions} {}", if reductions == 1 { one } else { many });
        let finite = if nonfinite > 0 { "finite " } else { "" };
        let mut lines = Vec::new();
        if data_type.is_float() {
            match self.backward_error.zip(self.backward_error_rank).zip(self.backward_error_index) {
                None | Some(((0.0, _), _)) if overflowed > 0 => {}
                None | Some(((0.0, _), _)) => lines.push(("rounding", format!("none: every {finite}{one} is exact"))),
                Some(((error, rank), index)) => {
                    let what = match op {
                        Op::Sum | Op::Avg => {
                            format!("the magnitudes that were {}", if op == Op::Avg { "averaged" } else { "summed" })
                        }
                        _ => format!("the {one}"),
                    };
                    // Without an error where nothing cancels, there is nothing that an ulp would say.
                    let ulp = match op {
                        Op::Sum | Op::Avg if max_ulp == 0.0 => String::new(),
                        Op::Sum | Op::Avg => format!("; at most {max_ulp:.2} ulp where nothing cancels"),
                        _ => format!("; at most {max_ulp:.2} ulp"),
                    };
                    lines.push((
                        "rounding",
                        format!("at most {error:.1e} of {what}, at rank {rank}, element {index}{ulp}"),
                    ));
                    if beyond_tolerance > 0 {
                        lines.push((
                            "",
                            format!("{} beyond rtol {rtol:e}, atol {atol:e} of the exact value", of(beyond_tolerance)),
                        ));
                    }
                }
            }
        } else if wrapped == 0 {
            lines.push(("rounding", format!("none: every {one} is exact")));
        }
        if wrapped > 0 {
            lines.push(("wrapped", format!("{} left the range of {data_type} and wrapped around", of(wrapped))));
        }
        if overflowed > 0 {
            let what = match data_type.saturates() {
                true => format!(" left the range of {data_type} and became its largest number"),
                false => ": infinite or NaN, though all inputs are finite".to_owned(),
            };
            lines.push(("overflow", format!("{}{what}", of(overflowed))));
        }
        lines
    }
}

fn nouns(op: Op) -> (&'static str, &'static str) {
    match op {
        Op::Prod => ("product", "products"),
        Op::Min => ("minimum", "minima"),
        Op::Max => ("maximum", "maxima"),
        Op::Avg => ("average", "averages"),
        _ => ("sum", "sums"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Accuracy = Accuracy {
        reductions: 12,
        wrapped: 0,
        overflowed: 0,
        nonfinite: 0,
        backward_error: None,
        backward_error_rank: None,
        backward_error_index: None,
        max_ulp: 0.0,
        beyond_tolerance: 0,
        rtol: 1e-3,
        atol: 1e-5,
    };

    #[test]
    fn what_is_worth_saying_is_said() {
        let rounded = Accuracy {
            backward_error: Some(1.5e-4),
            backward_error_rank: Some(2),
            backward_error_index: Some(7),
            max_ulp: 0.5,
            ..NONE
        };
        let inexact = "at most 1.5e-4 of the magnitudes that were summed, at rank 2, element 7; at most 0.50 ulp where nothing cancels";
        for (accuracy, op, data_type, expected) in [
            (NONE, Op::Sum, DataType::I8, &[("rounding", "none: every sum is exact")][..]),
            (
                Accuracy { wrapped: 3, ..NONE },
                Op::Sum,
                DataType::I8,
                &[("wrapped", "3 of 12 sums left the range of i8 and wrapped around")],
            ),
            (
                Accuracy { overflowed: 12, ..NONE },
                Op::Avg,
                DataType::F16,
                &[("overflow", "12 of 12 averages: infinite or NaN, though all inputs are finite")],
            ),
            (
                Accuracy { overflowed: 1, ..NONE },
                Op::Sum,
                DataType::F8E5M2,
                &[("overflow", "1 of 12 sums left the range of f8e5m2 and became its largest number")],
            ),
            (
                Accuracy { backward_error: Some(0.0), ..rounded },
                Op::Max,
                DataType::F32,
                &[("rounding", "none: every maximum is exact")],
            ),
            (
                Accuracy { nonfinite: 4, ..NONE },
                Op::Sum,
                DataType::F32,
                &[("rounding", "none: every finite sum is exact")],
            ),
            (rounded, Op::Sum, DataType::F16, &[("rounding", inexact)]),
            (
                Accuracy { max_ulp: 0.0, ..rounded },
                Op::Avg,
                DataType::F16,
                &[("rounding", "at most 1.5e-4 of the magnitudes that were averaged, at rank 2, element 7")],
            ),
            (
                Accuracy { overflowed: 1, beyond_tolerance: 2, ..rounded },
                Op::Prod,
                DataType::F16,
                &[
                    ("rounding", "at most 1.5e-4 of the product, at rank 2, element 7; at most 0.50 ulp"),
                    ("", "2 of 12 products beyond rtol 1e-3, atol 1e-5 of the exact value"),
                    ("overflow", "1 of 12 products: infinite or NaN, though all inputs are finite"),
                ],
            ),
        ] {
            let lines = accuracy.lines(op, data_type);
            let lines: Vec<(&str, &str)> = lines.iter().map(|(name, text)| (*name, text.as_str())).collect();
            assert_eq!(lines, expected, "{op} {data_type}");
        }
    }
}
