//! What a collective promises, as data: who has which buffers, and what every part of every output holds.
//!
//! NCCL's semantics stand here once; proofs, executors, golden, inputs and bandwidths ask this and know no collective.

use super::Collective;

/// A collective, and what it needs beyond its name.
///
/// Buffers consist of *parts* of the payload's `count` elements each; a rank has 0, 1 or as many parts as there are ranks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Task {
    /// What is computed.
    pub collective: Collective,
    /// The root, where [`Collective::has_root`]; else it means nothing.
    pub root: u32,
    /// Of send-recv: the rank whose input each rank receives. Empty: its left neighbour's, as in nccl-tests, so that every
    /// rank sends to the next.
    pub sources: Vec<u32>,
}

/// What a part of an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Holds {
    /// The reduction, over all ranks, of this part of their inputs.
    Reduction {
        /// Which part.
        part: u32,
    },
    /// A part of one rank's input.
    Copy {
        /// Whose.
        rank: u32,
        /// Which part of it.
        part: u32,
    },
}

impl From<Collective> for Task {
    /// With root 0; send-recv to the next rank.
    fn from(collective: Collective) -> Self {
        Self { collective, root: 0, sources: Vec::new() }
    }
}

impl Task {
    /// With this root.
    #[must_use]
    pub fn root(mut self, root: u32) -> Self {
        self.root = root;
        self
    }

    /// Send-recv in which rank r receives from `sources[r]`.
    pub fn send_recv(sources: Vec<u32>) -> Self {
        Self { sources, ..Collective::SendRecv.into() }
    }

    /// Parts of `rank`'s input, of `ranks` ranks.
    pub fn input_parts(&self, rank: u32, ranks: u32) -> u32 {
        use Collective::*;
        match self.collective {
            AllReduce | AllGather | Reduce | Gather | SendRecv => 1,
            ReduceScatter | AllToAll => ranks,
            Broadcast if rank == self.root => 1,
            Scatter if rank == self.root => ranks,
            Broadcast | Scatter | Barrier => 0,
        }
    }

    /// Parts of `rank`'s output, of `ranks` ranks.
    pub fn output_parts(&self, rank: u32, ranks: u32) -> u32 {
        use Collective::*;
        match self.collective {
            AllReduce | ReduceScatter | Broadcast | Scatter | SendRecv => 1,
            AllGather | AllToAll => ranks,
            Reduce if rank == self.root => 1,
            Gather if rank == self.root => ranks,
            Reduce | Gather | Barrier => 0,
        }
    }

    /// What part `part` of `rank`'s output must hold, of `ranks` ranks. Of parts that do not exist it says nothing of use.
    pub fn holds(&self, rank: u32, part: u32, ranks: u32) -> Holds {
        use Collective::*;
        match self.collective {
            AllReduce | Reduce | Barrier => Holds::Reduction { part },
            ReduceScatter => Holds::Reduction { part: rank },
            AllGather | Gather => Holds::Copy { rank: part, part: 0 },
            Broadcast => Holds::Copy { rank: self.root, part: 0 },
            Scatter => Holds::Copy { rank: self.root, part: rank },
            AllToAll => Holds::Copy { rank: part, part: rank },
            SendRecv => Holds::Copy { rank: self.source(rank, ranks), part: 0 },
        }
    }

    /// Of send-recv: whose input `rank` receives.
    pub fn source(&self, rank: u32, ranks: u32) -> u32 {
        self.sources.get(rank as usize).copied().unwrap_or((rank + ranks - 1) % ranks.max(1))
    }

    /// In place: the part of `rank`'s one buffer at which its input begins, by NCCL's rules.
    pub fn input_in_place(&self, rank: u32) -> u32 {
        match self.collective {
            Collective::AllGather => rank,
            Collective::Gather if rank == self.root => rank,
            _ => 0,
        }
    }

    /// In place: the part of `rank`'s one buffer at which its output begins, by NCCL's rules.
    pub fn output_in_place(&self, rank: u32) -> u32 {
        match self.collective {
            Collective::ReduceScatter => rank,
            Collective::Scatter if rank == self.root => rank,
            _ => 0,
        }
    }

    /// Whether the task can be one of `ranks` ranks.
    ///
    /// # Errors
    /// [`TaskError`] for a root or a source that is no rank.
    pub fn check(&self, ranks: u32) -> Result<(), TaskError> {
        if self.collective.has_root() && self.root >= ranks {
            return Err(TaskError::Root { root: self.root, ranks });
        }
        if self.collective != Collective::SendRecv || self.sources.is_empty() {
            return Ok(());
        }
        if self.sources.len() != ranks as usize {
            return Err(TaskError::Sources { sources: self.sources.len(), ranks });
        }
        match (0..).zip(&self.sources).find(|&(_, &source)| source >= ranks) {
            Some((rank, &source)) => Err(TaskError::Source { rank, from: source, ranks }),
            None => Ok(()),
        }
    }
}

/// A task that cannot be one of this number of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum TaskError {
    /// A root that is no rank.
    #[error("root {root} is not a rank: there are ranks 0 to {}", .ranks.saturating_sub(1))]
    Root { root: u32, ranks: u32 },
    /// Not one source for each rank.
    #[error("{sources} sources for {ranks} ranks: give one for each rank")]
    Sources { sources: usize, ranks: u32 },
    /// A source that is no rank.
    #[error(
        "rank {rank} receives from rank {}, which does not exist: there are ranks 0 to {}",
        .from,
        .ranks.saturating_sub(1)
    )]
    Source { rank: u32, from: u32, ranks: u32 },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in an output is in some input, and nothing that a rank gives in place lies outside its buffer.
    #[test]
    fn promises_can_be_kept() {
        for &collective in Collective::ALL {
            for (ranks, root) in [(1, 0), (2, 1), (5, 0), (5, 3)] {
                let task = Task::from(collective).root(root);
                assert_eq!(task.check(ranks), Ok(()));
                for rank in 0..ranks {
                    let (input, output) = (task.input_parts(rank, ranks), task.output_parts(rank, ranks));
                    for part in 0..output {
                        match task.holds(rank, part, ranks) {
                            Holds::Reduction { part } => {
                                assert!((0..ranks).all(|peer| part < task.input_parts(peer, ranks)));
                            }
                            Holds::Copy { rank: from, part } => assert!(part < task.input_parts(from, ranks)),
                        }
                    }
                    if collective.has_in_place() {
                        let length = input.max(output);
                        assert!(task.input_in_place(rank) + input <= length, "{collective} {rank} of {ranks}");
                        assert!(task.output_in_place(rank) + output <= length, "{collective} {rank} of {ranks}");
                    }
                }
            }
        }
    }

    #[test]
    fn tasks_that_cannot_be_are_refused() {
        let send_recv = |sources: &[u32]| Task::send_recv(sources.to_vec());
        for (task, text) in [
            (Task::from(Collective::Reduce).root(3), "root 3 is not a rank: there are ranks 0 to 2"),
            (send_recv(&[0, 1]), "2 sources for 3 ranks"),
            (send_recv(&[0, 1, 3]), "rank 2 receives from rank 3, which does not exist"),
        ] {
            assert!(task.check(3).unwrap_err().to_string().contains(text), "{task:?}");
        }
        assert_eq!(Task::from(Collective::AllReduce).root(3).check(3), Ok(()));
        assert_eq!(send_recv(&[2, 2, 0]).check(3), Ok(()));
    }
}
