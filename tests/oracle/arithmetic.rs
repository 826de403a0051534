//! The arithmetic of every element type, written plainly over its bits: what golden and executors must agree with.
//!
//! f16, bf16 and fp8 are decoded to f64, which holds every sum and product of two f16 or fp8 exactly, and rounded by counting
//! units of the last place. A bf16 is computed in f32 first, as the library's rules say.

use wgccl::collective::Op;
use wgccl::element::DataType;

use super::random::Random;

/// Bits of exponent and mantissa, and how it ends.
struct Format(u32, u32, End);

#[derive(PartialEq)]
enum End {
    /// With infinities, which are what is beyond.
    Infinity,
    /// With infinities; what is beyond is the largest number.
    Saturating,
    /// Saturating, with numbers up to the one NaN.
    Numbers,
}

const F16: Format = Format(5, 10, End::Infinity);
const BF16: Format = Format(8, 7, End::Infinity);
const E4M3: Format = Format(4, 3, End::Numbers);
const E5M2: Format = Format(5, 2, End::Saturating);

pub(crate) fn bytes(data_type: DataType) -> usize {
    match data_type {
        DataType::I8 | DataType::U8 | DataType::F8E4M3 | DataType::F8E5M2 => 1,
        DataType::F16 | DataType::BF16 => 2,
        DataType::F32 | DataType::I32 | DataType::U32 => 4,
        _ => 8,
    }
}

/// `a op b`, both and the result by their bits.
pub(crate) fn combine(data_type: DataType, op: Op, a: u64, b: u64) -> u64 {
    match data_type {
        DataType::F32 => {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            match op {
                Op::Sum | Op::Avg => (x + y).to_bits().into(),
                Op::Prod => (x * y).to_bits().into(),
                _ => chosen(op, (x.into(), a), (y.into(), b)),
            }
        }
        DataType::F64 => {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            match op {
                Op::Sum | Op::Avg => (x + y).to_bits(),
                Op::Prod => (x * y).to_bits(),
                _ => chosen(op, (x, a), (y, b)),
            }
        }
        DataType::F16 => F16.combine(op, a, b),
        DataType::F8E4M3 => E4M3.combine(op, a, b),
        DataType::F8E5M2 => E5M2.combine(op, a, b),
        DataType::BF16 => {
            let (x, y) = (BF16.decode(a), BF16.decode(b));
            match op {
                Op::Sum | Op::Avg => BF16.encode((x as f32 + y as f32).into()),
                Op::Prod => BF16.encode((x as f32 * y as f32).into()),
                _ => chosen(op, (x, a), (y, b)),
            }
        }
        DataType::I8 | DataType::I32 | DataType::I64 => integer(data_type, op, a, b, |x| extended(data_type, x)),
        _ => integer(data_type, op, a, b, i128::from),
    }
}

fn extended(data_type: DataType, x: u64) -> i128 {
    let unused = 64 - 8 * bytes(data_type) as u32;
    (((x << unused) as i64) >> unused).into()
}

fn integer(data_type: DataType, op: Op, a: u64, b: u64, value: impl Fn(u64) -> i128) -> u64 {
    let (x, y) = (value(a), value(b));
    let result = match op {
        Op::Sum | Op::Avg => x + y,
        Op::Prod => x.wrapping_mul(y),
        Op::Min => x.min(y),
        Op::Max => x.max(y),
        other => panic!("nobody has written down what {other} is"),
    };
    result as u64 & (u64::MAX >> (64 - 8 * bytes(data_type) as u32))
}

/// The smaller or the greater of two floats, with their bits: a number before a NaN, -0 below +0.
fn chosen(op: Op, a: (f64, u64), b: (f64, u64)) -> u64 {
    match (a.0.is_nan(), b.0.is_nan()) {
        (true, _) => return b.1,
        (_, true) => return a.1,
        _ => {}
    }
    let less = a.0 < b.0 || (a.0 == b.0 && a.0.is_sign_negative());
    if less == (op == Op::Min) { a.1 } else { b.1 }
}

impl Format {
    fn bias(&self) -> i32 {
        (1 << (self.0 - 1)) - 1
    }

    /// Exact before it is rounded.
    fn combine(&self, op: Op, a: u64, b: u64) -> u64 {
        let (x, y) = (self.decode(a), self.decode(b));
        match op {
            Op::Sum | Op::Avg => self.encode(x + y),
            Op::Prod => self.encode(x * y),
            _ => chosen(op, (x, a), (y, b)),
        }
    }

    /// Bits of what is beyond the largest number, and of NaN.
    fn ends(&self) -> (u64, u64) {
        let Self(exponents, mantissas, end) = self;
        let infinity = ((1_u64 << exponents) - 1) << mantissas;
        let last = (1 << (exponents + mantissas)) - 1;
        match end {
            End::Infinity => (infinity, infinity | 1 << (mantissas - 1)),
            End::Saturating => (infinity - 1, infinity | 1 << (mantissas - 1)),
            End::Numbers => (last - 1, last),
        }
    }

    fn decode(&self, bits: u64) -> f64 {
        let &Self(exponents, mantissas, ref end) = self;
        let without_sign = bits & ((1 << (exponents + mantissas)) - 1);
        let mantissa = (bits & ((1 << mantissas) - 1)) as f64;
        let exponent = (bits >> mantissas) as i32 & ((1 << exponents) - 1);
        let unit = 2.0_f64.powi(exponent.max(1) - self.bias() - mantissas as i32);
        let magnitude = match exponent {
            0 => mantissa * unit,
            _ if exponent < (1 << exponents) - 1 || (*end == End::Numbers && without_sign < self.ends().1) => {
                (mantissa + 2.0_f64.powi(mantissas as i32)) * unit
            }
            _ if mantissa == 0.0 && *end != End::Numbers => f64::INFINITY,
            _ => f64::NAN,
        };
        if bits >> (exponents + mantissas) & 1 == 1 { -magnitude } else { magnitude }
    }

    /// To nearest, ties to even.
    fn encode(&self, value: f64) -> u64 {
        let &Self(exponents, mantissas, _) = self;
        let (beyond, nan) = self.ends();
        let sign = u64::from(value.is_sign_negative()) << (exponents + mantissas);
        if value.is_nan() {
            return nan;
        }
        if value.is_infinite() {
            return sign | beyond;
        }
        let exponent = ((value.to_bits() >> 52) as i32 & 0x7ff) - 1023;
        let exponent = exponent.max(1 - self.bias());
        // Units of the last place. A carry into the next exponent is one in the bits as well.
        let units = (value.abs() / 2.0_f64.powi(exponent - mantissas as i32)).round_ties_even() as u64;
        let least = (exponent + self.bias() - 1) as u64;
        sign | ((least << mantissas) + units).min(beyond)
    }
}

/// What an average multiplies by; 1/ranks goes through f32.
pub(crate) fn reciprocal(data_type: DataType, ranks: u32) -> u64 {
    let single = (1.0 / f64::from(ranks)) as f32;
    match data_type {
        DataType::F32 => single.to_bits().into(),
        DataType::F16 => F16.encode(single.into()),
        DataType::BF16 => BF16.encode(single.into()),
        DataType::F8E4M3 => E4M3.encode(single.into()),
        DataType::F8E5M2 => E5M2.encode(single.into()),
        _ => (1.0 / f64::from(ranks)).to_bits(),
    }
}

pub(crate) fn is_nan(data_type: DataType, bits: u64) -> bool {
    match data_type {
        DataType::F32 => f32::from_bits(bits as u32).is_nan(),
        DataType::F64 => f64::from_bits(bits).is_nan(),
        DataType::F16 => F16.decode(bits).is_nan(),
        DataType::BF16 => BF16.decode(bits).is_nan(),
        DataType::F8E4M3 => E4M3.decode(bits).is_nan(),
        DataType::F8E5M2 => E5M2.decode(bits).is_nan(),
        _ => false,
    }
}

/// Numbers like 1 mostly, so that sums round and cancel; all bits sometimes, so that there are infinities and NaN.
pub(crate) fn element(random: &mut Random, data_type: DataType) -> u64 {
    let all = u64::MAX >> (64 - 8 * bytes(data_type) as u32);
    let bits = random.bits();
    let float = || ((bits >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 2.0_f64.powi((bits & 15) as i32 - 6);
    match (data_type, random.below(16)) {
        (_, 0) => bits & all,
        (_, 1) => 0,
        (DataType::F32, _) => (float() as f32).to_bits().into(),
        (DataType::F64, _) => float().to_bits(),
        (DataType::F16, _) => F16.encode(float()),
        (DataType::BF16, _) => BF16.encode(float()),
        (DataType::F8E4M3, _) => E4M3.encode(float()),
        (DataType::F8E5M2, _) => E5M2.encode(float()),
        (_, 2..8) => (bits % 11) & all,
        _ => bits & all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By IEEE 754's own examples and the borders of the formats.
    #[test]
    fn halves_are_what_they_are() {
        for (bits, value) in [(0x3c00, 1.0), (0x0001, 2.0_f64.powi(-24)), (0x7bff, 65504.0), (0xc000, -2.0), (0, 0.0)] {
            assert_eq!((F16.decode(bits), F16.encode(value)), (value, bits));
        }
        for (bits, value) in
            [(0x3f80, 1.0), (0x0001, 2.0_f64.powi(-133)), (0x4049, 3.140625), (0xff80, f64::NEG_INFINITY)]
        {
            assert_eq!((BF16.decode(bits), BF16.encode(value)), (value, bits));
        }
        for (value, bits) in [(65519.9, 0x7bff), (65520.0, 0x7c00), (1.0 + 2.0_f64.powi(-11), 0x3c00), (1e-9, 0)] {
            assert_eq!(F16.encode(value), bits, "{value}");
        }
        // By OCP's tables, and saturating.
        for (bits, value) in
            [(0x38, 1.0), (0x01, 2.0_f64.powi(-9)), (0x08, 2.0_f64.powi(-6)), (0x7e, 448.0), (0xfe, -448.0)]
        {
            assert_eq!((E4M3.decode(bits), E4M3.encode(value)), (value, bits));
        }
        for (bits, value) in [(0x3c, 1.0), (0x01, 2.0_f64.powi(-16)), (0x04, 2.0_f64.powi(-14)), (0x7b, 57344.0)] {
            assert_eq!((E5M2.decode(bits), E5M2.encode(value)), (value, bits));
        }
        for (value, e4m3, e5m2) in
            [(1e9, 0x7e, 0x7b), (f64::NEG_INFINITY, 0xfe, 0xfb), (f64::NAN, 0x7f, 0x7e), (464.1, 0x7e, 0x5f)]
        {
            assert_eq!((E4M3.encode(value), E5M2.encode(value)), (e4m3, e5m2), "{value}");
        }
        assert!(E5M2.decode(0xfc) == f64::NEG_INFINITY && E5M2.decode(0x7d).is_nan() && E4M3.decode(0xff).is_nan());
        assert!(F16.decode(0x7e00).is_nan() && is_nan(DataType::BF16, 0x7fc1) && !is_nan(DataType::F16, 0x7c00));
    }

    #[test]
    fn integers_wrap_and_zeros_have_signs() {
        for (data_type, op, a, b, result) in [
            (DataType::I8, Op::Sum, 0x7f, 1, 0x80),
            (DataType::I8, Op::Min, 0x80, 1, 0x80),
            (DataType::U8, Op::Min, 0x80, 1, 1),
            (DataType::U64, Op::Prod, u64::MAX, u64::MAX, 1),
            (DataType::I64, Op::Max, u64::MAX, 3, 3),
            (DataType::F32, Op::Min, 0, 0x8000_0000, 0x8000_0000),
            (DataType::F32, Op::Max, 0, 0x8000_0000, 0),
            (DataType::F32, Op::Max, 0x7fc0_0000, 0x8000_0000, 0x8000_0000),
        ] {
            assert_eq!(combine(data_type, op, a, b), result, "{data_type} {op} {a:x} {b:x}");
        }
    }
}
