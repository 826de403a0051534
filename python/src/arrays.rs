//! Arrays as the bytes that a call works on: those of the caller where they lie, new ones for what it gives back.
//!
//! # Safety
//!
//! A [`View`] is the memory of an array that is kept alive beside it, whole and without gaps. Views of outputs are of writeable
//! arrays, and overlap no other view of the call ([`overlap`]), or are inputs as well in a call in place. So their bytes can be lent
//! as slices for as long as the call lasts. A program that writes to the arrays of a running call from another thread gets what it
//! asks for, as from numpy's own calls.

use std::ffi::c_int;

use numpy::npyffi::{self, NPY_ORDER, PY_ARRAY_API};
use numpy::prelude::*;
use numpy::{PyArrayDescr, PyUntypedArray};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;
use wgccl::collective::Collective;
use wgccl::element::{DataType, Element};

use crate::{errors, types};

/// Ranks, and axes, up to which lists need no allocation.
const FEW: usize = 8;

pub(crate) type Few<T> = SmallVec<[T; FEW]>;

/// The memory of a rank's array.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) at: *mut u8,
    pub(crate) bytes: usize,
}

// SAFETY: it is an address; whoever uses it has the module's argument to keep.
unsafe impl Send for View {}
// SAFETY: likewise.
unsafe impl Sync for View {}

impl View {
    /// Of a rank that has none. Aligned for every element.
    pub(crate) const NONE: Self = Self { at: std::ptr::without_provenance_mut(16), bytes: 0 };

    /// # Safety
    /// As the module says.
    #[inline]
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the memory of an array that is kept alive.
        unsafe { std::slice::from_raw_parts(self.at, self.bytes) }
    }

    /// # Safety
    /// As the module says; the array is writeable.
    #[inline]
    pub(crate) unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: the memory of an array that is kept alive, and that no other view of the call overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.bytes) }
    }

    fn end(self) -> usize {
        self.at.addr() + self.bytes
    }

    /// Part `number` of `all` equal ones.
    pub(crate) fn part(self, number: usize, all: usize) -> Self {
        let bytes = self.bytes / all.max(1);
        Self { at: self.at.wrapping_add(number * bytes), bytes }
    }

    pub(crate) fn is(self, other: Self) -> bool {
        self.at == other.at && self.bytes == other.bytes
    }
}

/// Two ranks whose views overlap, if there are any, and whether both are outputs; else the first is an input.
pub(crate) fn overlap(outputs: &[View], inputs: &[View]) -> Option<(bool, usize, usize)> {
    let apart = |a: View, b: View| a.bytes == 0 || b.bytes == 0 || a.end() <= b.at.addr() || b.end() <= a.at.addr();
    if outputs.len() <= FEW {
        for (rank, &output) in outputs.iter().enumerate() {
            if let Some(other) = outputs[..rank].iter().position(|&other| !apart(other, output)) {
                return Some((true, other, rank));
            }
            if let Some(other) = inputs.iter().position(|&input| !apart(input, output)) {
                return Some((false, other, rank));
            }
        }
        return None;
    }
    // Inputs may overlap each other, so only what reaches into an output counts.
    let mut all: Vec<(View, bool, usize)> = Vec::with_capacity(outputs.len() + inputs.len());
    all.extend(outputs.iter().enumerate().map(|(rank, &view)| (view, true, rank)));
    all.extend(inputs.iter().enumerate().map(|(rank, &view)| (view, false, rank)));
    all.retain(|(view, ..)| view.bytes > 0);
    all.sort_unstable_by_key(|(view, ..)| view.at.addr());
    // What reaches farthest so far, of inputs and of outputs.
    let mut reach = [None::<(View, usize)>; 2];
    for (view, is_output, rank) in all {
        let into = |before: Option<(View, usize)>| before.filter(|(before, _)| before.end() > view.at.addr());
        if let Some((_, other)) = into(reach[1]) {
            return Some(if is_output { (true, other, rank) } else { (false, rank, other) });
        }
        if let Some((_, other)) = into(reach[0]).filter(|_| is_output) {
            return Some((false, other, rank));
        }
        let farthest = &mut reach[usize::from(is_output)];
        if farthest.is_none_or(|(before, _)| before.end() < view.end()) {
            *farthest = Some((view, rank));
        }
    }
    None
}

/// Arrays of a call, all of one type and shape.
pub(crate) struct Given<'py> {
    /// One for each rank, or the one of all of them.
    pub(crate) arrays: Few<Bound<'py, PyUntypedArray>>,
    /// It is one array, whose first axis is ranks.
    pub(crate) stacked: bool,
    pub(crate) views: Few<View>,
    pub(crate) descr: Bound<'py, PyArrayDescr>,
    pub(crate) data_type: DataType,
    /// Of each rank's.
    pub(crate) shape: Few<usize>,
    /// The last axis is the slowest in memory.
    pub(crate) fortran: bool,
}

/// Where elements of a rank have to lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Rows after rows: the first axis is what is cut or joined.
    Rows,
    /// As they lie, the same in all ranks: nothing is cut or joined.
    Any,
}

impl Order {
    pub(crate) fn of(collective: Collective) -> Self {
        match collective {
            Collective::AllReduce | Collective::Reduce | Collective::Broadcast | Collective::SendRecv => Self::Any,
            _ => Self::Rows,
        }
    }
}

impl<'py> Given<'py> {
    /// The arrays of all ranks.
    pub(crate) fn all(given: &Bound<'py, PyAny>, order: Order) -> PyResult<Self> {
        if let Ok(list) = given.cast::<PyList>() {
            return Self::each(given.py(), list.iter(), order);
        }
        if let Ok(tuple) = given.cast::<PyTuple>() {
            return Self::each(given.py(), tuple.iter(), order);
        }
        Self::rows(array_of(given)?)
    }

    /// One array, of one rank.
    pub(crate) fn one(given: &Bound<'py, PyAny>, order: Order) -> PyResult<Self> {
        Self::each(given.py(), [given.clone()].into_iter(), order)
    }

    fn each(py: Python<'py>, items: impl ExactSizeIterator<Item = Bound<'py, PyAny>>, order: Order) -> PyResult<Self> {
        let mut arrays = Few::with_capacity(items.len());
        for item in items {
            arrays.push(array_of(&item)?);
        }
        let Some(first) = arrays.first() else {
            return Err(errors::input(py, "no arrays were given; give one for each rank"));
        };
        let (descr, shape) = (first.dtype(), Few::<usize>::from_slice(first.shape()));
        let data_type = type_of(first, 0)?;
        let fortran = order == Order::Any && !first.is_c_contiguous() && first.is_fortran_contiguous();
        for (rank, array) in arrays.iter().enumerate().skip(1) {
            same(rank, array, &descr, data_type, &shape)?;
        }
        let mut views = Few::with_capacity(arrays.len());
        for array in &mut arrays {
            if !lies(array, fortran) {
                *array = copy_of(array, fortran)?;
            }
            views.push(view_of(array));
        }
        Ok(Self { arrays, stacked: false, views, descr, data_type, shape, fortran })
    }

    fn rows(array: Bound<'py, PyUntypedArray>) -> PyResult<Self> {
        let py = array.py();
        let Some((&ranks, shape)) = array.shape().split_first() else {
            return Err(errors::input(
                py,
                "one array without axes was given; give a list of one array for each rank, or one whose first axis is ranks",
            ));
        };
        if ranks == 0 {
            return Err(errors::input(py, "the first axis is ranks, and it is empty; give at least one rank"));
        }
        let (descr, shape, data_type) = (array.dtype(), Few::from_slice(shape), type_of(&array, 0)?);
        let array = if lies(&array, false) { array } else { copy_of(&array, false)? };
        let whole = view_of(&array);
        let views = (0..ranks).map(|rank| whole.part(rank, ranks)).collect();
        Ok(Self {
            arrays: [array].into_iter().collect(),
            stacked: true,
            views,
            descr,
            data_type,
            shape,
            fortran: false,
        })
    }

    /// Of all views.
    pub(crate) fn bytes(&self) -> usize {
        self.views.iter().map(|view| view.bytes).sum()
    }

    /// A new array of so many bytes, like these.
    pub(crate) fn spare(&self, bytes: usize) -> PyResult<(Bound<'py, PyUntypedArray>, View)> {
        let array = self.empty(&[bytes / self.data_type.bytes()])?;
        let view = view_of(&array);
        Ok((array, view))
    }

    /// A new array of `shape`, not filled, like these.
    fn empty(&self, shape: &[usize]) -> PyResult<Bound<'py, PyUntypedArray>> {
        empty(&self.descr, shape, self.fortran)
    }
}

/// Results of a call: what it writes, and what it gives back.
pub(crate) struct Results<'py> {
    pub(crate) views: Few<View>,
    pub(crate) back: Bound<'py, PyAny>,
    /// What keeps the views alive.
    pub(crate) keep: Few<Bound<'py, PyUntypedArray>>,
}

impl<'py> Results<'py> {
    /// New ones of `shape`, for `ranks` ranks: one array where the inputs are one.
    pub(crate) fn new(given: &Given<'py>, ranks: usize, shape: &[usize], stacked: bool) -> PyResult<Self> {
        let py = given.descr.py();
        if stacked {
            let all: Few<usize> = std::iter::once(ranks).chain(shape.iter().copied()).collect();
            let array = given.empty(&all)?;
            let whole = view_of(&array);
            let views = (0..ranks).map(|rank| whole.part(rank, ranks)).collect();
            return Ok(Self { views, back: array.clone().into_any(), keep: [array].into_iter().collect() });
        }
        let mut keep = Few::with_capacity(ranks);
        for _ in 0..ranks {
            keep.push(given.empty(shape)?);
        }
        let views = keep.iter().map(view_of).collect();
        let back = PyList::new(py, &keep)?.into_any();
        Ok(Self { views, back, keep })
    }

    /// One new array of `shape`.
    pub(crate) fn alone(given: &Given<'py>, shape: &[usize]) -> PyResult<Self> {
        let array = given.empty(shape)?;
        let views = [view_of(&array)].into_iter().collect();
        Ok(Self { views, back: array.clone().into_any(), keep: [array].into_iter().collect() })
    }

    /// The caller's own, one for each of `ranks` ranks, or one array for all of them.
    pub(crate) fn all(given: &Given<'py>, out: &Bound<'py, PyAny>, ranks: usize, shape: &[usize]) -> PyResult<Self> {
        let py = out.py();
        let items: Few<Bound<'py, PyAny>> = if let Ok(list) = out.cast::<PyList>() {
            list.iter().collect()
        } else if let Ok(tuple) = out.cast::<PyTuple>() {
            tuple.iter().collect()
        } else {
            let array = writeable(out)?;
            let all: Few<usize> = std::iter::once(ranks).chain(shape.iter().copied()).collect();
            check(&array, "out", given, &all, false)?;
            if array.shape().first() != Some(&ranks) {
                return Err(errors::input(py, format!("the first axis of out must be the {ranks} ranks")));
            }
            let whole = view_of(&array);
            let views = (0..ranks).map(|rank| whole.part(rank, ranks)).collect();
            return Ok(Self { views, back: out.clone(), keep: [array].into_iter().collect() });
        };
        if items.len() != ranks {
            let message = format!("out holds {} arrays for {ranks} ranks; give one for each rank", items.len());
            return Err(errors::input(py, message));
        }
        let mut keep = Few::with_capacity(ranks);
        for (rank, item) in items.iter().enumerate() {
            let array = writeable(item)?;
            check(&array, &format!("out[{rank}]"), given, shape, given.fortran)?;
            keep.push(array);
        }
        Ok(Self { views: keep.iter().map(view_of).collect(), back: out.clone(), keep })
    }

    /// The caller's one array.
    pub(crate) fn one(given: &Given<'py>, out: &Bound<'py, PyAny>, shape: &[usize]) -> PyResult<Self> {
        let array = writeable(out)?;
        check(&array, "out", given, shape, given.fortran)?;
        let views = [view_of(&array)].into_iter().collect();
        Ok(Self { views, back: out.clone(), keep: [array].into_iter().collect() })
    }
}

/// A shape as Python writes it.
pub(crate) fn shown(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// What Python calls a type.
fn called(descr: &Bound<'_, PyArrayDescr>) -> String {
    descr.str().map_or_else(|_| "another type".to_owned(), |name| name.to_string())
}

/// Whatever has elements, as an array: without a copy where it has them in the host's memory.
fn array_of<'py>(item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    match item.cast::<PyUntypedArray>() {
        Ok(array) => Ok(array.clone()),
        Err(_) => Ok(item.py().import("wgccl._arrays")?.call_method1("as_array", (item,))?.cast_into()?),
    }
}

/// The same of what is to be written to.
fn writeable<'py>(item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    match item.cast::<PyUntypedArray>() {
        Ok(array) => Ok(array.clone()),
        Err(_) => Ok(item.py().import("wgccl._arrays")?.call_method1("as_output", (item,))?.cast_into()?),
    }
}

fn type_of(array: &Bound<'_, PyUntypedArray>, rank: usize) -> PyResult<DataType> {
    let descr = array.dtype();
    if let Some(data_type) = types::of(&descr)? {
        return Ok(data_type);
    }
    let remedy = match descr.is_native_byteorder() {
        Some(false) => {
            "numbers in another machine's byte order; convert it with astype(dtype.newbyteorder('='))".to_owned()
        }
        _ => format!("which no collective takes; convert it with astype to one of {}", types::names()),
    };
    Err(errors::input(array.py(), format!("the array of rank {rank} holds {}, {remedy}", called(&descr))))
}

fn same(
    rank: usize,
    array: &Bound<'_, PyUntypedArray>,
    descr: &Bound<'_, PyArrayDescr>,
    data_type: DataType,
    shape: &[usize],
) -> PyResult<()> {
    let py = array.py();
    let other = array.dtype();
    if !other.is(descr) && types::of(&other)? != Some(data_type) {
        let (a, b) = (called(&other), called(descr));
        return Err(errors::input(
            py,
            format!("the array of rank {rank} holds {a}, and that of rank 0 {b}; give all ranks the same type"),
        ));
    }
    if array.shape() != shape {
        let (a, b) = (shown(array.shape()), shown(shape));
        return Err(errors::input(
            py,
            format!("the array of rank {rank} has shape {a}, and that of rank 0 {b}; give all ranks the same shape"),
        ));
    }
    Ok(())
}

/// Whether elements lie without gaps, in that order, where elements may begin.
#[inline]
fn lies(array: &Bound<'_, PyUntypedArray>, fortran: bool) -> bool {
    let order = if fortran { array.is_fortran_contiguous() } else { array.is_c_contiguous() };
    order && array.is_aligned()
}

#[inline]
fn view_of(array: &Bound<'_, PyUntypedArray>) -> View {
    // SAFETY: it is an array, whose head has these fields.
    let at: *mut u8 = unsafe { (*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr().cast_const())).data.cast() };
    let bytes = array.len() * array.dtype().itemsize();
    // numpy does not say where the elements of an empty array begin.
    if bytes == 0 { View::NONE } else { View { at, bytes } }
}

/// Whether it can be written to.
pub(crate) fn is_writeable(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: it is an array, whose head has these fields.
    let flags = unsafe { (*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr().cast_const())).flags };
    flags & npyffi::NPY_ARRAY_WRITEABLE != 0
}

/// Whether results of that shape can be written to it where it lies.
fn check(
    array: &Bound<'_, PyUntypedArray>,
    name: &str,
    given: &Given<'_>,
    shape: &[usize],
    fortran: bool,
) -> PyResult<()> {
    let py = array.py();
    let other = array.dtype();
    if !other.is(&given.descr) && types::of(&other)? != Some(given.data_type) {
        let (a, b) = (called(&other), called(&given.descr));
        return Err(errors::input(py, format!("{name} holds {a}, and the result is {b}; give an array of that type")));
    }
    // Of results that are joined or cut any shape will do that has as many elements.
    let fits = if fortran { array.shape() == shape } else { array.len() == shape.iter().product::<usize>() };
    if !fits {
        let (a, b) = (shown(array.shape()), shown(shape));
        return Err(errors::input(
            py,
            format!("{name} has shape {a}, and the result has {b}; give an array of that shape"),
        ));
    }
    if !lies(array, fortran) {
        let order = if fortran { "Fortran order, as the inputs are" } else { "C order" };
        let message = format!("{name} has gaps or another order; give an array that is contiguous in {order}");
        return Err(errors::input(py, message));
    }
    if !is_writeable(array) {
        return Err(errors::input(py, format!("{name} is read-only; give an array that can be written")));
    }
    Ok(())
}

/// A copy without gaps.
fn copy_of<'py>(array: &Bound<'py, PyUntypedArray>, fortran: bool) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = array.py();
    let order = if fortran { NPY_ORDER::NPY_FORTRANORDER } else { NPY_ORDER::NPY_CORDER };
    // SAFETY: it is an array; a new reference is given back, or null with an exception.
    unsafe {
        let copy = PY_ARRAY_API.PyArray_NewCopy(py, array.as_array_ptr(), order);
        Ok(Bound::from_owned_ptr_or_err(py, copy)?.cast_into_unchecked())
    }
}

fn empty<'py>(
    descr: &Bound<'py, PyArrayDescr>,
    shape: &[usize],
    fortran: bool,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = descr.py();
    let mut dims: Few<npyffi::npy_intp> = shape.iter().map(|&axis| axis as npyffi::npy_intp).collect();
    // SAFETY: as many axes as it is told; the reference to the type is its own; a new reference is given back, or null with
    // an exception.
    unsafe {
        let array = PY_ARRAY_API.PyArray_Empty(
            py,
            dims.len() as c_int,
            dims.as_mut_ptr(),
            descr.clone().into_dtype_ptr(),
            fortran.into(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}

/// Bytes as the elements that they are.
pub(crate) fn elements<'a, T: Element>(bytes: &[&'a [u8]]) -> Result<Vec<&'a [T]>, String> {
    let of = |bytes: &&'a [u8]| bytemuck::try_cast_slice(bytes).map_err(|error| error.to_string());
    bytes.iter().map(of).collect()
}
