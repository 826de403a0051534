//! The collectives, each as the call that a user makes.

use super::Communicator;
use crate::backend::{Backend, Ran};
use crate::collective::{Collective, Op, Task};
use crate::element::Element;
use crate::error::Error;

impl<B: Backend> Communicator<B> {
    /// Reduces over all ranks; every rank gets the result. All slices are equally long.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn all_reduce<T: Element>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]], op: Op) -> Result<Ran, Error> {
        self.run(Collective::AllReduce, inputs, outputs, op)
    }

    /// Every rank gets the inputs of all ranks, in rank order: outputs are P times as long as inputs.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn all_gather<T: Element>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Ran, Error> {
        self.run(Collective::AllGather, inputs, outputs, Op::Sum)
    }

    /// Reduces over all ranks; rank r gets part r of the result: inputs are P times as long as outputs.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn reduce_scatter<T: Element>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]], op: Op) -> Result<Ran, Error> {
        self.run(Collective::ReduceScatter, inputs, outputs, op)
    }

    /// Every rank gets the root's input.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn broadcast<T: Element>(&self, input: &[T], outputs: &mut [&mut [T]], root: u32) -> Result<Ran, Error> {
        let inputs = self.only(root, input);
        self.run(Task::from(Collective::Broadcast).root(root), &inputs, outputs, Op::Sum)
    }

    /// Reduces over all ranks; the root gets the result.
    ///
    /// # Errors
    /// [`Error`]; the output then holds nothing of use.
    pub fn reduce<T: Element>(&self, inputs: &[&[T]], output: &mut [T], op: Op, root: u32) -> Result<Ran, Error> {
        let mut outputs = self.only(root, output);
        self.run(Task::from(Collective::Reduce).root(root), inputs, &mut outputs, op)
    }

    /// The root gets the inputs of all ranks, in rank order.
    ///
    /// # Errors
    /// [`Error`]; the output then holds nothing of use.
    pub fn gather<T: Element>(&self, inputs: &[&[T]], output: &mut [T], root: u32) -> Result<Ran, Error> {
        let mut outputs = self.only(root, output);
        self.run(Task::from(Collective::Gather).root(root), inputs, &mut outputs, Op::Sum)
    }

    /// Rank r gets part r of the root's input.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn scatter<T: Element>(&self, input: &[T], outputs: &mut [&mut [T]], root: u32) -> Result<Ran, Error> {
        let inputs = self.only(root, input);
        self.run(Task::from(Collective::Scatter).root(root), &inputs, outputs, Op::Sum)
    }

    /// Rank r gets part r of every rank's input, in rank order. All slices are equally long.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn all_to_all<T: Element>(&self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Ran, Error> {
        self.run(Collective::AllToAll, inputs, outputs, Op::Sum)
    }

    /// Rank r gets the input of rank `sources[r]`.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn send_recv<T: Element>(
        &self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        sources: &[u32],
    ) -> Result<Ran, Error> {
        self.run(Task::send_recv(sources.to_vec()), inputs, outputs, Op::Sum)
    }

    /// Returns once every rank has come to it. Nothing is moved.
    ///
    /// # Errors
    /// [`Error`].
    pub fn barrier(&self) -> Result<Ran, Error> {
        let ranks = self.ranks as usize;
        let mut outputs: Vec<&mut [u8]> = (0..ranks).map(|_| Default::default()).collect();
        self.run(Collective::Barrier, &vec![&[][..]; ranks], &mut outputs, Op::Sum)
    }

    /// The root's buffer, and an empty one for everybody else.
    fn only<S: Default>(&self, root: u32, buffer: S) -> Vec<S> {
        let mut buffers: Vec<S> = (0..self.ranks).map(|_| S::default()).collect();
        // A root that is no rank is refused when the schedule is built.
        if let Some(place) = buffers.get_mut(root as usize) {
            *place = buffer;
        }
        buffers
    }
}
