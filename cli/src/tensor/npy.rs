//! numpy's `.npy`: a magic number, a Python dict that describes one array, and the bytes of the array.
//!
//! The dict is parsed here and not by a crate because the readers at hand trust it: they allocate what a header
//! claims and overflow on its shape. It has three keys and no nesting that matters, so a cursor is enough.

use std::io::Read;

use wgccl::element::DataType;

use super::error::{NAME, TensorError, UNTYPED, class};
use super::input::{Data, Input, Layout};
use crate::text::one_line;

const MAGIC: &[u8] = b"\x93NUMPY";
/// No array of numbers has a header near this long; numpy itself refuses more than 10,000 bytes.
const MAX_HEADER: usize = 1 << 16;
/// A byte of no type, as which `ml_dtypes` has arrays of a dozen types saved.
const BYTE: &str = "V1";
/// numpy aligns the data to this.
const ALIGNMENT: usize = 64;

/// What the header says, and the elements behind it: `data`, told where they begin.
pub(super) fn layout<R: Read>(input: &mut Input<'_, R>, data: impl FnOnce(u64) -> Data) -> Result<Layout, TensorError> {
    let preamble = input.take(MAGIC.len() + 2, "preamble")?;
    if !preamble.starts_with(MAGIC) {
        return Err(input.malformed("it does not begin with \\x93NUMPY"));
    }
    let length = match preamble[MAGIC.len()..] {
        [1, 0] => input.take(2, "header length")?,
        [2 | 3, 0] => input.take(4, "header length")?,
        _ => {
            let (major, minor) = (preamble[MAGIC.len()], preamble[MAGIC.len() + 1]);
            return Err(input.malformed(format!("its version is {major}.{minor}; 1.0, 2.0 and 3.0 are read")));
        }
    };
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte));
    if length > MAX_HEADER {
        return Err(input.malformed(format!("its header claims {length} bytes, more than {MAX_HEADER}")));
    }
    let text = input.take(length, "header")?;
    let header = Header::parse(&String::from_utf8_lossy(&text)).map_err(|reason| input.malformed(reason))?;
    let (order, data_type) = known(&header.descr).unzip();
    Ok(Layout {
        data_type,
        type_text: type_text(&header.descr),
        shape: header.shape,
        name: None,
        data: data(input.at),
        big_endian: order == Some(">"),
        fortran: header.fortran,
    })
}

/// Everything that goes before the little-endian elements of an array of `shape`.
pub(super) fn header(kind: DataType, shape: &[u64]) -> Vec<u8> {
    let order = if kind.bytes() == 1 { '|' } else { '<' };
    let axes = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    // A tuple of one has a comma.
    let comma = if shape.len() == 1 { "," } else { "" };
    let dict =
        format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': ({axes}{comma}), }}", numpy_code(kind));
    let before = MAGIC.len() + 4;
    let length = (before + dict.len() + 1).next_multiple_of(ALIGNMENT) - before;
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // The caller keeps shapes short: see `Tensors::shape`.
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{dict:<width$}\n", width = length - 1).into_bytes());
    bytes
}

/// The type in a `descr`, after its byte order. numpy itself has neither bf16 nor fp8: the package `ml_dtypes` adds them, whose
/// arrays are saved as bytes of no type; but those of e5m2 as f1, which `np.load` refuses.
fn numpy_code(kind: DataType) -> String {
    match kind {
        DataType::BF16 => "V2".to_owned(),
        DataType::F8E4M3 | DataType::F8E5M2 => BYTE.to_owned(),
        _ => format!("{}{}", class(kind).1, kind.bytes()),
    }
}

/// The byte order and type of a `descr`, where this program has such a type. Like numpy: without an order, or with `=`, it is this
/// machine's.
fn known(descr: &str) -> Option<(&str, DataType)> {
    let native = if cfg!(target_endian = "big") { ">" } else { "<" };
    let (order, code) = match descr.split_at_checked(1)? {
        ("=", code) => (native, code),
        (order @ ("<" | ">" | "|"), code) => (order, code),
        _ => (native, descr),
    };
    let data_type = match code {
        BYTE => return None,
        "f1" => DataType::F8E5M2,
        _ => DataType::ALL.iter().copied().find(|&data_type| numpy_code(data_type) == code)?,
    };
    match order {
        // What has no byte order: bytes, and to numpy also what it has no name for.
        "|" if data_type.bytes() == 1 || data_type == DataType::BF16 => Some((order, data_type)),
        "|" => None,
        _ => Some((order, data_type)),
    }
}

/// A `descr` in this program's words where it has some.
fn type_text(descr: &str) -> String {
    let code = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    let known = match code {
        BYTE => UNTYPED,
        "f1" => "f8e5m2",
        "f2" => "f16",
        "f4" if !descr.starts_with('|') => "f32",
        "f8" => "f64",
        "i1" => "i8",
        "i2" => "i16",
        "i4" => "i32",
        "i8" => "i64",
        "u1" => "u8",
        "u2" => "u16",
        "u4" => "u32",
        "u8" => "u64",
        "b1" => "bool",
        "O" => "Python objects",
        "c8" | "c16" => "complex numbers",
        _ if code.starts_with(['S', 'U', 'a']) => "text",
        _ if code.starts_with(['M', 'm']) => "dates or times",
        _ if descr.starts_with(['[', '(']) => "records (a structured type)",
        _ => return format!("numpy's '{descr}'"),
    };
    known.to_owned()
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let mut cursor = Cursor(text);
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        cursor.expect('{')?;
        while !cursor.eat('}') {
            let key = cursor.string()?;
            cursor.expect(':')?;
            let again = match key {
                "descr" => descr.replace(cursor.descr()?).is_some(),
                "fortran_order" => fortran.replace(cursor.boolean()?).is_some(),
                "shape" => shape.replace(cursor.shape()?).is_some(),
                _ => return Err(format!("its header has the unknown key '{}'", one_line(key, NAME))),
            };
            if again {
                return Err(format!("its header has the key '{key}' twice"));
            }
            if !cursor.eat(',') {
                cursor.expect('}')?;
                break;
            }
        }
        if !cursor.rest().is_empty() {
            return Err(format!("its header goes on after its end with '{}'", one_line(cursor.rest(), NAME)));
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self { descr: descr.to_owned(), fortran, shape }),
            (None, ..) => Err("its header has no 'descr'".to_owned()),
            (_, None, _) => Err("its header has no 'fortran_order'".to_owned()),
            (.., None) => Err("its header has no 'shape'".to_owned()),
        }
    }
}

/// What is left of the header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn rest(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        self.0
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest().strip_prefix(expected) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, expected: char) -> Result<(), String> {
        if self.eat(expected) { Ok(()) } else { Err(self.unexpected(&format!("'{expected}'"))) }
    }

    fn unexpected(&mut self, expected: &str) -> String {
        match self.rest() {
            "" => format!("its header ends where {expected} should be"),
            rest => format!("its header has '{}' where {expected} should be", one_line(rest, 16)),
        }
    }

    /// The text up to `end`, which is left behind as well.
    fn until(&mut self, end: char) -> Option<&'a str> {
        let (text, rest) = self.0.split_once(end)?;
        self.0 = rest;
        Some(text)
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat('\'') {
            '\''
        } else if self.eat('"') {
            '"'
        } else {
            return Err(self.unexpected("a quoted string"));
        };
        self.until(quote).ok_or_else(|| "its header has a string without an end".to_owned())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest().strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    /// A type string, or the whole text of a structured type, which is only ever named in an error.
    fn descr(&mut self) -> Result<&'a str, String> {
        let text = self.rest();
        if !text.starts_with(['[', '(']) {
            return self.string();
        }
        let (mut depth, mut quote) = (0_usize, None);
        for (at, c) in text.char_indices() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '[' | '(') => depth += 1,
                (None, ']' | ')') => depth -= 1,
                (None, _) => {}
            }
            if depth == 0 {
                let (descr, rest) = text.split_at(at + 1);
                self.0 = rest;
                return Ok(descr);
            }
        }
        Err("its header has a structured type without an end".to_owned())
    }

    fn shape(&mut self) -> Result<Vec<u64>, String> {
        self.expect('(')?;
        let inside = self.until(')').ok_or_else(|| "its header has a shape without an end".to_owned())?;
        let mut axes: Vec<&str> = inside.split(',').map(str::trim).collect();
        // `()` and the comma after the last axis.
        if axes.last() == Some(&"") {
            axes.pop();
        }
        axes.into_iter().map(axis).collect()
    }
}

fn axis(text: &str) -> Result<u64, String> {
    let shown = one_line(text, NAME);
    // Python 2 wrote long integers with an L.
    let digits = text.strip_suffix('L').unwrap_or(text);
    match digits.strip_prefix('-').unwrap_or(digits) {
        number if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("its shape has the axis '{shown}', which is not a whole number"))
        }
        number if number.len() < digits.len() => Err(format!("its shape has the negative axis {shown}")),
        number => number.parse().map_err(|_| format!("its shape has the axis {shown}, which does not fit 64 bits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_numpy_writes_are_read() {
        for (text, descr, fortran, shape) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }   \n", "<f4", false, &[5][..]),
            ("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }", ">f8", true, &[2, 3]),
            ("{\"shape\":(),\"fortran_order\":False,\"descr\":\"|u1\"}", "|u1", false, &[]),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (3L, 4L)}", "<i8", false, &[3, 4]),
            (
                "{'descr': [('a]', '<f4'), ('b', '<i2', (2, 2))], 'fortran_order': False, 'shape': (1,), }",
                "[('a]', '<f4'), ('b', '<i2', (2, 2))]",
                false,
                &[1],
            ),
        ] {
            let expected = Header { descr: descr.to_owned(), fortran, shape: shape.to_vec() };
            assert_eq!(Header::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_written_header_is_as_numpy_writes_it() {
        let expected = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }";
        let header = header(DataType::F32, &[5]);
        assert!(header.starts_with(expected) && header.len() == 128 && header.ends_with(b" \n"));
        for (shape, written) in
            [(&[][..], "()"), (&[u64::MAX], "(18446744073709551615,)"), (&[64, 32, 1], "(64, 32, 1)")]
        {
            let header = super::header(DataType::F32, shape);
            let text = String::from_utf8_lossy(&header);
            assert!(
                header.len().is_multiple_of(ALIGNMENT) && text.contains(&format!("'shape': {written}, }}")),
                "{text}"
            );
        }
    }
}
