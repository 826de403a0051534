//! From times to bandwidths: nccl-tests' two, and the memory traffic that the schedule itself asks for.
//!
//! On one device every link is the same memory, so `busbw` only compares algorithms; `membw` is what hardware delivers.

use wgccl::low_level::payload::Payload;
use wgccl::schedule::{Address, Buffer, Instruction, Schedule};

/// `bytes` in `microseconds`, as GB/s with 10^9 bytes.
pub fn rate(bytes: f64, microseconds: f64) -> f64 {
    if microseconds > 0.0 { bytes / microseconds / 1e3 } else { 0.0 }
}

/// Elements that one launch reads and writes: every operand and every destination, short chunks by their real length.
pub fn elements_moved(schedule: &Schedule, payload: &Payload) -> u64 {
    let instructions = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
    instructions.map(|instruction| moved(instruction, payload)).sum()
}

fn moved(instruction: &Instruction, payload: &Payload) -> u64 {
    let addresses: Vec<Address> = instruction.from.iter().chain(&instruction.to).copied().collect();
    let first = addresses.iter().filter_map(|address| chunk(address, payload)).min_by_key(|&(order, _)| order);
    let elements: usize = (0..instruction.chunks)
        .map(|k| match first {
            Some((_, chunk)) => payload.elements(chunk.saturating_add(k) % payload.chunks).len(),
            None => payload.chunk_elements,
        })
        .sum();
    elements as u64 * addresses.len() as u64
}

/// Which chunk of a part lies at `address`, and how much that is to be trusted: inputs and outputs hold each chunk at its
/// own index, slots usually do, and slots beyond a part's chunks hold any.
fn chunk(address: &Address, payload: &Payload) -> Option<(u8, u32)> {
    match address.buffer {
        Buffer::Input | Buffer::Output => Some((0, address.chunk)),
        Buffer::Slot => (address.chunk < payload.chunks).then_some((1, address.chunk)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgccl::collective::Collective;
    use wgccl::schedule::{Algorithm, SyncStyle, build};

    fn moved_by(algorithm: Algorithm, ranks: u32, count: usize) -> u64 {
        let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        elements_moved(&schedule, &Payload::new(&schedule, count, 4).unwrap())
    }

    #[test]
    fn traffic_of_the_rings() {
        // Per rank and chunk of the payload: RS reads two and writes one, AG reads one and writes one. The staged ring
        // adds stage-in and stage-out, two accesses each; the exchange ring publishes once a round.
        for ranks in [2_u64, 3, 4, 8] {
            let (p, count) = (ranks, 240 * ranks as usize);
            let chunk = count as u64 / p;
            let staged = p * chunk * (2 * p + 3 * (p - 1) + 2 * (p - 1) + 2 * p);
            assert_eq!(moved_by(Algorithm::RingStaged, ranks as u32, count), staged, "{ranks}");
            assert!(moved_by(Algorithm::Ring, ranks as u32, count) < staged);
            assert!(moved_by(Algorithm::RingExchange, ranks as u32, count) > staged);
        }
    }

    #[test]
    fn every_part_counts() {
        // 5 elements are a chunk; P of them are read and written by each of P ranks.
        let schedule = build(Collective::AllGather, Algorithm::Mesh, 4, SyncStyle::Neighbor).unwrap();
        assert_eq!(elements_moved(&schedule, &Payload::new(&schedule, 5, 4).unwrap()), 2 * 5 * 16);
    }

    #[test]
    fn short_chunks_count_by_their_length() {
        // 5 elements in chunks of 4 for 4 ranks: 4, 1, 0, 0.
        assert!(moved_by(Algorithm::RingStaged, 4, 5) < moved_by(Algorithm::RingStaged, 4, 16) / 2);
        assert_eq!(moved_by(Algorithm::RingStaged, 4, 5) % 5, 0);
        assert_eq!(moved_by(Algorithm::Ring, 1, 5), 10);
    }

    #[test]
    fn rates_are_in_gigabytes_of_ten_to_the_nine() {
        assert_eq!(rate(1e9, 1e6), 1.0);
        assert_eq!(rate(1.0, 0.0), 0.0);
    }
}
