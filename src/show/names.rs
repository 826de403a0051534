//! Short names of places, ranks and values, as text and SVG have room for them.
//!
//! Apart, so that all drawings speak alike.

use std::fmt::Write;

use super::picture::{Picture, Step};
use crate::schedule::Buffer;

/// "o3" of output chunk 3; a run of chunks is "o3-5".
pub(super) fn place(picture: &Picture, place: u32, chunks: u32) -> String {
    let Some((of, chunk)) = picture.at(place) else { return "?".to_owned() };
    let letter = letter(of.buffer);
    match chunks {
        1 => format!("{letter}{chunk}"),
        _ => format!("{letter}{chunk}-{}", chunk + chunks - 1),
    }
}

pub(super) fn letter(buffer: Buffer) -> char {
    match buffer {
        Buffer::Input => 'i',
        Buffer::Output => 'o',
        Buffer::Slot => 's',
    }
}

/// As [`place`], with the rank before it if that is not `own`: "2.o3".
pub(super) fn of_rank(picture: &Picture, at: u32, chunks: u32, own: u32) -> String {
    let rank = rank(picture, at);
    let name = place(picture, at, chunks);
    if rank == own { name } else { format!("{rank}.{name}") }
}

/// Whose place it is.
pub(super) fn rank(picture: &Picture, place: u32) -> u32 {
    picture.at(place).map_or(0, |(of, _)| of.rank)
}

/// The ranks other than `own` whose memory an instruction reads, in its order, each once.
pub(super) fn read_from(picture: &Picture, step: &Step) -> Vec<u32> {
    others(picture, step, &step.from)
}

/// The ranks other than `own` whose memory an instruction writes.
pub(super) fn written_to(picture: &Picture, step: &Step) -> Vec<u32> {
    others(picture, step, &step.to)
}

fn others(picture: &Picture, step: &Step, places: &[u32]) -> Vec<u32> {
    let own = picture.rank_of(step);
    let mut ranks: Vec<u32> = Vec::new();
    for rank in places.iter().map(|&place| rank(picture, place)) {
        if rank != own && !ranks.contains(&rank) {
            ranks.push(rank);
        }
    }
    ranks
}

/// Numbers with commas; runs of three and more as "0-7".
pub(super) fn list(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(first..).take_while(|&(&number, expected)| number == expected).count();
        let run = if run > 2 { run } else { 1 };
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match run {
            1 => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}-{}", rest[run - 1]),
        };
        rest = &rest[run..];
    }
    text
}

/// The order of additions that made `term`, such as "((1 + 2) + 3) + 0": the ranks whose contributions they are. None where
/// it is longer than `most` characters.
pub(super) fn sum(picture: &Picture, term: u32, most: usize) -> Option<String> {
    enum Part {
        Term(u32, bool),
        Text(&'static str),
    }
    let mut text = String::new();
    let mut stack = vec![Part::Term(term, false)];
    while let Some(part) = stack.pop() {
        match part {
            Part::Text(of) => text += of,
            Part::Term(term, inner) => match (term, term.checked_sub(1 + picture.inputs.terms)) {
                (0, _) => text += "nothing",
                (_, None) => {
                    let of_all = (term - 1) / picture.inputs.chunks.max(1);
                    let _ = write!(text, "{}", picture.inputs.only.unwrap_or(of_all));
                }
                (_, Some(at)) => {
                    let [a, b] = picture.reductions[at as usize];
                    stack.extend(inner.then_some(Part::Text(")")));
                    stack.extend([Part::Term(b, true), Part::Text(" + "), Part::Term(a, true)]);
                    stack.extend(inner.then_some(Part::Text("(")));
                }
            },
        }
        if text.len() > most {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers_are_short() {
        for (numbers, text) in [
            (&[][..], ""),
            (&[3], "3"),
            (&[0, 1], "0,1"),
            (&[0, 1, 2, 5], "0-2,5"),
            (&[5, 4, 3], "5,4,3"),
            (&[7, 0, 1, 2, 3], "7,0-3"),
        ] {
            assert_eq!(list(numbers), text);
        }
    }
}
