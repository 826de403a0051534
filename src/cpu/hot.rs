//! Small launches of a caller who makes many in a row: on several threads, if these are awake.
//!
//! Waking a thread takes longer than such a launch, but whoever took part in the last one stays on its core for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::gate::{Turn, Work};
use super::kernel::Reduction;
use super::memory::Slices;
use super::program::Program;
use super::straight::Straight;
use super::team::Team;
use crate::element::Element;
use crate::error::RunError;
use crate::payload::VECTOR_BYTES;
use crate::proof::Proved;

/// A proved schedule over one payload, by the calling thread or by several workers.
pub(super) struct Hot<T: Element> {
    alone: Straight<T>,
    together: Arc<SliceByWorker<T>>,
}

/// The same for each worker over a slice of every chunk, or, where it is a single sum, over a part of its elements.
pub(super) struct SliceByWorker<T: Element> {
    how: Reduction<T>,
    /// Locked by who launches, then by that worker.
    slices: Vec<Mutex<Straight<T>>>,
    panicked: AtomicBool,
}

impl<T: Element> SliceByWorker<T> {
    /// The same as `straight` for so many workers; none where that gains nothing, or there is no memory for it.
    pub(super) fn new(
        straight: &Straight<T>,
        proved: &Proved,
        program: &Program,
        slices: Slices,
        how: Reduction<T>,
        workers: usize,
    ) -> Option<Self> {
        if workers < 2 {
            return None;
        }
        let vectors = slices.payload.chunk_vectors().div_ceil(workers);
        let per = vectors * (VECTOR_BYTES / size_of::<T>());
        let slices = Slices { per, pitch: per, ..slices };
        let of_worker = |worker| Straight::of_channel(worker, proved, program, slices, how);
        let slices = straight.split(workers, how).or_else(|| (0..workers).map(of_worker).collect())?;
        Some(Self { how, slices: slices.into_iter().map(Mutex::new).collect(), panicked: AtomicBool::new(false) })
    }

    fn slice(&self, worker: usize) -> MutexGuard<'_, Straight<T>> {
        self.slices[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Element> Work for SliceByWorker<T> {
    fn work(&self, worker: usize) {
        // SAFETY: only `Hot::together` has a team do this work, whose contract is that of its buffers: it has given them to every
        // slice, and returns when all workers have left. Slices of different workers share no element, as channels do not.
        if unsafe { self.slice(worker).launch_given(self.how) }.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

impl<T: Element> Hot<T> {
    pub(super) fn new(alone: Straight<T>, together: SliceByWorker<T>) -> Self {
        Self { alone, together: Arc::new(together) }
    }

    /// One launch, as [`Straight::launch`] makes it: by `team`, if its threads are awake and free. Apart, because the smallest
    /// launches would feel it.
    ///
    /// # Safety
    /// That of [`Straight::launch`].
    #[inline(never)]
    pub(super) unsafe fn launch(
        &mut self,
        team: &Team,
        inputs: impl Iterator<Item = *const T>,
        outputs: impl Iterator<Item = *mut T>,
    ) -> Result<(), RunError> {
        let workers = self.together.slices.len();
        if let Some(turn) = team.awake(workers) {
            // SAFETY: handed on.
            return unsafe { self.together(turn, inputs, outputs) };
        }
        let began = Instant::now();
        self.alone.give(inputs, outputs);
        // SAFETY: handed on.
        let launched = unsafe { self.alone.launch_given(self.together.how) };
        team.launched_alone(began, Instant::now(), workers);
        launched
    }

    /// # Safety
    /// That of [`launch`](Self::launch).
    unsafe fn together(
        &self,
        turn: Turn<'_>,
        inputs: impl Iterator<Item = *const T>,
        outputs: impl Iterator<Item = *mut T>,
    ) -> Result<(), RunError> {
        let work = &self.together;
        {
            let mut first = work.slice(0);
            first.give(inputs, outputs);
            (1..work.slices.len()).for_each(|worker| work.slice(worker).give_as(&first));
        }
        work.panicked.store(false, Ordering::Relaxed);
        turn.run(work, work.slices.len());
        if work.panicked.load(Ordering::Relaxed) { Err(RunError::Panicked) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Op;
    use crate::cpu::straight::tests::uncut;
    use crate::schedule::Algorithm;

    /// Whoever is woken has the results of a launch without: elements that no worker has are missed, those that two have are
    /// added twice in place.
    #[test]
    fn slices_of_workers_are_the_whole() {
        let team = Team::default();
        team.grow(3).unwrap();
        for (algorithm, ranks, count, workers, in_place) in [
            (Algorithm::Direct, 4, 257, 2, false),
            // Nothing is left for the second.
            (Algorithm::Direct, 4, 5, 2, false),
            (Algorithm::Ring, 4, 257, 3, true),
            (Algorithm::Tree, 3, 100, 2, true),
            (Algorithm::TwoPhase, 4, 1, 3, false),
            (Algorithm::HalvingDoubling, 4, 64, 3, true),
        ] {
            let case = format!("{algorithm} {ranks} {count} {workers} {in_place}");
            let (proved, program, slices) = uncut(algorithm, ranks, count, in_place);
            let how = Reduction::new(Op::Sum, ranks);
            let straight = || Straight::<f32>::new(&proved, &program, slices, how).unwrap();
            let together = SliceByWorker::new(&straight(), &proved, &program, slices, how, workers).unwrap();
            let (mut straight, hot) = (straight(), Hot::new(straight(), together));
            let inputs: Vec<Vec<f32>> =
                (0..ranks).map(|rank| (0..count).map(|i| (i as u32 * 7 + rank * 1000) as f32).collect()).collect();
            let start = |_| if in_place { inputs.clone() } else { vec![vec![-1.0; count]; ranks as usize] };
            let mut outputs = [0, 1].map(start);
            for launch in 0..3 {
                let [alone, together] = &mut outputs;
                let from = || inputs.iter().map(|input| input.as_ptr());
                // SAFETY: borrows that outlive the calls, of as many elements as the schedule has.
                unsafe {
                    straight.launch(how, from(), alone.iter_mut().map(|x| x.as_mut_ptr())).unwrap();
                    hot.together(team.turn(), from(), together.iter_mut().map(|x| x.as_mut_ptr())).unwrap();
                }
                assert_eq!(outputs[0], outputs[1], "{case}, launch {launch}");
            }
        }
    }
}
