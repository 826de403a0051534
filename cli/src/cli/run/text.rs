//! What a run came to, for a person.

use std::fmt::Write;

use wgccl::collective::Collective;
use wgccl::element::Element;
use wgccl::schedule::Algorithm;

use crate::cli::output::{BAD, DIM, GOOD, details, how, is_quiet, named, of_link, of_notes, plural};
use crate::dispatch;
use crate::run::{Finished, Outcome};

/// What was computed, in a line.
pub(super) fn title(o: &Outcome) -> String {
    let how = how(&o.origin, o.algorithm_auto, o.sync);
    let mut text = format!("{} by {how}: {}", o.collective, plural(o.ranks.into(), "rank"));
    let size = format!("{} {}", o.count, o.data_type);
    match o.collective {
        Collective::Barrier => {}
        Collective::AllReduce | Collective::Broadcast | Collective::Reduce | Collective::SendRecv => {
            let _ = write!(text, " of {size}");
        }
        _ => {
            let _ = write!(text, ", parts of {size}");
        }
    }
    if let Some(op) = o.op {
        let _ = write!(text, ", {op}");
    }
    text.push_str(&details(o.root, &o.sources));
    if o.in_place {
        text.push_str(", in place");
    }
    text
}

/// What a person reads.
pub(super) fn table<T: Element>(finished: &Finished<T>, notes: &[String], faster: Option<Algorithm>) -> String {
    let o = &finished.outcome;
    let mut text = of_notes(notes);
    let _ = writeln!(text, "{}\n", title(o));
    let mut line = |name: &str, value: &str| text.push_str(&named(name, value));
    line(
        "proved",
        &format!(
            "no deadlock, no race, right result: {} in {}",
            plural(o.instructions as u64, "instruction"),
            time(o.proof_us)
        ),
    );
    line("device", &device(o));
    let channels = plural(o.channels.into(), "channel");
    match o.dispatch.zip(o.protocol) {
        Some((mode, protocol)) => {
            let (mode, dispatches) = (dispatch::name(mode, protocol), plural(o.dispatches.into(), "dispatch"));
            line("launch", &format!("{mode}: {dispatches}, {channels}{}, {} with copies", pieces(o), time(o.time_us)));
        }
        None => line("launch", &format!("{channels}, {}", time(o.time_us))),
    }
    if let Some(shares) = &o.shares {
        for (i, share) in shares.devices.iter().enumerate() {
            let mode = share.dispatch.map_or_else(String::new, |mode| format!(", {mode}"));
            let ranks = runs(&share.ranks);
            line(if i == 0 { "ranks" } else { "" }, &format!("{ranks} on {}, {}{mode}", share.device, share.backend));
        }
        for (i, link) in shares.links.iter().enumerate() {
            line(if i == 0 { "moved" } else { "" }, &of_link(link));
        }
    }

    if let Some(faster) = faster.filter(|_| !is_quiet()) {
        line("faster", &format!("{faster} is what --algorithm auto takes here"));
    }

    if o.collective == Collective::Barrier {
        let _ = write!(text, "\n{GOOD}passed{GOOD:#}: no rank left before every rank had come");
        return text;
    }
    let _ = writeln!(text, "\n{DIM}{:>6}  {:<34}  output{DIM:#}", "rank", "input");
    const SHOWN: usize = 8;
    for rank in 0..finished.inputs.len().min(SHOWN) {
        let (input, output) = (first(&finished.inputs[rank]), first(&finished.outputs[rank]));
        let _ = writeln!(text, "{rank:>6}  {input:<34}  {output}");
    }
    if finished.inputs.len() > SHOWN {
        let _ = writeln!(text, "{:>6}  and {} more ranks", "", finished.inputs.len() - SHOWN);
    }
    let style = if o.ok { GOOD } else { BAD };
    let verdict = if o.ok { "bit-exact" } else { "WRONG" };
    let identical = match (o.collective.gives_all_the_same(), o.bit_identical) {
        (false, _) => "",
        (true, true) => ", ranks agree in every bit",
        (true, false) => ", ranks differ",
    };
    let flushed = if o.flushed > 0 { format!(", {} subnormals flushed", o.flushed) } else { String::new() };
    let _ = write!(
        text,
        "\n{style}{verdict}{style:#}: {} of {} elements equal the golden{flushed}{identical}",
        o.elements - o.wrong,
        o.elements
    );
    for (name, said) in o.op.zip(o.accuracy).map(|(op, accuracy)| accuracy.lines(op, o.data_type)).into_iter().flatten()
    {
        let _ = write!(text, "\n{DIM}{name:<9}{DIM:#} {said}");
    }
    text
}

/// Where it ran.
pub(super) fn device(o: &Outcome) -> String {
    match &o.driver {
        Some(driver) => format!("{}, {}, {driver}", o.device, o.backend),
        None if o.backend == "mpi" => format!("{}, through MPI", o.device),
        None if o.shares.is_some() => format!("{}, through the host", o.device),
        None => "CPU executor".to_owned(),
    }
}

/// Ranks that follow each other, as `0-3,6`.
pub(crate) fn runs(ranks: &[u32]) -> String {
    let runs = ranks.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

fn pieces(o: &Outcome) -> String {
    match (o.pieces, o.device_bytes) {
        (1, _) => String::new(),
        (pieces, None) => format!(", {pieces} pieces"),
        (pieces, Some(bytes)) => format!(", {pieces} pieces through {} MiB of device memory", bytes.div_ceil(1 << 20)),
    }
}

pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// The first elements, short enough for a column; at least one of them.
fn first<T: Element>(values: &[T]) -> String {
    const WIDTH: usize = 32;
    if values.is_empty() {
        return "-".to_owned();
    }
    let mut text = String::new();
    for (i, &value) in values.iter().enumerate() {
        let value = legible(value);
        if i > 0 && text.len() + value.len() + 3 > WIDTH {
            return format!("{text} …");
        }
        let _ = write!(text, "{}{value}", if i == 0 { "" } else { " " });
    }
    text
}

/// Integers whole; floats with some six digits, and with an exponent where these would be zeros.
fn legible<T: Element>(value: T) -> String {
    let magnitude = value.to_f64().abs();
    if !T::TYPE.is_float() || magnitude == 0.0 || !magnitude.is_finite() {
        return value.to_string();
    }
    let (text, exponent) = match magnitude {
        1e-4..1e6 => (format!("{:.5}", value.to_f64()), None),
        _ => {
            let text = format!("{:.4e}", value.to_f64());
            match text.split_once('e') {
                Some((mantissa, exponent)) => (mantissa.to_owned(), Some(format!("e{exponent}"))),
                None => (text, None),
            }
        }
    };
    let digits = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{digits}{}", exponent.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use wgccl::element::{bf16, f16};

    use super::*;

    #[test]
    fn values_are_legible_whatever_their_size() {
        for (value, shown) in [
            (0.0_f32, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.125_73, "-0.12573"),
            (1e-5, "1e-5"),
            (1.175e-38, "1.175e-38"),
            (f32::from_bits(1), "1.4013e-45"),
            (3.4e38, "3.4e38"),
            (999_999.0, "999999"),
            (1e6, "1e6"),
            (123_456_789.0, "1.2346e8"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(legible(value), shown, "{value:e}");
        }
        assert_eq!((legible(u64::MAX), legible(-128_i8)), ("18446744073709551615".to_owned(), "-128".to_owned()));
        assert_eq!(
            (legible(f16::from_f32(65504.0)), legible(bf16::from_f32(-0.0625))),
            ("65504".into(), "-0.0625".into())
        );
        assert_eq!(first(&[i64::MIN, i64::MIN]), "-9223372036854775808 …");
        assert_eq!(first(&[1.0_f64, 1e-300]), "1 1e-300");
        assert_eq!(first::<f32>(&[]), "-");
    }
}
