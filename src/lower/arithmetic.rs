//! How GPUs compute each element type: the same on all of them, since every shader is plain WGSL.
//!
//! Apart from the shaders' text, because lists of devices show it.

use crate::collective::named;
use crate::element::DataType;

/// How GPUs compute a type; the same on all of them, since every shader is plain WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arithmetic {
    /// By instructions for this type.
    Native,
    /// Several elements in a 32-bit word.
    Packed,
    /// By integer instructions on two words.
    Emulated,
}

named!(Arithmetic, "arithmetic", { Native => "native", Packed => "packed", Emulated => "emulated" });

/// How GPUs compute `data_type`.
pub fn arithmetic(data_type: DataType) -> Arithmetic {
    match data_type {
        DataType::F32 | DataType::I32 | DataType::U32 => Arithmetic::Native,
        DataType::F16 | DataType::BF16 | DataType::F8E4M3 | DataType::F8E5M2 | DataType::I8 | DataType::U8 => {
            Arithmetic::Packed
        }
        DataType::F64 | DataType::I64 | DataType::U64 => Arithmetic::Emulated,
    }
}
