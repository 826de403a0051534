//! A trace as Chrome trace events, which Perfetto opens: a process a rank, a thread a lane, a slice an instruction.
//!
//! Written event by event, because a launch of many lanes and channels has millions of them.

use std::fmt::{self, Write as _};
use std::io;

use super::edges::Edges;
use super::{Clock, Span, Trace};
use crate::payload::Payload;
use crate::proof::Proved;
use crate::schedule::{Address, Buffer, Instruction, Schedule};

impl Trace {
    /// Writes one JSON object in the Trace Event Format. `facts` are names and texts that are told beside what the trace and
    /// the schedule say themselves: which device, which driver.
    ///
    /// # Errors
    /// What `out` returns; [`io::ErrorKind::InvalidInput`] where the trace is of another schedule.
    pub fn write_chrome(
        &self,
        proved: &Proved,
        payload: &Payload,
        facts: &[(&str, &str)],
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let Some(edges) = Edges::new(self, proved) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the trace is of another schedule"));
        };
        let writer = Writer { trace: self, edges, schedule: proved.schedule(), payload, out, first: true };
        writer.write(facts)
    }
}

/// As Perfetto has them, 0 is the idle process and thread of a machine.
const FIRST: u64 = 1;

/// A notify, from one span to another.
struct Arrow {
    id: u64,
    from: usize,
    to: usize,
}

struct Writer<'a> {
    trace: &'a Trace,
    edges: Edges<'a>,
    schedule: &'a Schedule,
    payload: &'a Payload,
    out: &'a mut dyn io::Write,
    first: bool,
}

impl<'a> Writer<'a> {
    fn write(mut self, facts: &[(&str, &str)]) -> io::Result<()> {
        let clock = self.trace.clock;
        write!(self.out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{")?;
        let schedule = self.schedule;
        let uncertainty =
            self.trace.uncertainty.map(|within| format!("yes, to within {} us of the host's", Micros(within)));
        let calibrated = match clock {
            Clock::Device { calibrated: false } => "no",
            _ => uncertainty.as_deref().unwrap_or("yes"),
        };
        let own = [
            ("tracing", "on: a launch that is not traced is faster"),
            ("clock", clock.describe()),
            ("calibrated", calibrated),
            ("schedule", &schedule.origin.to_string()),
            ("collective", schedule.task.collective.name()),
            ("ranks", &schedule.ranks.to_string()),
            ("count", &self.payload.count.to_string()),
        ];
        // Places in an order are no clock that could be calibrated.
        let own = own.iter().filter(|(name, _)| *name != "calibrated" || clock.has_times());
        for (i, (name, text)) in own.chain(facts).enumerate() {
            write!(self.out, "{}{}:{}", if i == 0 { "" } else { "," }, Text(name), Text(text))?;
        }
        write!(self.out, "}},\"traceEvents\":[")?;
        self.names()?;
        let spans = &self.trace.spans;
        let arrows = self.arrows();
        let mut leaving: Vec<(usize, usize)> = (0..).zip(&arrows).map(|(id, arrow)| (arrow.from, id)).collect();
        leaving.sort_unstable();
        let (mut leaving, mut arriving) = (leaving.into_iter().peekable(), arrows.iter().peekable());
        let mut at = 0;
        while let Some(first) = spans.get(at) {
            let next = at + spans[at..].iter().take_while(|span| self.together(first, span)).count().max(1);
            self.slice(&spans[at..next])?;
            // Of events of one moment viewers look for the slice among those that came before.
            while let Some(arrow) = arriving.next_if(|arrow| arrow.to < next) {
                self.flow("f", &spans[arrow.to], self.at(spans[arrow.to].ready), arrow.id)?;
            }
            while let Some((from, id)) = leaving.next_if(|&(from, _)| from < next) {
                let from = &spans[from];
                // The end is the next slice's.
                let end = self.at(from.end).saturating_sub(1).max(self.at(from.ready));
                self.flow("s", from, end, arrows[id].id)?;
            }
            at = next;
        }
        writeln!(self.out, "\n]}}")
    }

    /// Whether the device had one time for both: one dispatch ran them.
    fn together(&self, a: &Span, b: &Span) -> bool {
        let same = (a.piece, a.channel, a.lane, a.ready, a.end) == (b.piece, b.channel, b.lane, b.ready, b.end);
        same && self.trace.clock != Clock::Host
    }

    /// The next event begins.
    fn event(&mut self, phase: &str) -> io::Result<()> {
        write!(self.out, "{}\n{{\"ph\":\"{phase}\"", if self.first { "" } else { "," })?;
        self.first = false;
        Ok(())
    }

    /// What processes and threads are called, in the order of ranks and lanes.
    fn names(&mut self) -> io::Result<()> {
        let note = match self.trace.clock {
            Clock::Order { .. } => " (order only, no times)",
            _ => "",
        };
        for rank in 0..self.schedule.ranks {
            let pid = FIRST + u64::from(rank);
            self.name("process", pid, None, &format!("rank {rank}{note}"), rank.into())?;
        }
        let mut threads: Vec<(u64, u32, Option<u32>)> =
            self.trace.spans.iter().map(|span| (self.thread(span), span.lane, span.channel)).collect();
        threads.sort_unstable();
        threads.dedup();
        let several = threads.iter().any(|&(_, _, channel)| channel.is_some_and(|channel| channel > 0));
        for (tid, lane, channel) in threads {
            let pid = self.process(lane);
            let name = match channel.filter(|_| several) {
                Some(channel) => format!("lane {lane}, channel {channel}{note}"),
                None => format!("lane {lane}{note}"),
            };
            self.name("thread", pid, Some(tid), &name, tid)?;
        }
        Ok(())
    }

    fn name(&mut self, what: &str, pid: u64, tid: Option<u64>, name: &str, place: u64) -> io::Result<()> {
        let tid = tid.map_or_else(String::new, |tid| format!(",\"tid\":{tid}"));
        self.event("M")?;
        write!(self.out, ",\"name\":\"{what}_name\",\"pid\":{pid}{tid},\"args\":{{\"name\":{}}}}}", Text(name))?;
        self.event("M")?;
        write!(self.out, ",\"name\":\"{what}_sort_index\",\"pid\":{pid}{tid},\"args\":{{\"sort_index\":{place}}}}}")
    }

    fn process(&self, lane: u32) -> u64 {
        FIRST + u64::from(self.schedule.lanes[lane as usize].rank)
    }

    /// Of all processes together no two are alike. Above the processes', so that none is taken for a main thread.
    fn thread(&self, span: &Span) -> u64 {
        let channels = self.trace.spans.last().and_then(|last| last.channel).map_or(1, |last| u64::from(last) + 1);
        let first = FIRST + u64::from(self.schedule.ranks);
        first + u64::from(span.lane) * channels + u64::from(span.channel.unwrap_or(0))
    }

    /// Where events of a span are.
    fn place(&mut self, span: &Span, at: u64) -> io::Result<()> {
        let (pid, tid) = (self.process(span.lane), self.thread(span));
        write!(self.out, ",\"pid\":{pid},\"tid\":{tid},\"ts\":{}", Micros(at))
    }

    /// Nanoseconds, and of places in an order a microsecond each, so that viewers show them apart.
    fn at(&self, at: u64) -> u64 {
        if self.trace.clock.has_times() { at } else { at.saturating_mul(1000) }
    }

    /// The waiting and the moving of instructions that have one time.
    fn slice(&mut self, spans: &'a [Span]) -> io::Result<()> {
        let [first, ..] = spans else { return Ok(()) };
        let clock = self.trace.clock;
        if clock.has_times() && first.ready > first.begin && self.edges.waits(first) {
            let sites: Vec<String> = self.edges.notifiers(first).map(|at| self.site(&self.trace.spans[at])).collect();
            self.event("X")?;
            self.place(first, first.begin)?;
            write!(self.out, ",\"dur\":{},\"cat\":\"wait\",\"name\":\"wait\"", Micros(first.ready - first.begin))?;
            write!(self.out, ",\"args\":{{\"by\":{},\"for\":{}}}}}", Text(&self.site(first)), List(&sites))?;
        }
        let name = match spans {
            [one] => self.instruction(one).label.to_string(),
            [_, .., last] => {
                format!(
                    "{} to {} ({} together)",
                    self.instruction(first).label,
                    self.instruction(last).label,
                    spans.len()
                )
            }
            [] => String::new(),
        };
        let category = if clock.has_times() { "move" } else { "order" };
        self.event("X")?;
        self.place(first, self.at(first.ready))?;
        let duration = Micros(self.at(first.end.saturating_sub(first.ready)));
        write!(self.out, ",\"dur\":{duration},\"cat\":\"{category}\",\"name\":{},\"args\":{{", Text(&name))?;
        match spans {
            [one] => self.arguments(one)?,
            several => {
                write!(self.out, "\"one time for\":[")?;
                for (i, span) in several.iter().enumerate() {
                    write!(self.out, "{}{{", if i == 0 { "" } else { "," })?;
                    self.arguments(span)?;
                    write!(self.out, "}}")?;
                }
                write!(self.out, "]")?;
            }
        }
        write!(self.out, "}}}}")
    }

    fn arguments(&mut self, span: &Span) -> io::Result<()> {
        let schedule = self.schedule;
        let instruction = self.instruction(span);
        let Instruction { label, from, to, chunks, waits, notifies, .. } = instruction;
        let addresses =
            |addresses: &[Address]| addresses.iter().map(|&address| schedule.show(address)).collect::<Vec<_>>();
        let waits: Vec<String> = waits.iter().map(ToString::to_string).collect();
        let notifies: Vec<String> = notifies.iter().map(ToString::to_string).collect();
        write!(self.out, "\"lane\":{},\"instruction\":{}", span.lane, span.instruction)?;
        for (name, number) in [("channel", span.channel), ("worker", span.worker)] {
            if let Some(number) = number {
                write!(self.out, ",\"{name}\":{number}")?;
            }
        }
        write!(self.out, ",\"piece\":{},\"label\":{}", span.piece, Text(&label.to_string()))?;
        write!(self.out, ",\"from\":{},\"to\":{}", List(&addresses(from)), List(&addresses(to)))?;
        write!(self.out, ",\"chunks\":{chunks},\"bytes\":{}", bytes(instruction, self.payload))?;
        write!(self.out, ",\"waits\":{},\"notifies\":{}", List(&waits), List(&notifies))
    }

    /// From every notify to the wait that it ended. No executor measures one back in time, which would say that a wait ended
    /// before its notify.
    fn arrows(&self) -> Vec<Arrow> {
        let spans = &self.trace.spans;
        let of = |(to, span): (usize, &'a Span)| self.edges.notifiers(span).map(move |from| (from, to));
        let all = spans.iter().enumerate().flat_map(of).filter(|&(from, to)| spans[from].end <= spans[to].ready);
        (1..).zip(all).map(|(id, (from, to))| Arrow { id, from, to }).collect()
    }

    /// An end of an arrow.
    fn flow(&mut self, phase: &str, span: &Span, at: u64, id: u64) -> io::Result<()> {
        self.event(phase)?;
        self.place(span, at)?;
        let enclosing = if phase == "f" { ",\"bp\":\"e\"" } else { "" };
        write!(self.out, ",\"id\":{id},\"cat\":\"notify\",\"name\":\"notify\"{enclosing}}}")
    }

    fn instruction(&self, span: &Span) -> &'a Instruction {
        &self.schedule.lanes[span.lane as usize].instructions[span.instruction as usize]
    }

    fn site(&self, span: &Span) -> String {
        let rank = self.schedule.lanes[span.lane as usize].rank;
        format!("rank {rank} {}", self.instruction(span).label)
    }
}

/// Bytes of an instruction's result, of all channels together: as long as the shortest of its places, as executors have it.
fn bytes(instruction: &Instruction, payload: &Payload) -> u64 {
    let Instruction { from, to, chunks, .. } = instruction;
    if to.is_empty() {
        return 0;
    }
    let elements = |k: u32| {
        let of = |address: &Address| match address.buffer {
            Buffer::Slot => payload.step,
            Buffer::Input | Buffer::Output => payload.elements((address.chunk + k) % payload.chunks.max(1)).len(),
        };
        from.iter().chain(to).map(of).min().unwrap_or(0) as u64
    };
    (0..*chunks).map(elements).sum::<u64>() * payload.element_bytes as u64
}

/// Nanoseconds in the format's unit, which is the microsecond.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A text in quotes.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Texts in brackets.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (i, text) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "," }, Text(text))?;
        }
        f.write_char(']')
    }
}
