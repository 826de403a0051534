//! Signals that end the program, put off while files are written, and until it is said what was kept.
//!
//! What removes a temporary file must run first. Handlers only set a number and wake a thread where there is something to say;
//! at any other time a signal does what it does to every program.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

#[cfg(unix)]
use signal_hook::low_level::pipe;
use signal_hook::low_level::{emulate_default_handler, unregister};
use signal_hook::{SigId, flag};

/// A signal ends the program at once.
static AT_ONCE: AtomicBool = AtomicBool::new(true);
/// The last one that came while that was not so; 0 is none.
static CAME: AtomicUsize = AtomicUsize::new(0);
static STATE: Mutex<State> = Mutex::new(State { holders: 0, line: None });

struct State {
    /// How many hold signals off.
    holders: usize,
    /// What to say when one ends the program.
    line: Option<Box<dyn Fn() -> String + Send>>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes [`hold`] hold off what ends the program. Signals that whoever started it had it ignore stay ignored.
pub(crate) fn install() {
    for signal in taken() {
        note(flag::register_conditional_default(signal, &AT_ONCE));
        note(flag::register_usize(signal, &CAME, signal as usize));
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

/// A thread was left to itself.
static ABANDONED: AtomicBool = AtomicBool::new(false);

/// Notes that a thread is left to itself, within a driver, say: see [`leave`].
pub(crate) fn abandon() {
    ABANDONED.store(true, Ordering::Relaxed);
}

/// Where a thread was abandoned, ends the program at once: what a driver frees at an exit it must not use any more.
pub(crate) fn leave(code: u8) {
    if ABANDONED.load(Ordering::Relaxed) {
        let _ = io::stdout().flush();
        signal_hook::low_level::exit(code.into());
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

/// Those of them that are not ignored.
fn taken() -> impl Iterator<Item = i32> {
    let ignored = ignored();
    ends().iter().copied().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
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
    state().holders += 1;
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
        let mut state = state();
        state.holders -= 1;
        settle(&state);
    }
}

/// Where nobody holds signals off, ends the program if one has come.
fn settle(state: &State) {
    if state.holders > 0 {
        return;
    }
    // In this order: what comes later ends the program by itself, or wakes whoever has something to say.
    AT_ONCE.store(state.line.is_none(), Ordering::SeqCst);
    if let came @ 1.. = CAME.load(Ordering::SeqCst) {
        if let Some(line) = &state.line {
            // Below the bar and the ^C that are there.
            let apart = if io::stderr().is_terminal() { "\n" } else { "" };
            let _ = writeln!(io::stderr(), "{apart}{}", line());
        }
        let _ = emulate_default_handler(came as i32);
    }
}

/// While it lives, a signal that ends the program says something first.
#[derive(Debug, Default)]
pub(crate) struct Saying {
    wakes: Vec<SigId>,
    thread: Option<JoinHandle<()>>,
}

/// Lets a signal say `line`, in a line on stderr. Where no thread can start it says nothing.
pub(crate) fn say(line: impl Fn() -> String + Send + 'static) -> Saying {
    let mut saying = Saying::default();
    match wake(&mut saying) {
        Ok(()) => state().line = Some(Box::new(line)),
        Err(error) => log::warn!("nothing will be said at a signal: {error}"),
    }
    settle(&state());
    saying
}

/// Starts a thread that settles whenever a signal comes, and sleeps meanwhile.
#[cfg(unix)]
fn wake(saying: &mut Saying) -> io::Result<()> {
    use std::io::Read;

    let (mut woken, wake) = std::os::unix::net::UnixStream::pair()?;
    let wait = move || {
        while woken.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {
            settle(&state());
        }
    };
    saying.thread = Some(std::thread::Builder::new().spawn(wait)?);
    for signal in taken() {
        saying.wakes.push(pipe::register(signal, wake.try_clone()?)?);
    }
    Ok(())
}

#[cfg(not(unix))]
fn wake(_: &mut Saying) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Drop for Saying {
    fn drop(&mut self) {
        // The thread reads the end once nothing can write.
        for wake in self.wakes.drain(..) {
            unregister(wake);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut state = state();
        state.line = None;
        settle(&state);
    }
}
