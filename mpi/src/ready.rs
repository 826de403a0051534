//! A schedule made ready on all processes, of which this one carries out its part.

use std::fmt;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Instant;

use wgccl::backend::{self, Message, Prepared, Ran, Share};
use wgccl::error::{RunError, TransportError};
use wgccl::low_level::buffers::{BufferError, UserBuffer};
use wgccl::lower::{Pieced, Split};

use crate::courier::{Courier, Traffic};
use crate::world::World;

/// A schedule made ready on all processes. All of them launch it, or none.
pub struct MpiReady {
    world: Rc<World>,
    split: Split,
    pieced: Pieced,
    /// Leaked where a launch failed, for MPI may still read and write there.
    share: ManuallyDrop<Box<dyn Share>>,
    traffic: Traffic,
    launches: u64,
    /// No launch runs, and none has failed.
    whole: bool,
    /// What is received, in order: in a launch over everything, and in one over the loaded piece, if one is.
    of_all: Rc<[Message]>,
    of_loaded: Option<Rc<[Message]>>,
}

impl MpiReady {
    pub(crate) fn new(world: Rc<World>, split: Split, pieced: Pieced, share: Box<dyn Share>, traffic: Traffic) -> Self {
        let of_all = Message::received(&split.parts()[world.me as usize], &pieced, None).into();
        let share = ManuallyDrop::new(share);
        Self { world, split, pieced, share, traffic, launches: 0, whole: true, of_all, of_loaded: None }
    }

    /// What each process carries out, and what moves between them.
    pub fn split(&self) -> &Split {
        &self.split
    }

    fn check(&self, what: UserBuffer, got: usize) -> Result<(), RunError> {
        let ranks = self.split.placement().ranks();
        match got == ranks as usize {
            true => Ok(()),
            false => Err(BufferError::Number { what, got, ranks }.into()),
        }
    }

    /// One launch, as `go` makes it. If it fails, or unwinds, the others are told.
    fn launched(
        &mut self,
        plan: Rc<[Message]>,
        go: impl FnOnce(&mut dyn Share, &mut Courier<'_>) -> Result<Ran, RunError>,
    ) -> Result<Ran, RunError> {
        self.world.usable()?;
        self.launches += 1;
        let start = Instant::now();
        let mut guard = Guard { world: &self.world, reason: Some("it panicked".to_owned()) };
        self.whole = false;
        let mut courier = Courier::new(&self.world, &mut self.traffic, &plan, self.launches);
        let ran = go(&mut **self.share, &mut courier).and_then(|ran| {
            courier.finish()?;
            Ok(ran)
        });
        self.whole = ran.is_ok();
        guard.reason = ran.as_ref().err().map(|error| match error {
            // In the others' words it is clearer who is meant.
            RunError::Transport(TransportError::Ended { reason, .. }) => reason.clone(),
            error => error.to_string(),
        });
        drop(guard);
        let mut ran = ran?;
        ran.time = Some(start.elapsed());
        Ok(ran)
    }
}

impl Drop for MpiReady {
    fn drop(&mut self) {
        if self.whole {
            // SAFETY: it is not used any more.
            unsafe { ManuallyDrop::drop(&mut self.share) };
        }
    }
}

/// Tells the others of a failure.
struct Guard<'a> {
    world: &'a World,
    reason: Option<String>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            self.world.fail(reason);
        }
    }
}

impl backend::Ready for MpiReady {
    /// Of this process's part.
    fn prepared(&self) -> Prepared {
        self.share.prepared()
    }

    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        let checked =
            self.check(UserBuffer::Input, inputs.len()).and_then(|()| self.check(UserBuffer::Output, outputs.len()));
        self.launched(self.of_all.clone(), |share, courier| {
            checked?;
            share.run(inputs, outputs, courier)
        })
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        let checked = self.check(UserBuffer::InPlace, buffers.len());
        self.launched(self.of_all.clone(), |share, courier| {
            checked?;
            share.run_in_place(buffers, courier)
        })
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.of_loaded = None;
        let pieces = self.pieced.count();
        if piece >= pieces {
            return Err(RunError::NoSuchPiece { piece, pieces });
        }
        let what = if self.split.whole().in_place() { UserBuffer::InPlace } else { UserBuffer::Input };
        self.check(what, inputs.len())?;
        self.share.load(piece, inputs)?;
        let received = Message::received(&self.split.parts()[self.world.me as usize], &self.pieced, Some(piece));
        self.of_loaded = Some(received.into());
        Ok(())
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        // The others, which may have loaded theirs, are told.
        let plan = self.of_loaded.clone();
        self.launched(plan.clone().unwrap_or_default(), |share, courier| {
            plan.ok_or(RunError::NotLoaded)?;
            share.launch(courier)
        })
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.check(self.split.whole().extents(0).results(), outputs.len())?;
        self.share.fetch(outputs)
    }
}

impl fmt::Debug for MpiReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiReady")
            .field("placement", self.split.placement())
            .field("processes", &self.world.names)
            .finish_non_exhaustive()
    }
}
