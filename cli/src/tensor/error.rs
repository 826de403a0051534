//! What can be wrong with a tensor file, in words that name the file and the remedy.
//!
//! Text that comes out of a file is cut and stripped of control characters, so that no file can flood a terminal.

use std::io;
use std::path::PathBuf;

use wgccl::element::DataType;
use wgccl::schedule::MAX_RANKS;

/// A tensor file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum TensorError {
    /// An empty list of files.
    #[error("no input file was named; give one .npy, .npz or .safetensors file per rank, or one with a row per rank")]
    NoFiles,
    /// The operating system refused.
    #[error("cannot read {}: {error}; check the path and its permissions", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// A directory, a device.
    #[error("{} is neither a regular file nor a pipe; name the file itself", path.display())]
    NotAFile { path: PathBuf },
    /// A file of no bytes.
    #[error("{} is empty: not even a .{format} header; save or copy it again", path.display())]
    Empty { path: PathBuf, format: &'static str },
    /// A format that is not read here.
    #[error(
        "cannot tell the format of {}: only .npy, .npz and .safetensors files are read; convert it to one of them",
        path.display()
    )]
    Format { path: PathBuf },
    /// What came through a pipe found no room.
    #[error(
        "cannot keep what {} holds in the directory of temporary files: {error}; write it to a file and name that",
        path.display()
    )]
    Keep { path: PathBuf, error: io::Error },
    /// Standard input, where nothing was directed to it.
    #[error("standard input is a terminal; direct a .npy, .npz or .safetensors file to it")]
    Terminal,
    /// Standard input for two ranks.
    #[error("- is standard input, which is one file, and was named twice; name files for the others")]
    Twice,
    /// Bytes that are not what the extension says.
    #[error("{} is damaged or not a .{format} file: {reason}; save or copy it again", path.display())]
    Malformed { path: PathBuf, format: &'static str, reason: String },
    /// A shape that needs more or fewer bytes than there are.
    #[error("{} is damaged: shape {shape} needs {claimed} bytes, but {present} bytes are there; save or copy it again", path.display())]
    Size { path: PathBuf, shape: String, claimed: String, present: u64 },
    /// Elements of another type than those of the first file.
    #[error(
        "{} holds {found}, but {wanted} is wanted, which the first file holds; convert one of them, for example with numpy: \
         a.astype({numpy})",
        path.display()
    )]
    Type { path: PathBuf, found: String, wanted: DataType, numpy: String },
    /// Elements of a type that no device computes here.
    #[error("{} holds {found}, and the types are {}; {}", path.display(), types(), remedy(found))]
    NoType { path: PathBuf, found: String },
    /// An axis of length 0.
    #[error("{} has shape {shape}, which is no element at all; give at least 1 element per rank", path.display())]
    NoElements { path: PathBuf, shape: String },
    /// A first axis that cannot be the ranks.
    #[error(
        "{} has shape {shape}: the first axis of a single file is the ranks, and {ranks} is more than {MAX_RANKS}; \
         for one rank, flatten it",
        path.display()
    )]
    Ranks { path: PathBuf, shape: String, ranks: u64 },
    /// Ranks of different lengths.
    #[error(
        "every rank needs equally many elements, but {} has {count} (shape {shape})\nand {} has {other_count} (shape \
         {other_shape}); pad or cut them to one length",
        path.display(),
        other.display()
    )]
    Lengths { path: PathBuf, count: usize, shape: String, other: PathBuf, other_count: usize, other_shape: String },
    /// A name for the tensor of a format that has no names.
    #[error("{} is a .npy file, which holds one array without a name; leave the tensor's name out", path.display())]
    Unnamed { path: PathBuf },
    /// No tensor, or none of that name, or several and no name.
    #[error("{} {problem}", path.display())]
    Choice { path: PathBuf, problem: String },
    /// More than this machine's memory.
    #[error("{} holds {bytes} bytes of elements, more than there is memory for; use a smaller tensor", path.display())]
    Memory { path: PathBuf, bytes: u64 },
    /// An output that cannot be written; nothing was left behind.
    #[error("cannot write {}: {error}; choose a directory that can be written to, with room for the result", path.display())]
    Write { path: PathBuf, error: io::Error },
    /// An output directory that is a file, or has no name, or holds what must not be overwritten or mixed with outputs.
    #[error("cannot write to '{}': {problem}", path.display())]
    Target { path: PathBuf, problem: String },
}

/// Characters that a name out of a file may take in a message.
pub(super) const NAME: usize = 48;
/// Characters that a reason may take in a message.
pub(super) const SENTENCE: usize = 160;

/// What a file says no type of, whatever it is: see [`Tensors::taken_as`](super::Tensors::taken_as).
pub(super) const UNTYPED: &str = "bytes of no type";

fn types() -> String {
    DataType::ALL.iter().map(|data_type| data_type.name()).collect::<Vec<_>>().join(", ")
}

/// What can be done with elements that are none of these, and keeps what they say.
fn remedy(found: &str) -> &'static str {
    match found {
        "complex numbers" | "c64" | "c128" => "give real and imaginary parts as files of their own: a.real, a.imag",
        "bool" => "convert it, for example with numpy: a.astype('uint8')",
        "i16" | "u16" => "convert it to a wider type, for example with numpy: a.astype('int32')",
        "text" | "Python objects" | "dates or times" => "give numbers",
        UNTYPED => {
            "if it is fp8 of ml_dtypes, say which: --type f8e4m3 for float8_e4m3fn, --type f8e5m2 for float8_e5m2"
        }
        _ if found.starts_with("records") => "give one of its fields as a file of its own",
        _ if found.starts_with("f8_") || found.starts_with("f4") || found.starts_with("f6_") => {
            "convert it, with PyTorch for example: t.to(torch.float16)"
        }
        _ => "if these are numbers, convert them to one of these types",
    }
}

/// A shape as `[4, 256]`, cut after eight axes.
pub(super) fn shape_text(shape: &[u64]) -> String {
    const SHOWN: usize = 8;
    let axes = shape.iter().take(SHOWN).map(u64::to_string).collect::<Vec<_>>().join(", ");
    if shape.len() > SHOWN { format!("[{axes}, ... ({} axes)]", shape.len()) } else { format!("[{axes}]") }
}

/// What `astype` takes.
pub(super) fn numpy_name(kind: DataType) -> String {
    match kind {
        DataType::BF16 => "ml_dtypes.bfloat16".to_owned(),
        DataType::F8E4M3 => "ml_dtypes.float8_e4m3fn".to_owned(),
        DataType::F8E5M2 => "ml_dtypes.float8_e5m2".to_owned(),
        _ => format!("'{}{}'", class(kind).0, 8 * kind.bytes()),
    }
}

/// numpy's word and letter for a number of this class, whatever its length.
pub(super) fn class(kind: DataType) -> (&'static str, char) {
    match kind.name().starts_with('u') {
        _ if kind.is_float() => ("float", 'f'),
        true => ("uint", 'u'),
        false => ("int", 'i'),
    }
}
