//! What an instruction is called by reports: a phase and round of an algorithm, or a file's own terms.
//!
//! Text is open, because an imported schedule speaks of thread blocks and steps. Labels of one phase share one text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name of an instruction for people, such as "RS round 2" or "gpu 3 tb 5 step 2".
///
/// Built-in algorithms name phase and round, which takes no allocation. Texts that end with a number share what stands
/// before it: see [`Label::numbered`].
///
/// ```
/// use wgccl::schedule::Label;
///
/// assert_eq!(Label::from(("RS", 2)).to_string(), "RS round 2");
/// assert_eq!(Label::from(("stage-in", 0)).to_string(), "stage-in");
/// assert_eq!(Label::from(("RS", 2)), Label::new("RS round 2"));
/// ```
#[derive(Clone)]
pub struct Label(Text);

/// One enum, numbers included: a schedule has millions of labels, and these are 24 bytes.
#[derive(Clone)]
enum Text {
    Phase(&'static str),
    Round(u32, &'static str),
    Shared(Arc<str>),
    Numbered(u32, Arc<str>),
}

impl Label {
    /// A label of this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(Text::Shared(text.into()))
    }

    /// `text`, a space and `number`. Clones of one `Arc` are one text in memory, however many labels share it.
    pub fn numbered(text: Arc<str>, number: u32) -> Self {
        Self(Text::Numbered(number, text))
    }

    /// What stands before the number at the end, and the number, if the label ends with one.
    fn parts(&self) -> (&str, bool, Option<u32>) {
        let split = |text: &str| -> Option<(usize, u32)> {
            let at = text.rfind(' ')?;
            let digits = &text[at + 1..];
            let number: u32 = digits.parse().ok()?;
            (digits.len() == number.to_string().len()).then_some((at, number))
        };
        let (text, number) = match &self.0 {
            Text::Phase(phase) => return (phase, false, None),
            Text::Round(round, phase) => return (phase, true, Some(*round)),
            Text::Numbered(number, text) => (&**text, Some(*number)),
            Text::Shared(text) => match split(text) {
                Some((at, number)) => (&text[..at], Some(number)),
                None => (&**text, None),
            },
        };
        match text.strip_suffix(" round") {
            Some(phase) if number.is_some() => (phase, true, number),
            _ => (text, false, number),
        }
    }
}

impl From<(&'static str, u32)> for Label {
    /// A phase and its round, from 1; round 0 stands for a phase without rounds.
    fn from((phase, round): (&'static str, u32)) -> Self {
        Self(if round > 0 { Text::Round(round, phase) } else { Text::Phase(phase) })
    }
}

impl From<&'static str> for Label {
    fn from(phase: &'static str) -> Self {
        Self(Text::Phase(phase))
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Text::Phase(phase) => f.write_str(phase),
            Text::Round(round, phase) => write!(f, "{phase} round {round}"),
            Text::Shared(text) => f.write_str(text),
            Text::Numbered(number, text) => write!(f, "{text} {number}"),
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// By the text that is printed.
impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // Nearly all labels are of this kind.
            (Text::Round(n, a), Text::Round(m, b)) => n == m && a == b,
            _ => self.parts() == other.parts(),
        }
    }
}

impl Eq for Label {}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_same_text_are_equal() {
        let tb: Arc<str> = "gpu 3 tb 5 step".into();
        for (label, text) in [
            (Label::from("move"), "move"),
            (Label::from(("move", 0)), "move"),
            (Label::from(("AG", 12)), "AG round 12"),
            (Label::numbered(tb, 7), "gpu 3 tb 5 step 7"),
            (Label::numbered("RS round".into(), 3), "RS round 3"),
            (Label::new("step 007"), "step 007"),
            (Label::new(""), ""),
            (Label::new("7"), "7"),
            (Label::new("round 1"), "round 1"),
        ] {
            assert_eq!(label.to_string(), text);
            assert_eq!(label, Label::new(text), "{text}");
        }
        let all = ["move", "move round 1", "move 1", "RS round 1", "RS round", "step 07", "step 7", " 7", "7", ""];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(Label::new(*a) == Label::new(*b), i == j, "{a:?} {b:?}");
            }
        }
    }
}
