//! Reads the XML, element by element: no entities, no document types, and nothing that grows faster than the file.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::file::{Algo, Block, Copied, Gpu, Kind, Memory, Place, Proto, Step};
use crate::collective::Collective;
use crate::schedule::MAX_RANKS;

/// Nested elements; a file has four.
const DEEPEST: usize = 16;
/// Steps of a file; the largest that are known have some 35,000.
const MOST_STEPS: usize = 1 << 22;
/// Kinds of things that are ignored, which are told.
const MOST_IGNORED: usize = 16;
/// Characters of the file that an error quotes.
const QUOTED: usize = 40;

/// Why a file is no MSCCL XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{element}: {why}", element = element.as_ref().map_or(String::new(), |name| format!(", <{name}>")))]
#[non_exhaustive]
pub struct ReadError {
    /// From 1.
    pub line: u32,
    /// The element that it is about.
    pub element: Option<String>,
    /// What is wrong, and with which attribute.
    pub why: String,
}

/// Reads a file.
///
/// # Errors
/// [`ReadError`] for the first thing that is not as it must be.
pub fn read(text: &[u8]) -> Result<Algo, ReadError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = text[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
        ReadError { line, element: None, why: "these are no characters of UTF-8".to_owned() }
    })?;
    let mut reading = Reading { text, line: 1, counted: 0, algo: None, gpu: None, steps: 0 };
    let mut reader = Reader::from_str(text);
    let (mut depth, mut skipped) = (0_usize, None);
    loop {
        let at = reader.buffer_position() as usize;
        let event = reader.read_event();
        reading.count_lines(at);
        match event.map_err(|error| reading.error(None, error.to_string()))? {
            Event::Start(element) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(reading.error(None, format!("elements are nested more than {DEEPEST} deep")));
                }
                if skipped.is_none() && !reading.open(&element, depth)? {
                    skipped = Some(depth);
                }
            }
            Event::Empty(element) => {
                if skipped.is_none() && reading.open(&element, depth + 1)? {
                    reading.close(depth + 1);
                }
            }
            Event::End(_) => {
                match skipped {
                    Some(from) if from == depth => skipped = None,
                    Some(_) => {}
                    None => reading.close(depth),
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) => {
                if !text.trim().is_empty() {
                    return Err(reading.error(None, format!("there is text between elements: '{}'", quoted(&text))));
                }
            }
            Event::DocType(_) | Event::GeneralRef(_) | Event::CData(_) => {
                return Err(reading.error(None, "document types, entities and CDATA are not read".to_owned()));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if depth > 0 => {
                return Err(reading.error(None, "the file ends before its elements do".to_owned()));
            }
            Event::Eof => break,
        }
    }
    reading.finish()
}

struct Reading<'a> {
    text: &'a str,
    /// Where the event stands that is read.
    line: u32,
    /// Bytes whose lines have been counted.
    counted: usize,
    algo: Option<Algo>,
    /// The one that is open.
    gpu: Option<Gpu>,
    steps: usize,
}

impl Reading<'_> {
    /// Up to where an event begins; the text in front of an element is one of its own.
    fn count_lines(&mut self, at: usize) {
        let until = at.min(self.text.len());
        let lines = self.text.as_bytes()[self.counted.min(until)..until].iter().filter(|&&byte| byte == b'\n').count();
        self.line += lines as u32;
        self.counted = until;
    }

    fn error(&self, element: Option<&BytesStart<'_>>, why: String) -> ReadError {
        let element = element.map(|element| quoted(element.name().as_ref()));
        ReadError { line: self.line, element, why }
    }

    /// Takes an element in; whether what is in it is of interest.
    fn open(&mut self, element: &BytesStart<'_>, depth: usize) -> Result<bool, ReadError> {
        match (element.name().as_ref(), depth) {
            ("algo", 1) if self.algo.is_some() => {
                Err(self.error(Some(element), "a second algorithm; a file holds one".to_owned()))
            }
            ("algo", 1) => {
                self.algo = Some(self.algo(element)?);
                Ok(true)
            }
            (_, 1) => Err(self.error(Some(element), "the outermost element of MSCCL XML is <algo>".to_owned())),
            ("gpu", 2) => {
                self.gpu = Some(self.gpu(element)?);
                Ok(true)
            }
            ("tb", 3) => {
                let block = self.block(element)?;
                if let Some(gpu) = &mut self.gpu {
                    gpu.blocks.push(block);
                }
                Ok(true)
            }
            ("copy", 3) => {
                self.count_step(element)?;
                let copy = self.copied(element)?;
                if let Some(gpu) = &mut self.gpu {
                    gpu.copies.push(copy);
                }
                Ok(true)
            }
            ("step", 4) => {
                self.count_step(element)?;
                let step = self.step(element)?;
                if let Some(block) = self.gpu.as_mut().and_then(|gpu| gpu.blocks.last_mut()) {
                    block.steps.push(step);
                }
                Ok(true)
            }
            (name, _) => {
                let name = quoted(name);
                self.ignore(format!("<{name}>"));
                Ok(false)
            }
        }
    }

    fn count_step(&mut self, element: &BytesStart<'_>) -> Result<(), ReadError> {
        self.steps += 1;
        match self.steps > MOST_STEPS {
            true => Err(self.error(Some(element), format!("more than {MOST_STEPS} steps"))),
            false => Ok(()),
        }
    }

    fn close(&mut self, depth: usize) {
        if depth == 2
            && let (Some(gpu), Some(algo)) = (self.gpu.take(), &mut self.algo)
        {
            algo.gpus.push(gpu);
        }
    }

    fn finish(mut self) -> Result<Algo, ReadError> {
        let Some(mut algo) = self.algo.take() else { return Err(self.error(None, "there is no <algo>".to_owned())) };
        algo.gpus.sort_by_key(|gpu| gpu.id);
        for gpu in &mut algo.gpus {
            gpu.blocks.sort_by_key(|block| block.id);
        }
        algo.ignored.sort();
        algo.ignored.dedup();
        Ok(algo)
    }

    fn ignore(&mut self, what: String) {
        if let Some(algo) = &mut self.algo
            && algo.ignored.len() < MOST_IGNORED
            && !algo.ignored.contains(&what)
        {
            algo.ignored.push(what);
        }
    }

    fn algo(&mut self, element: &BytesStart<'_>) -> Result<Algo, ReadError> {
        let mut of = self.attributes(element)?;
        let name = of.text("name").unwrap_or_default().chars().take(64).collect();
        let proto = of.required("proto", PROTO)?;
        let ranks = of.number("ngpus")?;
        if !(1..=MAX_RANKS).contains(&ranks) {
            return Err(of.wrong("ngpus", &format!("a number from 1 to {MAX_RANKS}")));
        }
        let collective = of.required("coll", COLLECTIVE)?;
        let coll = of.text("coll").unwrap_or_default().trim().to_owned();
        let chunks_per_loop = of.number("nchunksperloop")?;
        let in_place = of.optional("inplace", FLAG)?.unwrap_or(false);
        let out_of_place = of.optional("outofplace", FLAG)?;
        let channels = of.optional("nchannels", WHOLE)?.unwrap_or(0);
        let (min_bytes, max_bytes) = (of.optional("minBytes", BYTES)?, of.optional("maxBytes", BYTES)?);
        let ignored = of.rest("algo", &["nthreads", "redop", "nthreadblocks", "maxcount"]);
        Ok(Algo {
            name,
            coll,
            proto,
            ranks,
            collective,
            chunks_per_loop,
            in_place,
            out_of_place,
            channels,
            min_bytes,
            max_bytes,
            gpus: Vec::new(),
            ignored,
        })
    }

    fn gpu(&mut self, element: &BytesStart<'_>) -> Result<Gpu, ReadError> {
        let mut of = self.attributes(element)?;
        let id = of.number("id")?;
        let mut chunks = |name| Ok(of.optional(name, WHOLE)?.unwrap_or(0));
        let (input_chunks, output_chunks, scratch_chunks) =
            (chunks("i_chunks")?, chunks("o_chunks")?, chunks("s_chunks")?);
        let ignored = of.rest("gpu", &[]);
        ignored.into_iter().for_each(|what| self.ignore(what));
        Ok(Gpu { id, input_chunks, output_chunks, scratch_chunks, blocks: Vec::new(), copies: Vec::new() })
    }

    fn block(&mut self, element: &BytesStart<'_>) -> Result<Block, ReadError> {
        let line = self.line;
        let mut of = self.attributes(element)?;
        let id = of.number("id")?;
        let (send, recv) = (of.required("send", OR_NONE)?, of.required("recv", OR_NONE)?);
        let channel = match of.required("chan", OR_NONE)? {
            None if send.is_some() || recv.is_some() => {
                return Err(of.wrong("chan", "the number of a channel, which a peer needs"));
            }
            channel => channel.unwrap_or(0),
        };
        let ignored = of.rest("tb", &[]);
        ignored.into_iter().for_each(|what| self.ignore(what));
        Ok(Block { id, send, recv, channel, steps: Vec::new(), line })
    }

    fn copied(&mut self, element: &BytesStart<'_>) -> Result<Copied, ReadError> {
        let line = self.line;
        let mut of = self.attributes(element)?;
        let (input, output) = (of.number("i_off")?, of.number("o_off")?);
        let ignored = of.rest("copy", &[]);
        ignored.into_iter().for_each(|what| self.ignore(what));
        Ok(Copied { input, output, line })
    }

    fn step(&mut self, element: &BytesStart<'_>) -> Result<Step, ReadError> {
        let line = self.line;
        let mut of = self.attributes(element)?;
        let number = of.number("s")?;
        let kind = of.required("type", KIND)?;
        let mut place = |buffer: &'static str, offset: &'static str| {
            let memory = of.optional(buffer, MEMORY)?.unwrap_or(Memory::Input);
            Ok(Place { memory, chunk: of.optional(offset, OR_NONE)?.flatten() })
        };
        let (source, destination) = (place("srcbuf", "srcoff")?, place("dstbuf", "dstoff")?);
        let count = of.optional("cnt", WHOLE)?.unwrap_or(if kind == Kind::Nop { 0 } else { 1 });
        let (block, step) = (of.optional("depid", OR_NONE)?.flatten(), of.optional("deps", OR_NONE)?.flatten());
        let after = match (block, step) {
            (Some(block), Some(step)) => Some((block, step)),
            (None, _) => None,
            (Some(_), None) => return Err(of.wrong("deps", "the number of a step, where depid names a thread block")),
        };
        let published = of.optional("hasdep", FLAG)?.unwrap_or(false);
        let ignored = of.rest("step", &["algostep"]);
        ignored.into_iter().for_each(|what| self.ignore(what));
        Ok(Step { number, kind, source, destination, count, after, published, line })
    }

    fn attributes<'e>(&self, element: &'e BytesStart<'_>) -> Result<Attributes<'e>, ReadError> {
        let mut all = Vec::new();
        let name = quoted(element.name().as_ref());
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| self.error(Some(element), error.to_string()))?;
            let key = attribute.key.into_inner();
            let value = attribute.value.into_owned();
            all.push((key, value, false));
        }
        Ok(Attributes { all, line: self.line, element: name })
    }
}

/// The attributes of an element.
struct Attributes<'e> {
    /// Names and values, and whether they have been asked for.
    all: Vec<(&'e str, String, bool)>,
    line: u32,
    element: String,
}

impl Attributes<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        let (_, value, asked) = self.all.iter_mut().find(|(key, ..)| *key == name)?;
        *asked = true;
        Some(value.clone())
    }

    fn error(&self, why: String) -> ReadError {
        ReadError { line: self.line, element: Some(self.element.clone()), why }
    }

    fn wrong(&mut self, name: &str, wanted: &str) -> ReadError {
        let value = quoted(&self.text(name).unwrap_or_default());
        self.error(format!("{name}=\"{value}\" is not {wanted}"))
    }

    fn required<T>(&mut self, name: &str, value: Value<T>) -> Result<T, ReadError> {
        self.optional(name, value)?.ok_or_else(|| self.error(format!("the attribute {name} is missing")))
    }

    fn number(&mut self, name: &str) -> Result<u32, ReadError> {
        self.required(name, WHOLE)
    }

    fn optional<T>(&mut self, name: &str, value: Value<T>) -> Result<Option<T>, ReadError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => (value.parse)(text.trim()).map(Some).ok_or_else(|| self.wrong(name, value.wanted)),
        }
    }

    /// What has not been asked for and is not known either.
    fn rest(&self, element: &str, known: &[&str]) -> Vec<String> {
        let unknown = |(key, _, asked): &&(&str, String, bool)| !asked && !known.iter().any(|known| known == key);
        self.all.iter().filter(unknown).map(|(key, ..)| format!("{} of <{element}>", quoted(key))).collect()
    }
}

/// What an attribute can be.
struct Value<T> {
    parse: fn(&str) -> Option<T>,
    wanted: &'static str,
}

const WHOLE: Value<u32> = Value { parse: |text| text.parse().ok(), wanted: "a whole number" };
const BYTES: Value<u64> = Value { parse: |text| text.parse().ok(), wanted: "a number of bytes" };
const OR_NONE: Value<Option<u32>> = Value {
    parse: |text| if text == "-1" { Some(None) } else { text.parse().ok().map(Some) },
    wanted: "a whole number, or -1",
};
const FLAG: Value<bool> = Value {
    parse: |text| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    },
    wanted: "0 or 1",
};
const PROTO: Value<Proto> = Value {
    parse: |text| match text {
        "Simple" => Some(Proto::Simple),
        "LL" => Some(Proto::LowLatency),
        "LL128" => Some(Proto::LowLatency128),
        _ => None,
    },
    wanted: "Simple, LL or LL128",
};
const KIND: Value<Kind> = Value { parse: Kind::named, wanted: "s, r, rcs, rrs, rrc, rrcs, cpy, re or nop" };
const MEMORY: Value<Memory> = Value {
    parse: |text| match text {
        "i" => Some(Memory::Input),
        "o" => Some(Memory::Output),
        "s" => Some(Memory::Scratch),
        _ => None,
    },
    wanted: "i, o or s",
};
/// By MSCCL's spelling and by RCCL's.
const COLLECTIVE: Value<Option<Collective>> = Value {
    parse: |text| match text {
        "allreduce" => Some(Some(Collective::AllReduce)),
        "allgather" => Some(Some(Collective::AllGather)),
        "reducescatter" | "reduce_scatter" => Some(Some(Collective::ReduceScatter)),
        "broadcast" => Some(Some(Collective::Broadcast)),
        "reduce" => Some(Some(Collective::Reduce)),
        "gather" => Some(Some(Collective::Gather)),
        "scatter" => Some(Some(Collective::Scatter)),
        "alltoall" => Some(Some(Collective::AllToAll)),
        "custom" => Some(None),
        _ => None,
    },
    wanted: "allreduce, allgather, reducescatter, broadcast, reduce, gather, scatter, alltoall or custom",
};

/// Text of the file on one line, and not much of it.
fn quoted(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTED).collect::<String>().trim().to_owned();
    if text.chars().nth(QUOTED).is_some() {
        shown.push_str("...");
    }
    shown
}
