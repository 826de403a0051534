//! Numbers as a column: what stands for many instructions at once, in as few characters as is simple.
//!
//! Schedules repeat themselves, so that most differences between neighbours do: a ring of 64 ranks then fits into a few kilobytes.

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A list of numbers. As JSON it is a list, or `{"d": [difference, times, ...]}` of the differences to the number before, the first
/// to 0, where that is shorter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Column(Vec<i64>);

impl Column {
    /// Differences and how often each repeats, alternating.
    fn differences(&self) -> Vec<i64> {
        let mut runs: Vec<i64> = Vec::new();
        let mut before = 0;
        for &number in &self.0 {
            let difference = number - before;
            before = number;
            match runs.last_chunk_mut() {
                Some([of, times]) if *of == difference => *times += 1,
                _ => runs.extend([difference, 1]),
            }
        }
        runs
    }
}

impl FromIterator<i64> for Column {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl FromIterator<u32> for Column {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().map(i64::from).collect())
    }
}

impl FromIterator<Option<u32>> for Column {
    fn from_iter<I: IntoIterator<Item = Option<u32>>>(numbers: I) -> Self {
        Self(numbers.into_iter().map(|number| number.map_or(-1, i64::from)).collect())
    }
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.differences();
        if runs.len() >= self.0.len() {
            return self.0.serialize(serializer);
        }
        let mut object = serializer.serialize_struct("Column", 1)?;
        object.serialize_field("d", &runs)?;
        object.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_form_is_written() {
        for (numbers, json) in [
            (&[][..], "[]"),
            (&[7_u32], "[7]"),
            (&[3, 1, 4], "[3,1,4]"),
            (&[0, 1, 2, 3, 4], r#"{"d":[0,1,1,4]}"#),
            (&[5, 5, 5, 5, 5], r#"{"d":[5,1,0,4]}"#),
            (&[1, 2, 3, 4, 1, 2, 3, 4], r#"{"d":[1,4,-3,1,1,3]}"#),
        ] {
            let column: Column = numbers.iter().copied().collect();
            assert_eq!(serde_json::to_string(&column).unwrap(), json);
        }
        let missing: Column = [Some(2), None].into_iter().collect();
        assert_eq!(serde_json::to_string(&missing).unwrap(), "[2,-1]");
    }
}
