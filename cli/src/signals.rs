//! Signals that end the program, put off while files are written.
//!
//! What removes a temporary file must run first. Handlers only set a number, so no thread is needed, and at any other time a
//! signal does what it does to every program.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

/// A signal ends the program at once.
static AT_ONCE: AtomicBool = AtomicBool::new(true);
/// The last one that came while that was not so; 0 is none.
static CAME: AtomicUsize = AtomicUsize::new(0);
/// How many hold signals off.
static HOLDERS: Mutex<usize> = Mutex::new(0);

/// Makes [`hold`] hold off what ends the program. Signals that whoever started it had it ignore stay ignored.
pub(crate) fn install() {
    let ignored = ignored();
    for &signal in ends() {
        if ignored >> (signal - 1) & 1 == 0 {
            note(flag::register_conditional_default(signal, &AT_ONCE));
            note(flag::register_usize(signal, &CAME, signal as usize));
        }
    }
    // A file that has grown to its limit is then an error like a full disk.
    #[cfg(unix)]
    {
        static SEEN: AtomicBool = AtomicBool::new(false);
        note(flag::register(signal_hook::consts::SIGXFSZ, &SEEN));
    }
}

fn note<T>(registered: io::Result<T>) {
    if let Err(error) = registered {
        log::warn!("a signal cannot be held off: {error}");
    }
}

fn ends() -> &'static [i32] {
    use signal_hook::consts::*;
    if cfg!(target_os = "linux") {
        // Elsewhere nothing says whether `nohup` had a hang-up ignored.
        #[cfg(unix)]
        return &[SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGXCPU];
    }
    &[SIGINT, SIGTERM]
}

/// A bit for each ignored signal, on Linux.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// While it lives, no signal that can be caught ends the program; one that came does when it goes.
#[derive(Debug)]
pub(crate) struct Held(());

/// Holds signals off.
pub(crate) fn hold() -> Held {
    *HOLDERS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    AT_ONCE.store(false, Ordering::SeqCst);
    Held(())
}

impl Held {
    /// # Errors
    /// A signal has come: whoever holds it off is to clean up and end.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        match CAME.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(io::Error::other("a signal came")),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        // In this order: what comes later ends the program by itself.
        AT_ONCE.store(true, Ordering::SeqCst);
        if let came @ 1.. = CAME.load(Ordering::SeqCst) {
            let _ = emulate_default_handler(came as i32);
        }
    }
}
