//! Command lines, and sizes and sweeps by themselves: an argument is a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wgccl::collective::Collective;
use wgccl_cli::amount::{bytes, whole};
use wgccl_cli::bench::size::{Parts, Range, Step};
use wgccl_cli::cli::accepts;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words: Vec<&str> = text.split_whitespace().collect();
    let sizes: Vec<u64> = words.iter().filter_map(|word| bytes(word).ok()).collect();
    for word in &words {
        if let Ok(number) = whole::<u64>(word) {
            assert_eq!(bytes(word), Ok(number), "{word}");
        }
    }
    if let [first, last, by, ..] = sizes[..] {
        for step in [Step::Bytes(by), Step::Factor(by)] {
            for (collective, bytes) in
                [(Collective::AllReduce, 4), (Collective::AllGather, 1), (Collective::Barrier, 8)]
            {
                let parts = Parts::of(collective, words.len() as u32);
                if let Ok(counts) = (Range { first, last, step }.counts(bytes, parts)) {
                    assert!(!counts.is_empty() && counts.is_sorted(), "{first} {last} {step:?}");
                }
            }
        }
    }
    accepts(["wgccl"].into_iter().chain(words).map(Into::into));
});
