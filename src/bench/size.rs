//! Sizes as nccl-tests reads them, and the sizes of a sweep.
//!
//! People paste `-b 8 -e 128M -f 2` from elsewhere, so it must mean the same here; only trailing junk is refused.

use super::BenchError;

/// Bytes in `text`: a number, and K, M or G (also KB, KiB, ...) for the powers of 1024.
///
/// # Errors
/// [`BenchError::Size`].
pub fn parse(text: &str) -> Result<u64, BenchError> {
    let refused = || BenchError::Size(text.to_owned());
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| refused())?;
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(refused()),
    };
    let bytes = number * factor as f64;
    (bytes >= 0.0 && bytes < u64::MAX as f64).then_some(bytes as u64).ok_or_else(refused)
}

/// How a sweep goes from one size to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Add so many bytes.
    Bytes(u64),
    /// Multiply.
    Factor(u64),
}

/// A sweep of sizes, both ends included where a step meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Smallest size in bytes.
    pub first: u64,
    /// Largest size in bytes.
    pub last: u64,
    /// From one to the next.
    pub step: Step,
}

/// More sizes than anybody waits for; a step of one byte by mistake would otherwise run for ever.
const MOST: usize = 100_000;

impl Range {
    /// Element counts of the sweep, smallest first and each once: nccl-tests rounds sizes down to whole elements.
    ///
    /// # Errors
    /// [`BenchError::Range`] for a sweep without sizes or without an end.
    pub fn counts(self, element_bytes: usize) -> Result<Vec<usize>, BenchError> {
        let refused = |why| Err(BenchError::Range { first: self.first, last: self.last, why });
        if self.first > self.last {
            return refused("the first size is above the last");
        }
        if self.first < element_bytes as u64 {
            return refused("the first size is less than an element");
        }
        if matches!(self.step, Step::Bytes(0) | Step::Factor(0 | 1)) && self.first < self.last {
            return refused("the step leads nowhere");
        }
        let mut counts = Vec::new();
        let mut size = Some(self.first);
        while let Some(bytes) = size.filter(|&bytes| bytes <= self.last) {
            if counts.len() == MOST {
                return refused("the step gives more than 100000 sizes");
            }
            counts.push((bytes / element_bytes as u64) as usize);
            size = match self.step {
                Step::Bytes(by) => bytes.checked_add(by.max(1)),
                Step::Factor(by) => bytes.checked_mul(by.max(2)),
            };
        }
        counts.dedup();
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_nothing_else_may_follow() {
        for (text, bytes) in [
            ("8", Some(8)),
            ("0", Some(0)),
            ("1K", Some(1024)),
            ("1k", Some(1024)),
            ("32M", Some(32 << 20)),
            ("1.5G", Some(3 << 29)),
            ("8KB", Some(8192)),
            ("8kib", Some(8192)),
            ("8MB", Some(8 << 20)),
            ("8MiB", Some(8 << 20)),
            ("2GiB", Some(2 << 30)),
            ("100B", Some(100)),
            ("", None),
            ("K", None),
            ("8 K", None),
            ("8T", None),
            ("8Kx", None),
            ("8K8", None),
            ("-8", None),
            ("1e400", None),
            ("nan", None),
            ("inf", None),
        ] {
            assert_eq!(parse(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn sweeps_step_by_bytes_or_by_a_factor() {
        for (first, last, step, counts) in [
            (8, 64, Step::Factor(2), Some(vec![2, 4, 8, 16])),
            (8, 63, Step::Factor(2), Some(vec![2, 4, 8])),
            (8, 32, Step::Bytes(8), Some(vec![2, 4, 6, 8])),
            (8, 12, Step::Bytes(1), Some(vec![2, 3])),
            (8, 8, Step::Bytes(0), Some(vec![2])),
            (8, 16, Step::Bytes(0), None),
            (8, 16, Step::Factor(1), None),
            (16, 8, Step::Factor(2), None),
            (0, 8, Step::Factor(2), None),
            (3, 8, Step::Factor(2), None),
            (4, 1 << 40, Step::Bytes(4), None),
            (1 << 62, u64::MAX, Step::Factor(4), Some(vec![1 << 60])),
        ] {
            assert_eq!(Range { first, last, step }.counts(4).ok(), counts, "{first} {last} {step:?}");
        }
    }
}
