//! Which line of a program made an instruction, so that what a proof finds leads there.
//!
//! A table beside the schedule, which knows no Python. A line costs a look at the interpreter's frame.

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;

/// Lines of all instructions of a schedule, by lane.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    files: Vec<Arc<str>>,
    /// Index of the file, and line; none of what came from elsewhere.
    lanes: Vec<Vec<Option<(u32, u32)>>>,
}

/// A line.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
}

impl Line {
    /// File, without its folder, and line.
    pub(crate) fn short(&self) -> String {
        format!("{}:{}", name(&self.file), self.line)
    }
}

/// Without its folder. Cells of notebooks are no files and have no name worth reading.
pub(crate) fn name(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    if file.contains("ipykernel_") || file.starts_with("<ipython-input") { "cell" } else { name }
}

impl Lines {
    /// The line that calls, as the next one of `lane`.
    pub(crate) fn push(&mut self, py: Python<'_>, lane: usize) -> PyResult<Option<Line>> {
        let line = self.calling(py)?;
        let index = line.as_ref().map(|line| (self.index(&line.file), line.line));
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Vec::new);
        }
        self.lanes[lane].push(index);
        Ok(line)
    }

    /// Room for the instructions of a lane that nobody's line made.
    pub(crate) fn skip(&mut self, lane: usize, instructions: usize) {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Vec::new);
        }
        let lines = &mut self.lanes[lane];
        lines.resize(lines.len().max(instructions), None);
    }

    pub(crate) fn at(&self, lane: u32, instruction: u32) -> Option<Line> {
        let &(file, line) = self.lanes.get(lane as usize)?.get(instruction as usize)?.as_ref()?;
        Some(Line { file: self.files[file as usize].clone(), line })
    }

    fn index(&mut self, file: &Arc<str>) -> u32 {
        // Programs have few files.
        let known = self.files.iter().rposition(|known| **known == **file);
        known.unwrap_or_else(|| {
            self.files.push(file.clone());
            self.files.len() - 1
        }) as u32
    }

    /// The innermost Python line: whoever called.
    fn calling(&self, py: Python<'_>) -> PyResult<Option<Line>> {
        // SAFETY: the interpreter's lock is held; the frame is borrowed, and is there as long as its call lasts.
        let (frame, line): (Option<Bound<'_, PyAny>>, c_int) = unsafe {
            let frame = ffi::PyEval_GetFrame();
            match frame.is_null() {
                true => (None, 0),
                false => (Some(Bound::from_borrowed_ptr(py, frame.cast())), ffi::PyFrame_GetLineNumber(frame)),
            }
        };
        let Some(frame) = frame else { return Ok(None) };
        let code = frame.getattr(pyo3::intern!(py, "f_code"))?;
        let file = code.getattr(pyo3::intern!(py, "co_filename"))?;
        let file = file.cast::<pyo3::types::PyString>()?.to_cow()?;
        let file = match self.files.iter().rev().find(|known| ***known == *file) {
            Some(known) => known.clone(),
            None => file.as_ref().into(),
        };
        Ok(u32::try_from(line).ok().map(|line| Line { file, line }))
    }
}
