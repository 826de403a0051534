//! `wgccl bench --card`: a card in less than a minute, whatever the device does meanwhile.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::args::BenchArgs;
use super::printer::shown;
use crate::bench::card::{self, Card, LeftOut, measure};
use crate::cli::output::{INTERRUPTED, Ticking, note_aside, print, print_error, print_json};
use crate::device::Device;
use crate::error::{BenchError, Error, exit};
use crate::signals::{abandon, say};

/// What a card takes at most where nobody says otherwise.
const MOST: Duration = Duration::from_secs(55);
/// Which part of it is for what a launch cannot be ended in: inputs are made, and results are compared.
const SPARE: f64 = 0.1;

/// What the measuring thread says.
enum Said {
    Note(String),
    Card(Box<Card>, String),
    Done(Box<Result<Card, Error>>),
}

pub(super) fn card(args: &BenchArgs, file: Option<&Path>) -> Result<u8, Error> {
    if let Some(path) = file {
        card::check_new(path)?;
    }
    let wanted = match &args.device[..] {
        [one] if one != crate::cli::values::ALL => one.clone(),
        _ => return Err(Error::Usage("a card is of one device; name it with --device".to_owned())),
    };
    let saying = say(|| INTERRUPTED.to_owned());
    let card = measured(wanted, args.timeout.unwrap_or(MOST))?;
    drop(saying);
    if let Some(path) = file {
        card::write(path, &card)?;
    }
    match (args.json, file) {
        (true, _) => print_json(&card)?,
        (false, Some(path)) => print(&format!("# Card written to {}", shown(path)))?,
        (false, None) => print(&card::text(&card))?,
    }
    if card.wrong == 0 {
        return Ok(exit::OK);
    }
    let error = Error::from(BenchError::Wrong(card.wrong));
    if !args.json {
        print_error(&error);
    }
    Ok(error.exit_code())
}

/// The card when it is done, or what there is of it when the time is over.
fn measured(wanted: String, most: Duration) -> Result<Card, Error> {
    let end = Instant::now() + most;
    let (say, said) = channel();
    let measuring = move || {
        let mut notes = Vec::new();
        let result = Device::find(&wanted, &mut notes).and_then(|device| {
            notes.iter().for_each(|note| drop(say.send(Said::Note(note.clone()))));
            let mut seen = |card: &Card, next: &str| {
                let _ = say.send(Said::Card(Box::new(card.clone()), next.to_owned()));
            };
            measure(&device, end - most.mul_f64(SPARE), &mut seen)
        });
        let _ = say.send(Said::Done(Box::new(result)));
    };
    let ticking = Ticking::spinner("opening the device");
    let spawned = Builder::new().spawn(measuring);
    spawned.map_err(|error| Error::Usage(format!("no thread can start, and a card needs one: {error}")))?;
    let mut last = None;
    loop {
        match said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Said::Note(note)) => ticking.bar().suspend(|| note_aside(&note)),
            Ok(Said::Card(card, next)) => {
                ticking.bar().set_message(next.clone());
                last = Some((card, next));
            }
            Ok(Said::Done(result)) => return *result,
            Err(RecvTimeoutError::Timeout) => {
                // No launch can be ended from here: the process ends without the thread.
                abandon();
                return cut(last, most);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(BenchError::Timeout { limit: most, what: "measuring ended by itself".to_owned() }.into());
            }
        }
    }
}

fn cut(last: Option<(Box<Card>, String)>, most: Duration) -> Result<Card, Error> {
    let Some((mut card, what)) = last else {
        return Err(BenchError::Timeout { limit: most, what: "no device answered".to_owned() }.into());
    };
    card.left_out.push(LeftOut { what, why: "the time was over, and all that was to follow".to_owned(), bytes: None });
    Ok(*card)
}
