//! numpy's types and ours, by the names that numpy and `ml_dtypes` give theirs.

use std::sync::{Mutex, PoisonError};

use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;
use wgccl::element::DataType;

/// From here on types are not numpy's own, and their numbers depend on who came first.
const USER_DEFINED: i32 = 256;

/// The type as numpy names it.
pub(crate) fn name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F32 => "float32",
        DataType::F16 => "float16",
        DataType::BF16 => "bfloat16",
        DataType::F64 => "float64",
        DataType::F8E4M3 => "float8_e4m3fn",
        DataType::F8E5M2 => "float8_e5m2",
        DataType::I32 => "int32",
        DataType::U32 => "uint32",
        DataType::I64 => "int64",
        DataType::U64 => "uint64",
        DataType::I8 => "int8",
        DataType::U8 => "uint8",
        other => other.name(),
    }
}

/// All of them, for a sentence.
pub(crate) fn names() -> String {
    DataType::ALL.iter().map(|&data_type| name(data_type)).collect::<Vec<_>>().join(", ")
}

/// Ours, if there is one: not those in another byte order.
#[inline]
pub(crate) fn of(descr: &Bound<'_, PyArrayDescr>) -> PyResult<Option<DataType>> {
    if descr.num() >= USER_DEFINED {
        return defined(descr);
    }
    if descr.is_native_byteorder() == Some(false) {
        return Ok(None);
    }
    Ok(match (descr.kind(), descr.itemsize()) {
        (b'f', 2) => Some(DataType::F16),
        (b'f', 4) => Some(DataType::F32),
        (b'f', 8) => Some(DataType::F64),
        (b'i', 1) => Some(DataType::I8),
        (b'i', 4) => Some(DataType::I32),
        (b'i', 8) => Some(DataType::I64),
        (b'u', 1) => Some(DataType::U8),
        (b'u', 4) => Some(DataType::U32),
        (b'u', 8) => Some(DataType::U64),
        _ => None,
    })
}

/// One that an extension has defined. Looked up once each: a number stands for one type as long as the process lives.
fn defined(descr: &Bound<'_, PyArrayDescr>) -> PyResult<Option<DataType>> {
    static KNOWN: Mutex<Vec<(i32, Option<DataType>)>> = Mutex::new(Vec::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&(_, found)) = known().iter().find(|&&(num, _)| num == descr.num()) {
        return Ok(found);
    }
    let called = descr.typeobj().name()?;
    let called = called.to_str()?;
    let found = [DataType::BF16, DataType::F8E4M3, DataType::F8E5M2].into_iter().find(|&of| name(of) == called);
    known().push((descr.num(), found));
    Ok(found)
}
