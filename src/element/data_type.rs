//! The element types by name, and the two places where a name becomes a Rust type or an operation a constant.
//!
//! Command line, records and shaders know types by these names only.

use crate::collective::{Op, named};

/// The type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE 754 binary64.
    F64,
    /// OCP's e4m3: 8 bits, up to 448, no infinities and one NaN. PyTorch and `ml_dtypes` call it e4m3fn.
    ///
    /// Sums, products and averages of fp8 are computed in f32 and rounded after every step, as those of f16 are, and
    /// **saturate**: a result beyond the largest number becomes the largest number with its sign, and so does an infinite
    /// one; NaN stays NaN. So NCCL does it, whose `__nv_fp8_e4m3` and `__nv_fp8_e5m2` convert with CUDA's `__NV_SATFINITE`;
    /// OCP's specification leaves the choice between this and infinities or NaN. What saturated is no longer seen in
    /// the result, so accuracy reports count it as overflow. Minima and maxima are one of their operands, infinities too.
    /// An average multiplies by 1/ranks rounded to fp8, as NCCL's: 1/3 is 0.34375, and 1/1024 is 0.
    F8E4M3,
    /// OCP's e5m2, the upper byte of an f16: 8 bits, up to 57344, with infinities and NaN, which inputs may hold.
    ///
    /// Saturates as [`F8E4M3`](Self::F8E4M3) does: the sum of an infinity and a number is 57344.
    F8E5M2,
    /// Two's complement, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Two's complement, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
    /// Two's complement, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
}

named!(DataType, "type", {
    F32 => "f32" | "float" | "float32" | "fp32",
    F16 => "f16" | "half" | "float16" | "fp16",
    BF16 => "bf16" | "bfloat16",
    F64 => "f64" | "double" | "float64" | "fp64",
    F8E4M3 => "f8e4m3" | "f8e4m3fn" | "fp8e4m3" | "fp8e4m3fn" | "float8e4m3" | "float8e4m3fn" | "e4m3" | "e4m3fn",
    F8E5M2 => "f8e5m2" | "fp8e5m2" | "float8e5m2" | "e5m2",
    I32 => "i32" | "int32" | "int",
    U32 => "u32" | "uint32",
    I64 => "i64" | "int64",
    U64 => "u64" | "uint64",
    I8 => "i8" | "int8" | "char",
    U8 => "u8" | "uint8" | "byte",
});

/// Runs an expression with the Rust type of a [`DataType`]: the only place that knows which is which.
macro_rules! dispatch {
    ($data_type:expr, $T:ident => $run:expr) => {
        match $data_type {
            $crate::element::DataType::F32 => $crate::element::dispatch!(@ f32, $T => $run),
            $crate::element::DataType::F16 => $crate::element::dispatch!(@ ::half::f16, $T => $run),
            $crate::element::DataType::BF16 => $crate::element::dispatch!(@ ::half::bf16, $T => $run),
            $crate::element::DataType::F64 => $crate::element::dispatch!(@ f64, $T => $run),
            $crate::element::DataType::F8E4M3 => $crate::element::dispatch!(@ $crate::element::f8e4m3, $T => $run),
            $crate::element::DataType::F8E5M2 => $crate::element::dispatch!(@ $crate::element::f8e5m2, $T => $run),
            $crate::element::DataType::I32 => $crate::element::dispatch!(@ i32, $T => $run),
            $crate::element::DataType::U32 => $crate::element::dispatch!(@ u32, $T => $run),
            $crate::element::DataType::I64 => $crate::element::dispatch!(@ i64, $T => $run),
            $crate::element::DataType::U64 => $crate::element::dispatch!(@ u64, $T => $run),
            $crate::element::DataType::I8 => $crate::element::dispatch!(@ i8, $T => $run),
            $crate::element::DataType::U8 => $crate::element::dispatch!(@ u8, $T => $run),
        }
    };
    (@ $type:ty, $T:ident => $run:expr) => {{
        type $T = $type;
        $run
    }};
}
pub(crate) use dispatch;

/// Runs an expression with the operation that combines two elements as a constant, so that no loop in it has a branch.
macro_rules! with_op {
    ($op:expr, $OP:ident => $run:expr) => {
        match $op {
            $crate::collective::Op::Sum | $crate::collective::Op::Avg => {
                const $OP: $crate::collective::Op = $crate::collective::Op::Sum;
                $run
            }
            $crate::collective::Op::Prod => {
                const $OP: $crate::collective::Op = $crate::collective::Op::Prod;
                $run
            }
            $crate::collective::Op::Min => {
                const $OP: $crate::collective::Op = $crate::collective::Op::Min;
                $run
            }
            $crate::collective::Op::Max => {
                const $OP: $crate::collective::Op = $crate::collective::Op::Max;
                $run
            }
        }
    };
}
pub(crate) use with_op;

impl DataType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        dispatch!(self, T => size_of::<T>())
    }

    /// Whether it has a binary point.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// Whether sums and products beyond its largest number are that number; see [`Self::F8E4M3`].
    pub fn saturates(self) -> bool {
        matches!(self, Self::F8E4M3 | Self::F8E5M2)
    }

    /// Bits of the magnitude: of a float's significand, the hidden one included; of an integer without its sign.
    pub fn precision(self) -> u32 {
        match self {
            Self::F32 => 24,
            Self::F16 => 11,
            Self::BF16 => 8,
            Self::F64 => 53,
            Self::F8E4M3 => 4,
            Self::F8E5M2 => 3,
            Self::I32 | Self::I64 | Self::I8 => 8 * self.bytes() as u32 - 1,
            Self::U32 | Self::U64 | Self::U8 => 8 * self.bytes() as u32,
        }
    }
}

/// An operation that a type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{op} of {data_type} is refused: it is a sum divided after its last addition, and schedules here only reduce; \
     use sum and divide the result, or a float type"
)]
#[non_exhaustive]
pub struct Unsupported {
    /// The operation.
    pub op: Op,
    /// The type.
    pub data_type: DataType,
}

/// Whether elements of `data_type` have `op`, on every device alike.
///
/// # Errors
/// [`Unsupported`]: the average of integers.
pub fn supported(data_type: DataType, op: Op) -> Result<(), Unsupported> {
    match op {
        Op::Avg if !data_type.is_float() => Err(Unsupported { op, data_type }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::numeric::Numeric;

    #[test]
    fn names_round_trip_and_unknown_names_list_what_exists() {
        for &data_type in DataType::ALL {
            assert_eq!(data_type.name().parse(), Ok(data_type));
        }
        for (alias, data_type) in [
            ("float", DataType::F32),
            ("half", DataType::F16),
            ("bfloat16", DataType::BF16),
            ("double", DataType::F64),
            ("e4m3", DataType::F8E4M3),
            ("fp8_e4m3", DataType::F8E4M3),
            ("f8_e4m3", DataType::F8E4M3),
            ("float8_e4m3fn", DataType::F8E4M3),
            ("Float8e4m3", DataType::F8E4M3),
            ("E5M2", DataType::F8E5M2),
            ("fp8_e5m2", DataType::F8E5M2),
            ("f8_e5m2", DataType::F8E5M2),
            ("float8_e5m2", DataType::F8E5M2),
            ("int8", DataType::I8),
            ("uint8", DataType::U8),
            ("int32", DataType::I32),
            ("uint32", DataType::U32),
            ("int64", DataType::I64),
            ("uint64", DataType::U64),
        ] {
            assert_eq!(alias.parse(), Ok(data_type));
        }
        let error = "f8".parse::<DataType>().unwrap_err().to_string();
        assert!(error.contains("'f8'") && error.contains("f32, f16, bf16"), "{error}");
    }

    #[test]
    fn the_poison_of_every_type_fills_memory_word_by_word() {
        for &data_type in DataType::ALL {
            dispatch!(data_type, T => {
                let poison = T::poison();
                let bytes = bytemuck::bytes_of(&poison);
                assert!((0..bytes.len()).all(|i| bytes[i] == bytes[i % 4]), "{data_type}");
                assert_eq!(poison.to_f64().is_nan(), data_type.is_float(), "{data_type}");
                assert_eq!((T::TYPE, data_type.bytes()), (data_type, size_of::<T>()));
            });
        }
    }

    #[test]
    fn only_integers_have_no_average() {
        for &data_type in DataType::ALL {
            for &op in Op::ALL {
                let refused = op == Op::Avg && !data_type.is_float();
                assert_eq!(supported(data_type, op).is_err(), refused, "{op} of {data_type}");
            }
        }
        let error = supported(DataType::I8, Op::Avg).unwrap_err().to_string();
        assert!(error.contains("avg of i8") && error.contains("use sum"), "{error}");
    }
}
