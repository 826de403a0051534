//! CPU executors among several devices whose launches something stands around: a network that disturbs, a failure.

use std::sync::Arc;

use wgccl::backend::{Member, Message, Options, Prepared, Ran, Shape, Share, Transport};
use wgccl::cpu::Cpu;
use wgccl::error::{PrepareError, RunError, TransportError};
use wgccl::lower::{Part, Pieced};
use wgccl::schedule::DeviceKind;

/// What a launch is, to what stands around it.
pub(crate) type Launch<'a> = &'a mut dyn FnMut(&mut dyn Transport) -> Result<Ran, RunError>;

/// What stands around the launches of a part.
pub(crate) trait Around: Send {
    fn launch(&mut self, transport: &mut dyn Transport, launch: Launch<'_>) -> Result<Ran, RunError>;
}

/// A device whose parts each have what `around` makes around them.
pub(crate) struct Behind<F> {
    pub(crate) name: &'static str,
    /// Vectors that it works on at a time.
    pub(crate) vectors: usize,
    pub(crate) around: F,
}

impl<F> Behind<F> {
    pub(crate) fn member<A: Around + 'static>(name: &'static str, around: F) -> Arc<dyn Member>
    where
        F: Fn() -> A + Send + Sync + 'static,
    {
        Arc::new(Self { name, vectors: usize::MAX, around })
    }
}

struct BehindShare<A> {
    inner: Box<dyn Share>,
    around: A,
}

impl<A: Around + 'static, F: Fn() -> A + Send + Sync> Member for Behind<F> {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn most_vectors(&self, _: &Part, _: Shape, _: &Options) -> Result<usize, PrepareError> {
        Ok(self.vectors)
    }

    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError> {
        let inner = Cpu::new().prepare_part(part, shape, pieced, options)?;
        Ok(Box::new(BehindShare { inner, around: (self.around)() }))
    }
}

impl<A: Around> Share for BehindShare<A> {
    fn prepared(&self) -> Prepared {
        self.inner.prepared()
    }

    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        let inner = &mut self.inner;
        self.around.launch(transport, &mut |transport| inner.run(inputs, outputs, transport))
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError> {
        let inner = &mut self.inner;
        self.around.launch(transport, &mut |transport| inner.run_in_place(buffers, transport))
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.inner.load(piece, inputs)
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        let inner = &mut self.inner;
        self.around.launch(transport, &mut |transport| inner.launch(transport))
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.inner.fetch(outputs)
    }
}

/// A transport that calls `turn` before each message, and says whether that is sent.
pub(crate) struct Watched<'a> {
    pub(crate) inner: &'a mut dyn Transport,
    pub(crate) turn: &'a mut dyn FnMut(bool) -> Result<(), TransportError>,
}

impl Transport for Watched<'_> {
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        (self.turn)(true)?;
        self.inner.send(message, fill)
    }

    unsafe fn send_from(&mut self, message: Message, from: *const u8) -> Result<(), TransportError> {
        (self.turn)(true)?;
        // SAFETY: handed on.
        unsafe { self.inner.send_from(message, from) }
    }

    unsafe fn land(&mut self, message: Message, at: *mut u8) {
        // SAFETY: handed on.
        unsafe { self.inner.land(message, at) };
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        (self.turn)(false)?;
        self.inner.receive(message, take)
    }
}
