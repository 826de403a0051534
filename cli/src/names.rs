//! Names as people type them, and what was meant where there is no such name.
//!
//! The library reads them in any case and with anything between words; every option goes through this one file, so that
//! what one takes all of them take.

use std::str::FromStr;

use strsim::damerau_levenshtein;
use wgccl::collective::UnknownName;

/// Reads a name of the library.
///
/// # Errors
/// What there is, the nearest first.
pub(crate) fn parse<T: FromStr<Err = UnknownName>>(name: &str) -> Result<T, String> {
    name.parse().map_err(|error| explain(&error, &[]))
}

/// Whether `text` is the word, in any case.
pub(crate) fn is(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

/// The error, with `more` words that are taken in the same place.
pub(crate) fn explain(error: &UnknownName, more: &[&str]) -> String {
    let UnknownName { kind, name, known, .. } = error;
    let all: Vec<&str> = known.split(", ").chain(more.iter().copied()).collect();
    let meant = nearest(name, &all).map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
    format!("{kind} '{name}' does not exist here{meant}; choose one of: {}", all.join(", "))
}

/// Of few letters, two names can differ in one and have nothing to do with each other.
const LETTERS_PER_MISTAKE: usize = 3;

fn nearest<'a>(name: &str, all: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let distance = |other: &&&str| damerau_levenshtein(&name, other);
    let found = all.iter().min_by_key(distance)?;
    (distance(&found) <= name.len() / LETTERS_PER_MISTAKE).then_some(*found)
}

#[cfg(test)]
mod tests {
    use wgccl::collective::{Collective, Op};
    use wgccl::element::DataType;
    use wgccl::schedule::{Algorithm, Selection};

    use super::*;

    #[test]
    fn the_nearest_name_is_proposed_and_all_are_listed() {
        for (error, meant) in [
            (parse::<Collective>("all-redcue").unwrap_err(), Some("all-reduce")),
            (parse::<Collective>("ALL_GATHR").unwrap_err(), Some("all-gather")),
            (parse::<Collective>("brodcast").unwrap_err(), Some("broadcast")),
            (parse::<Selection>("trees").unwrap_err(), Some("tree")),
            (parse::<Selection>("rign").unwrap_err(), Some("ring")),
            (parse::<Selection>("autp").unwrap_err(), Some("auto")),
            (parse::<DataType>("f23").unwrap_err(), Some("f32")),
            (parse::<DataType>("f8").unwrap_err(), None),
            (parse::<DataType>("complex64").unwrap_err(), None),
            (parse::<Op>("xor").unwrap_err(), None),
            (parse::<Op>("").unwrap_err(), None),
        ] {
            let said =
                error.split_once("did you mean ").and_then(|(_, rest)| rest.split_once('?')).map(|(name, _)| name);
            assert_eq!(said, meant, "{error}");
        }
        let error = parse::<Algorithm>("trees").unwrap_err();
        assert!(error.contains("choose one of: mesh, ring") && error.ends_with("dissemination"), "{error}");
    }

    /// A name of a thousand letters, of which nobody meant one.
    #[test]
    fn nothing_is_near_a_name_that_is_none() {
        assert_eq!(nearest(&"x".repeat(1000), &["ring", "tree"]), None);
        assert_eq!(nearest("ring", &[]), None);
    }
}
