//! NCCL's semantics, written down a second time from its manual, naively and with no code of the library.

use wgccl::collective::Collective;

/// A collective, its root and the number of ranks. Send-recv goes to the next rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nccl {
    pub(crate) collective: Collective,
    pub(crate) root: u32,
    pub(crate) ranks: u32,
}

impl Nccl {
    /// How many times `count` elements `rank` gives and gets.
    pub(crate) fn parts(self, rank: u32) -> (u32, u32) {
        let at_root = |parts: u32| if rank == self.root { parts } else { 0 };
        let n = self.ranks;
        match self.collective {
            Collective::AllReduce => (1, 1),
            Collective::AllGather => (1, n),
            Collective::ReduceScatter => (n, 1),
            Collective::Broadcast => (at_root(1), 1),
            Collective::Reduce => (1, at_root(1)),
            Collective::Gather => (1, at_root(n)),
            Collective::Scatter => (at_root(n), 1),
            Collective::AllToAll => (n, n),
            Collective::SendRecv => (1, 1),
            Collective::Barrier => (0, 0),
            other => panic!("nobody has written down what {other} is"),
        }
    }

    /// The parts of inputs, by rank and part, whose sum part `part` of `rank`'s output is.
    pub(crate) fn terms(self, rank: u32, part: u32) -> Vec<(u32, u32)> {
        let sum = |part| (0..self.ranks).map(|peer| (peer, part)).collect();
        match self.collective {
            Collective::AllReduce | Collective::Reduce => sum(0),
            Collective::ReduceScatter => sum(rank),
            Collective::AllGather | Collective::Gather => vec![(part, 0)],
            Collective::Broadcast => vec![(self.root, 0)],
            Collective::Scatter => vec![(self.root, rank)],
            Collective::AllToAll => vec![(part, rank)],
            Collective::SendRecv if rank == 0 => vec![(self.ranks - 1, 0)],
            Collective::SendRecv => vec![(rank - 1, 0)],
            other => panic!("nobody has written down what {other} gives"),
        }
    }

    /// At which part of the one buffer a rank's input and its output begin, if they may be the same memory.
    pub(crate) fn in_place(self, rank: u32) -> Option<(u32, u32)> {
        match self.collective {
            Collective::AllReduce | Collective::Broadcast | Collective::Reduce => Some((0, 0)),
            Collective::AllGather => Some((rank, 0)),
            Collective::ReduceScatter => Some((0, rank)),
            Collective::Gather if rank == self.root => Some((rank, 0)),
            Collective::Scatter if rank == self.root => Some((0, rank)),
            Collective::Gather | Collective::Scatter => Some((0, 0)),
            _ => None,
        }
    }

    /// What `rank` gets. Sums are in rank order.
    pub(crate) fn output(self, rank: u32, count: usize, inputs: &[Vec<f32>]) -> Vec<f32> {
        self.combined(rank, count, inputs, |a, b| a + b)
    }

    /// The same of another type and operation.
    pub(crate) fn combined<T: Copy>(
        self,
        rank: u32,
        count: usize,
        inputs: &[Vec<T>],
        combine: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let (_, parts) = self.parts(rank);
        let mut output = Vec::new();
        for part in 0..parts {
            let terms = self.terms(rank, part);
            for i in 0..count {
                let values = terms.iter().map(|&(from, part)| inputs[from as usize][part as usize * count + i]);
                output.extend(values.reduce(&combine));
            }
        }
        output
    }
}
