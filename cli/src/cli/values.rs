//! Values of options: names and lists of names, read tolerantly, and told to completions and help.

use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use wgccl::collective::UnknownName;
use wgccl::schedule::{Algorithm, Selection};

use crate::device::{AUTO, CPU};
use crate::dispatch::Wanted;
use crate::names;

/// The word for every value that there is.
pub(super) const ALL: &str = "all";

/// A value that is one of some names, or says more than that.
#[derive(Clone)]
pub(super) struct Names<T> {
    parse: fn(&str) -> Result<T, String>,
    every: Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Names<T> {
    type Value = T;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &std::ffi::OsStr) -> Result<T, clap::Error> {
        self.parse.parse_ref(cmd, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.every.iter().map(PossibleValue::new)))
    }
}

impl<T> Names<T> {
    /// What `parse` reads: `every` and other words for the same.
    pub(super) fn new(every: impl IntoIterator<Item = &'static str>, parse: fn(&str) -> Result<T, String>) -> Self {
        Self { parse, every: every.into_iter().collect() }
    }
}

/// One of the library's names.
pub(super) fn one_of<T>(every: &[T], name: fn(T) -> &'static str) -> Names<T>
where
    T: Copy + FromStr<Err = UnknownName>,
{
    Names::new(every.iter().map(|&value| name(value)), names::parse)
}

/// An algorithm, or `auto`.
pub(super) fn selection() -> Names<Selection> {
    Names::new([AUTO].into_iter().chain(Algorithm::ALL.iter().map(|algorithm| algorithm.name())), names::parse)
}

/// A dispatch mode, or `auto`.
pub(super) fn dispatch() -> Names<Wanted> {
    Names::new(Wanted::names(), Wanted::parse)
}

/// A device: words of a name are as they come, and words of the program in its own case.
pub(super) fn device(text: &str) -> Result<String, String> {
    let word = [AUTO, CPU, ALL].into_iter().find(|word| names::is(text, word));
    Ok(word.unwrap_or(text).to_owned())
}

/// As [`device`], or several that share the ranks: joined by `+`, or by commas where these are in no name.
pub(super) fn together(text: &str) -> Result<String, String> {
    let plain = |part: &str| names::is(part.trim(), CPU) || part.trim().parse::<usize>().is_ok();
    if text.contains(',') && text.split(',').all(plain) {
        return Ok(text.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join("+"));
    }
    device(text)
}

/// Several values, or all of them. A type of its own: clap takes a vector for an option that may be repeated.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    pub(super) names: Vec<T>,
    /// `all` was given, and not these names.
    pub(super) all: bool,
}

/// Values separated by commas, each as `one` reads it.
pub(super) fn list<T>(text: &str, one: fn(&str) -> Result<T, String>) -> Result<List<T>, String> {
    if names::is(text, ALL) {
        return Ok(List { names: Vec::new(), all: true });
    }
    if text.split(',').any(|name| names::is(name, ALL)) {
        return Err("'all' stands alone; leave the other names out, or 'all'".to_owned());
    }
    Ok(List { names: text.split(',').map(one).collect::<Result<_, _>>()?, all: false })
}

impl<T: Clone> List<T> {
    /// The names, or `every`.
    pub(super) fn or_all(&self, every: &[T]) -> Vec<T> {
        if self.all { every.to_vec() } else { self.names.clone() }
    }
}
