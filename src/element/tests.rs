//! fp8 against its definition, written down a second time: every code, every boundary and every pair.

use super::numeric::Numeric;
use super::{f8e4m3, f8e5m2};
use crate::collective::Op;

/// Of an 8-bit format, written down a second time: what its magnitudes are, in order, up to the largest number.
fn numbers(mantissa: i32, bias: i32, largest: u8) -> Vec<f64> {
    let number = |code: u8| {
        let (exponent, fraction) = (i32::from(code) >> mantissa, i32::from(code) % (1 << mantissa));
        let (leading, exponent) = if exponent == 0 { (0, 1) } else { (1 << mantissa, exponent) };
        f64::from(leading + fraction) * 2_f64.powi(exponent - bias - mantissa)
    };
    (0..=largest).map(number).collect()
}

struct Fp8 {
    name: &'static str,
    numbers: Vec<f64>,
    nan: u8,
    is_nan: fn(u8) -> bool,
    infinity: Option<u8>,
    widen: fn(u8) -> f32,
    narrow: fn(f32) -> u8,
    combine: fn(Op, u8, u8) -> u8,
    combine_flushed: fn(Op, u8, u8) -> u8,
}

fn both() -> [Fp8; 2] {
    [
        Fp8 {
            name: "f8e4m3",
            numbers: numbers(3, 7, 0x7e),
            nan: 0x7f,
            is_nan: |code| code & 0x7f == 0x7f,
            infinity: None,
            widen: |code| f8e4m3::from_bits(code).to_f32(),
            narrow: |value| f8e4m3::from_f32(value).to_bits(),
            combine: |op, a, b| f8e4m3::combine(op, f8e4m3::from_bits(a), f8e4m3::from_bits(b)).to_bits(),
            combine_flushed: |op, a, b| {
                f8e4m3::combine_flushed(op, f8e4m3::from_bits(a), f8e4m3::from_bits(b)).to_bits()
            },
        },
        Fp8 {
            name: "f8e5m2",
            numbers: numbers(2, 15, 0x7b),
            nan: 0x7e,
            is_nan: |code| code & 0x7f > 0x7c,
            infinity: Some(0x7c),
            widen: |code| f8e5m2::from_bits(code).to_f32(),
            narrow: |value| f8e5m2::from_f32(value).to_bits(),
            combine: |op, a, b| f8e5m2::combine(op, f8e5m2::from_bits(a), f8e5m2::from_bits(b)).to_bits(),
            combine_flushed: |op, a, b| {
                f8e5m2::combine_flushed(op, f8e5m2::from_bits(a), f8e5m2::from_bits(b)).to_bits()
            },
        },
    ]
}

impl Fp8 {
    /// By the place between two numbers, and saturating.
    fn nearest(&self, value: f64) -> u8 {
        if value.is_nan() {
            return self.nan;
        }
        let magnitude = value.abs();
        let above = self.numbers.partition_point(|&number| number < magnitude);
        let code = match (above.checked_sub(1), self.numbers.get(above)) {
            (_, None) => self.numbers.len() - 1,
            (None, _) => 0,
            (Some(below), Some(upper)) => {
                let middle = (self.numbers[below] + upper) / 2.0;
                let even = if below % 2 == 0 { below } else { above };
                if magnitude < middle {
                    below
                } else if magnitude > middle {
                    above
                } else {
                    even
                }
            }
        };
        code as u8 | if value.is_sign_negative() { 0x80 } else { 0 }
    }

    fn check(&self, value: f32) {
        let (got, expected) = ((self.narrow)(value), self.nearest(value.into()));
        assert_eq!(got, expected, "{} {value:e} {:08x}: {got:02x}, not {expected:02x}", self.name, value.to_bits());
    }
}

#[test]
fn all_codes_of_fp8_are_what_the_formats_say_and_come_back() {
    for fp8 in both() {
        for code in 0..=u8::MAX {
            let (value, magnitude) = ((fp8.widen)(code), usize::from(code & 0x7f));
            let context = format!("{} {code:02x} {value:e}", fp8.name);
            assert_eq!(value.is_nan(), (fp8.is_nan)(code), "{context}");
            assert_eq!(value.is_infinite(), fp8.infinity == Some(code & 0x7f), "{context}");
            let back = (fp8.narrow)(value);
            match fp8.numbers.get(magnitude) {
                Some(&number) => {
                    let number = if code < 0x80 { number } else { -number };
                    assert_eq!(f64::from(value).to_bits(), number.to_bits(), "{context}");
                    assert_eq!(back, code, "{context}");
                    assert!(!value.is_subnormal(), "{context}");
                }
                None if value.is_nan() => assert_eq!(back, fp8.nan, "{context}"),
                // An infinity becomes the largest number.
                None => assert_eq!(usize::from(back & 0x7f), fp8.numbers.len() - 1, "{context}"),
            }
        }
    }
    let [e4m3, e5m2] = both().map(|fp8| fp8.numbers);
    assert_eq!((e4m3[1], e4m3[8], e4m3[0x7e]), (2_f64.powi(-9), 2_f64.powi(-6), 448.0));
    assert_eq!((e5m2[1], e5m2[4], e5m2[0x7b]), (2_f64.powi(-16), 2_f64.powi(-14), 57344.0));
}

#[test]
fn every_boundary_of_fp8_is_rounded_to_even_and_its_end_saturates() {
    for fp8 in both() {
        let most = fp8.numbers[fp8.numbers.len() - 1] as f32;
        let mut values = vec![0.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, f32::INFINITY, f32::NAN];
        // As if there were a number more.
        let last = most + (most - fp8.numbers[fp8.numbers.len() - 2] as f32) / 2.0;
        values.extend([most, last, 2.0 * most, 2.0 * last]);
        for pair in fp8.numbers.windows(2) {
            values.extend([pair[0] as f32, ((pair[0] + pair[1]) / 2.0) as f32]);
        }
        for value in values {
            for near in [value.to_bits().saturating_sub(1), value.to_bits(), value.to_bits() + 1] {
                fp8.check(f32::from_bits(near));
                fp8.check(-f32::from_bits(near));
            }
        }
        assert_eq!((fp8.widen)((fp8.narrow)(f32::NEG_INFINITY)), -most, "{}", fp8.name);
        assert_eq!(((fp8.narrow)(f32::NAN), (fp8.narrow)(-f32::NAN)), (fp8.nan, fp8.nan), "{}", fp8.name);
    }
}

#[test]
fn random_f32_become_the_nearest_fp8() {
    let (types, mut state) = (both(), 1_u64);
    for _ in 0..4_000_000 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let bits = (state >> 32) as u32;
        // Any bits, and the same in the range of the two.
        let exponent = 127 - 26 + (state >> 20) as u32 % 44;
        for fp8 in &types {
            fp8.check(f32::from_bits(bits));
            fp8.check(f32::from_bits(bits & 0x807f_ffff | exponent << 23));
        }
    }
}

/// All of them, held against f64, which has them exactly; what is beyond saturates.
#[test]
fn all_sums_and_products_of_fp8_are_rounded_once() {
    for fp8 in both() {
        for (a, b) in (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| (a, b))) {
            let (x, y) = (f64::from((fp8.widen)(a)), f64::from((fp8.widen)(b)));
            for (op, exact) in [(Op::Sum, x + y), (Op::Prod, x * y)] {
                let (got, expected) = ((fp8.combine)(op, a, b), fp8.nearest(exact));
                assert_eq!(got, expected, "{} {x} {op} {y}: {got:02x}, not {expected:02x}", fp8.name);
                assert_eq!(got, (fp8.combine_flushed)(op, a, b), "{} {x} {op} {y}", fp8.name);
            }
        }
    }
}
