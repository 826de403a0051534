//! Small launches of a caller who makes many in a row: on all threads, if these are awake.
//!
//! Waking a thread takes longer than such a launch, but whoever took part in the last one stays on its core for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::kernel::Reduction;
use super::memory::Slices;
use super::program::Program;
use super::straight::Straight;
use super::team::{Team, Turn, Work};
use crate::element::Element;
use crate::error::RunError;
use crate::payload::VECTOR_BYTES;
use crate::proof::Proved;

/// A launch that begins so soon after another ended is followed by more: less than a worker stays on its core.
const SOON: Duration = Duration::from_micros(40);
/// Workers who are woken in vain, because others need their cores, are left alone for so long.
const AGAIN: Duration = Duration::from_millis(1);

/// A proved schedule over one payload, by the calling thread or by all workers.
pub(super) struct Hot<T: Element> {
    alone: Straight<T>,
    together: Arc<SliceByWorker<T>>,
    haste: Haste,
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
        Self { alone, together: Arc::new(together), haste: Haste::default() }
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
        if self.haste.alone(began, Instant::now()) {
            team.rouse(workers);
        }
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

/// How fast launches follow each other.
#[derive(Default)]
struct Haste {
    /// When the last one without workers ended.
    ended: Option<Instant>,
    roused: Option<Instant>,
}

impl Haste {
    /// After a launch without workers: whether to wake them for the next.
    fn alone(&mut self, began: Instant, ended: Instant) -> bool {
        let within = |time: Option<Instant>, limit| time.is_some_and(|time| began.duration_since(time) < limit);
        let wanted = within(self.ended, SOON) && !within(self.roused, AGAIN);
        self.ended = Some(ended);
        if wanted {
            self.roused = Some(ended);
        }
        wanted
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

    /// They stay on their cores for a while after they were woken, and nobody is woken where threads outnumber cores.
    #[test]
    fn nobody_is_asked_who_sleeps() {
        let team = Team::default();
        team.rouse(crate::cores::cores() + 1);
        assert!(team.awake(2).is_none(), "each would take another's core");
        let team = Team::default();
        assert!(team.awake(2).is_none(), "there is nobody");
        let turn = team.turn();
        assert!(team.awake(1).is_none(), "another thread launches");
        drop(turn);
        assert!(team.awake(1).is_some(), "there is nobody who could sleep");
    }

    #[test]
    fn workers_are_woken_for_launches_in_a_row_and_not_all_the_time() {
        let start = Instant::now();
        let mut haste = Haste::default();
        let at = |micros| start + Duration::from_micros(micros);
        for (began, ended, woken) in [
            (0, 10, false),
            (100, 190, false),
            // However long it takes itself.
            (200, 500, true),
            (510, 520, false),
            (1400, 1499, false),
            // Long enough after the last time, but not in a row.
            (1600, 1610, false),
            (1649, 1700, true),
            (1701, 1702, false),
        ] {
            assert_eq!(haste.alone(at(began), at(ended)), woken, "{began}");
        }
    }
}
