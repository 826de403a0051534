//! What every record in `benches/results` must be, whoever sent it: of a form that is known, named by its day, without paths.
//!
//! Apart from the tables, which look at the records that they show.

use serde_json::Value;
use wgccl_cli::bench::record::Recorded;

/// Forms of records that are not `wgccl bench`'s, and which member holds their results.
const OTHERS: [(&str, &str); 2] = [("wgccl-peers/1", "cells"), ("wgccl-scale/1", "panels")];

/// How folders of machines begin that tell nothing to a reader and something about a user.
const PRIVATE: [&str; 3] = ["/home/", "/Users/", "\\Users\\"];

/// Why the record `name`, `<date>-<machine>/<name>`, is not accepted.
pub(super) fn look(name: &str, text: &str) -> Result<(), String> {
    let record: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let date = name.get(..11).filter(|date| is_date(date)).ok_or("its folder is not called <date>-<machine>")?;
    paths(&record)?;
    // Several runs of one table.
    let parts: Vec<&Value> = match record["records"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![&record],
    };
    if parts.is_empty() {
        return Err("it is empty".to_owned());
    }
    parts.into_iter().try_for_each(|part| form(part, &date[..10]))
}

/// As `2026-12-24-`.
fn is_date(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 | 10 => byte == b'-',
        _ => byte.is_ascii_digit(),
    })
}

fn form(record: &Value, date: &str) -> Result<(), String> {
    let schema = record["schema"].as_str().unwrap_or_default();
    let results = match OTHERS.iter().find(|(other, _)| *other == schema) {
        Some((_, results)) => record[results].as_array().map_or(0, Vec::len),
        None => Recorded::parse(&record.to_string())?.results.len(),
    };
    match record["start_time"].as_str() {
        _ if results == 0 => Err("it holds no results".to_owned()),
        Some(start) if !start.starts_with(date) => Err(format!("it was measured on {start}")),
        _ => Ok(()),
    }
}

/// Finds paths of the machine that it was measured on.
fn paths(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.starts_with('/') || PRIVATE.iter().any(|part| text.contains(part)) => {
            Err(format!("it holds a path of the machine: {text}"))
        }
        Value::Array(values) => values.iter().try_for_each(paths),
        Value::Object(values) => values.values().try_for_each(paths),
        _ => Ok(()),
    }
}
