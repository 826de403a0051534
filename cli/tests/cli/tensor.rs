//! Tensor files: what is read, what is refused and how, and that no file can crash the reader or make it allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use tempfile::TempDir;
use wgccl::element::{DataType, Element, bf16, f8e4m3, f8e5m2, f16};
use wgccl_cli::tensor::{TensorError, Tensors, load, save, save_as};

use crate::root;

/// The system's allocator, which remembers the largest request of each thread, and how much it was in all.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

fn seen(bytes: usize) {
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
    let _ = TOTAL.try_with(|total| total.set(total.get().saturating_add(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged; the note of its size allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        seen(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        seen(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        seen(bytes);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Runs `load` and checks that it asked for no more than `limit` bytes at once.
fn load_within(limit: usize, files: &[PathBuf], tensor: Option<&str>) -> Result<Vec<Vec<f32>>, TensorError> {
    LARGEST.set(0);
    let result = load(files, tensor);
    assert!(LARGEST.get() <= limit, "{} bytes at once for {files:?}", LARGEST.get());
    result
}

/// The headers here take a few hundred bytes, the longest one 64 KiB.
const LITTLE: usize = 256 << 10;

pub(crate) fn npy(version: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((dict.len() as u16).to_le_bytes()),
        _ => bytes.extend((dict.len() as u32).to_le_bytes()),
    }
    bytes.extend(dict.as_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn dict(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

/// A file of `<f4` in C order whose shape is `shape`.
pub(crate) fn f4(shape: &str, values: &[f32]) -> Vec<u8> {
    npy(1, &dict("'<f4'", "False", shape), &little(values))
}

pub(crate) fn little(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn big(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

pub(crate) fn safetensors(json: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(data);
    bytes
}

/// An archive of arrays, as numpy's `savez` and `savez_compressed` write it.
pub(crate) fn npz(members: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, bytes) in members {
        let method = if deflated { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
        let name = format!("{name}.npy");
        let (mut entry, config) = archive.new_file(name.as_str()).compression_method(method).start().unwrap();
        let written = match deflated {
            true => {
                let mut member = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
                member.write_all(bytes).unwrap();
                let (encoder, written) = member.finish().unwrap();
                encoder.finish().unwrap();
                written
            }
            false => {
                let mut member = config.wrap(&mut entry);
                member.write_all(bytes).unwrap();
                member.finish().unwrap().1
            }
        };
        entry.finish(written).unwrap();
    }
    archive.finish().unwrap()
}

pub(crate) fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    // A new file each time: ext4 flushes one that is cut to nothing and written again, a hundred times slower.
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    path
}

pub(crate) const SIX: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn one_file_is_a_row_per_rank_and_several_are_a_rank_each() {
    let dir = TempDir::new().unwrap();
    let rows = vec![SIX[..3].to_vec(), SIX[3..].to_vec()];
    let whole = vec![SIX.to_vec()];
    let fortran = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
    let json = r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let cases = [
        ("row.npy", f4("(6,)", &SIX), &whole),
        ("rows.npy", f4("(2, 3)", &SIX), &rows),
        ("axes.NPY", f4("(2, 3, 1)", &SIX), &rows),
        ("one row.npy", f4("(1, 6)", &SIX), &whole),
        ("no comma.npy", f4("(6)", &SIX), &whole),
        ("python 2.npy", f4("(2L, 3L)", &SIX), &rows),
        ("v2.npy", npy(2, &dict("'<f4'", "False", "(2, 3)"), &little(&SIX)), &rows),
        ("v3.npy", npy(3, &dict("'<f4'", "False", "(2, 3)"), &little(&SIX)), &rows),
        ("big.npy", npy(1, &dict("'>f4'", "False", "(2, 3)"), &big(&SIX)), &rows),
        ("fortran.npy", npy(1, &dict("'<f4'", "True", "(2, 3)"), &little(&fortran)), &rows),
        ("big fortran.npy", npy(1, &dict("'>f4'", "True", "(2, 3)"), &big(&fortran)), &rows),
        ("quotes.npy", npy(1, r#"{"shape":(6,),"descr":"<f4","fortran_order":False}"#, &little(&SIX)), &whole),
        ("x.safetensors", safetensors(json, &little(&SIX)), &rows),
        ("stored.npz", npz(&[("x", &f4("(2, 3)", &SIX))], false), &rows),
        ("deflated.npz", npz(&[("x", &f4("(2, 3)", &SIX))], true), &rows),
        ("fortran.npz", npz(&[("x", &npy(1, &dict("'<f4'", "True", "(2, 3)"), &little(&fortran)))], true), &rows),
        // Known by what is in it.
        ("no name", f4("(2, 3)", &SIX), &rows),
        ("no name either", safetensors(json, &little(&SIX)), &rows),
        ("archive", npz(&[("x", &f4("(2, 3)", &SIX))], false), &rows),
    ];
    for (name, bytes, expected) in &cases {
        let path = write(&dir, name, bytes);
        assert_eq!(load::<f32>(std::slice::from_ref(&path), None).unwrap(), **expected, "{name}");
        assert_eq!(load::<f32>(&[path.clone(), path], None).unwrap(), [&whole[0][..]; 2], "two of {name}");
    }
    let scalar = write(&dir, "scalar.npy", &f4("()", &[7.0]));
    assert_eq!(load::<f32>(&[scalar], None).unwrap(), [[7.0]]);
}

#[test]
fn a_tensor_is_found_by_its_name() {
    let dir = TempDir::new().unwrap();
    let json = r#"{"b":{"dtype":"F32","shape":[3],"data_offsets":[12,24]},
                   "a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},
                   "half":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]}}"#;
    let file = write(&dir, "two.safetensors", &safetensors(json, &[little(&SIX), vec![0; 4]].concat()));
    for (name, expected) in [("a", &SIX[..3]), ("b", &SIX[3..])] {
        assert_eq!(load_within(LITTLE, std::slice::from_ref(&file), Some(name)).unwrap(), [expected]);
    }
    for (name, parts) in [
        (None, &["holds 3 tensors", "a, b, half"][..]),
        (Some("c"), &["no tensor 'c'", "a, b, half"]),
        (Some("half"), &["holds bf16, but f32 is wanted"]),
    ] {
        let error = load_within(LITTLE, std::slice::from_ref(&file), name).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{name:?}: {error}");
    }
}

/// A header of a million tensors takes seconds: whoever opened a file has all of it.
#[test]
fn a_header_is_read_once() {
    let dir = TempDir::new().unwrap();
    let tensors: Vec<String> =
        (0..5000).map(|i| format!(r#""t{i}":{{"dtype":"I16","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let wanted = r#""x":{"dtype":"U8","shape":[2,3],"data_offsets":[0,6]}"#;
    let json = format!("{{{},{wanted}}}", tensors.join(","));
    let file = write(&dir, "many.safetensors", &safetensors(&json, &[1, 2, 3, 4, 5, 6]));
    let files = [file];
    let cost = |work: &dyn Fn()| {
        TOTAL.set(0);
        work();
        TOTAL.get()
    };
    let open = || Tensors::open(&files, Some("x")).unwrap();
    let once = cost(&|| drop(open()));
    assert!(once > json.len(), "{once}");
    let opened = open();
    let rest = cost(&|| {
        assert_eq!((opened.data_type().unwrap(), opened.ranks().unwrap()), (DataType::U8, 2));
        assert_eq!(opened.read::<u8>().unwrap(), [[1, 2, 3], [4, 5, 6]]);
        assert!(opened.read::<f32>().unwrap_err().to_string().contains("holds u8, but f32 is wanted"));
    });
    assert!(rest < 10_000, "{rest} after {once}");
}

#[test]
fn nan_payloads_infinities_zeros_and_subnormals_keep_their_bits() {
    let dir = TempDir::new().unwrap();
    let bits = [0x7fc0_dead_u32, 0xffc0_0001, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 1, 0x7f7f_ffff];
    let values = bits.map(f32::from_bits);
    let out = dir.path().join("out");
    save(&out, &[&values[..]]).unwrap();
    let json = r#"{"x":{"dtype":"F32","shape":[7],"data_offsets":[0,28]}}"#;
    for file in [out.join("rank0.npy"), write(&dir, "x.safetensors", &safetensors(json, &little(&values)))] {
        let loaded = load::<f32>(&[file], None).unwrap();
        assert_eq!(loaded[0].iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
    }
}

#[test]
fn every_bad_file_gives_one_clear_error_and_no_large_allocation() {
    let dir = TempDir::new().unwrap();
    let typed = |descr: &str| npy(1, &dict(descr, "False", "(6,)"), &[0; 48]);
    let shaped = |shape: &str| f4(shape, &SIX);
    let text = |text: &str| npy(1, text, &little(&SIX));
    let mut future = f4("(6,)", &SIX);
    future[6] = 4;
    let mut long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
    long.extend([b' '; 1000]);
    let nested = dict("'<f4'", "False", &format!("{}{}", "(".repeat(30_000), ")".repeat(30_000)));
    let records = dict(&format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)), "False", "(6,)");
    let json = |dtype: &str, shape: &str, offsets: &str| {
        let json = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
        safetensors(&json, &little(&SIX))
    };
    let ten_names: Vec<String> =
        (0..10).map(|i| format!(r#""t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let ten_names = safetensors(&format!("{{{}}}", ten_names.join(",")), &[]);
    let deep_json = safetensors(&format!(r#"{{"x":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000)), &[]);
    let claims = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let escape = json("F32\u{1b}[31m\\n", "[6]", "[0,24]");

    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.npy", vec![], &["is empty"]),
        ("empty.safetensors", vec![], &["is empty"]),
        ("x.npz", f4("(6,)", &SIX), &["damaged or not a .npz file"]),
        ("empty.npz", vec![], &["is empty"]),
        ("none", b"0.5, 0.25".to_vec(), &["only .npy, .npz and .safetensors"]),
        ("none.csv", vec![], &["only .npy, .npz and .safetensors"]),
        ("index.json", b"{\"weight_map\": 1}".to_vec(), &["damaged or not a .safetensors.index.json file"]),
        ("above.json", br#"{"weight_map": {"x": "../x"}}"#.to_vec(), &["'../x', which is no file beside it"]),
        ("root.json", br#"{"weight_map": {"x": "/x"}}"#.to_vec(), &["'/x', which is no file beside it"]),
        ("short.npy", b"\x93NUM".to_vec(), &["preamble", "cut short"]),
        ("magic.npy", b"PK\x03\x04 is a zip file".to_vec(), &["does not begin with \\x93NUMPY"]),
        ("future.npy", future, &["version is 4.0"]),
        ("no length.npy", b"\x93NUMPY\x01\x00\x10".to_vec(), &["header length", "cut short"]),
        ("long.npy", long, &["header claims 4294967295 bytes"]),
        ("header.npy", f4("(6,)", &SIX)[..40].to_vec(), &["header of", "cut short"]),
        ("cut.npy", f4("(6,)", &SIX[..5]), &["shape [6] needs 24 bytes, but 20 bytes are there"]),
        ("more.npy", f4("(5,)", &SIX), &["shape [5] needs 20 bytes, but 24 bytes are there"]),
        ("ten GB.npy", shaped("(2500000000,)"), &["needs 10000000000 bytes, but 24"]),
        ("wraps.npy", shaped("(4294967296, 4294967296, 4)"), &["needs more than 2^64 bytes"]),
        ("wraps to 24.npy", shaped("(4611686018427387910,)"), &["needs more than 2^64 bytes"]),
        ("2^64.npy", shaped("(18446744073709551616,)"), &["does not fit 64 bits"]),
        ("negative.npy", shaped("(-6,)"), &["negative axis -6"]),
        ("float.npy", shaped("(6.0,)"), &["'6.0', which is not a whole number"]),
        ("no tuple.npy", shaped("6"), &["where '(' should be"]),
        ("hole.npy", shaped("(6,,)"), &["'', which is not a whole number"]),
        ("zero.npy", f4("(0,)", &[]), &["shape [0]", "no element"]),
        ("zero rank.npy", f4("(0, 4)", &[]), &["shape [0, 4]", "no element"]),
        ("zero and huge.npy", shaped("(0, 18446744073709551615, 9)"), &["no element"]),
        ("column.npy", f4("(5000, 1)", &[0.0; 5000]), &["5000 is more than 4096", "flatten"]),
        ("f8.npy", typed("'<f8'"), &["holds f64, but f32 is wanted", "astype('float32')"]),
        ("i4.npy", typed("'>i4'"), &["holds i32"]),
        ("u1.npy", typed("'|u1'"), &["holds u8"]),
        ("bool.npy", typed("'|b1'"), &["holds bool, and the types are f32", "astype('uint8')"]),
        ("complex.npy", typed("'<c8'"), &["holds complex numbers", "a.real, a.imag"]),
        ("u2.npy", typed("'<u2'"), &["holds u16", "a wider type"]),
        ("object.npy", typed("'|O'"), &["holds Python objects"]),
        ("text.npy", typed("'<U3'"), &["holds text"]),
        ("void.npy", typed("'<V2'"), &["holds numpy's '<V2'"]),
        ("order.npy", typed("'|f4'"), &["holds numpy's '|f4'"]),
        ("native f8.npy", typed("'=f8'"), &["holds f64, but f32 is wanted"]),
        ("no type.npy", typed("''"), &["holds numpy's ''"]),
        ("unicode.npy", typed("'\u{20ac}f4'"), &["holds numpy's"]),
        ("records.npy", typed("[('a', '<f4')]"), &["holds records"]),
        ("open records.npy", text("{'descr': [('a', '<f4')"), &["structured type without an end"]),
        ("nested.npy", npy(1, &nested, &little(&SIX)), &["not a whole number"]),
        ("deep.npy", npy(1, &records, &little(&SIX)), &["holds records"]),
        ("no dict.npy", text("[1, 2]"), &["where '{' should be"]),
        ("blank.npy", text(""), &["header ends where '{' should be"]),
        ("open.npy", text("{'descr': '<f4'"), &["header ends where '}' should be"]),
        ("open string.npy", text("{'descr"), &["string without an end"]),
        ("no descr.npy", text("{'fortran_order': False, 'shape': (6,)}"), &["no 'descr'"]),
        ("no order.npy", text("{'descr': '<f4', 'shape': (6,)}"), &["no 'fortran_order'"]),
        ("no shape.npy", text("{'descr': '<f4', 'fortran_order': False}"), &["no 'shape'"]),
        ("key.npy", text("{'x': 1}"), &["unknown key 'x'"]),
        ("twice.npy", text("{'shape': (6,), 'shape': (6,)}"), &["key 'shape' twice"]),
        ("order 1.npy", text("{'fortran_order': 1}"), &["True or False"]),
        ("tail.npy", text(&(dict("'<f4'", "False", "(6,)") + "x")), &["goes on after its end with 'x'"]),
        ("control.npy", text("{'\u{1b}[31m\n': 1}"), &["unknown key"]),
        ("length.safetensors", vec![1, 0, 0], &["header length", "cut short"]),
        ("claim.safetensors", claims(3), &["header claims 3 bytes, the whole file has 10"]),
        ("ten GB.safetensors", claims(10_000_000_000), &["header claims 10000000000 bytes"]),
        ("2^64.safetensors", claims(u64::MAX), &["header claims 18446744073709551615 bytes"]),
        ("none.safetensors", claims(2), &["holds no tensor"]),
        ("json.safetensors", safetensors("{\"x\":", &[]), &["EOF"]),
        ("utf8.safetensors", [&2_u64.to_le_bytes()[..], b"\xff\xfe"].concat(), &["damaged"]),
        ("deep.safetensors", deep_json, &["invalid type: sequence"]),
        ("cut.safetensors", json("F32", "[7]", "[0,28]"), &["promises 28 bytes of tensors, but 24"]),
        ("more.safetensors", json("F32", "[5]", "[0,20]"), &["promises 20 bytes of tensors, but 24"]),
        ("big.safetensors", json("F32", "[2500000000]", "[0,10000000000]"), &["promises 10000000000 bytes"]),
        ("shape.safetensors", json("F32", "[5]", "[0,24]"), &["shape [5] needs 20 bytes, but 24 bytes are there"]),
        ("wraps.safetensors", json("F32", "[4294967296,4294967296,4]", "[0,24]"), &["more than 2^64 bytes"]),
        ("negative.safetensors", json("F32", "[-6]", "[0,24]"), &["invalid value"]),
        ("offsets.safetensors", json("F32", "[6]", "[24,0]"), &["invalid offsets"]),
        ("gap.safetensors", json("F32", "[5]", "[4,24]"), &["invalid offsets"]),
        (
            "zero.safetensors",
            safetensors(r#"{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, &[]),
            &["no element"],
        ),
        ("f64.safetensors", json("F64", "[3]", "[0,24]"), &["holds f64, but f32 is wanted"]),
        ("f99.safetensors", json("F99", "[6]", "[0,24]"), &["holds f99", "if these are numbers"]),
        ("fp8.safetensors", json("F8_E8M0", "[24]", "[0,24]"), &["holds f8_e8m0", "torch.float16"]),
        ("escape.safetensors", escape, &["damaged"]),
        ("names.safetensors", ten_names, &["holds 10 tensors", "t0, t1, t2, t3, t4, t5, t6, t7 and 2 more"]),
    ];
    for (name, bytes, parts) in &cases {
        let path = write(&dir, name, bytes);
        let error = load_within(LITTLE.max(2 * bytes.len()), &[path], None).unwrap_err().to_string();
        let told = [&[*name], *parts].concat();
        assert!(told.iter().all(|part| error.contains(part)), "{name}: {error}\nshould contain {told:?}");
        let shown = error.replace(&dir.path().display().to_string(), "");
        assert!(shown.len() < 320 && !shown.contains(char::is_control), "{name}: {} bytes: {shown}", shown.len());
        println!("{}", shown.trim_start_matches('/'));
    }
}

/// Tied weights share their bytes, and what is newer than this program stands beside what is not.
#[test]
fn a_tensor_is_read_whatever_lies_beside_it() {
    let dir = TempDir::new().unwrap();
    let one = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let file = |name: &str, tensors: &[String]| {
        let header = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, tensors.join(","));
        write(&dir, name, &safetensors(&header, &little(&SIX)))
    };
    let tied = [one("b", "F32", "[2]", "[0,8]"), one("a", "F32", "[2]", "[0,8]"), one("c", "F32", "[4]", "[8,24]")];
    let tied = file("tied.safetensors", &tied);
    for (name, values) in [("a", &SIX[..2]), ("b", &SIX[..2]), ("c", &SIX[2..])] {
        assert_eq!(load::<f32>(std::slice::from_ref(&tied), Some(name)).unwrap(), [values], "{name}");
    }
    let newer = file("newer.safetensors", &[one("x", "I128", "[1]", "[0,16]"), one("w", "F32", "[2]", "[16,24]")]);
    assert_eq!(load::<f32>(std::slice::from_ref(&newer), Some("w")).unwrap(), [&SIX[4..]]);
    let error = load::<f32>(&[newer], Some("x")).unwrap_err().to_string();
    assert!(error.contains("holds i128, and the types are"), "{error}");
    for (tensors, said) in [
        (
            vec![one("a", "F32", "[2]", "[0,8]"), one("b", "F32", "[5]", "[4,24]")],
            "'b' has the invalid offsets [4, 24]",
        ),
        (vec![one("a", "F32", "[6]", "[0,24]"), one("a", "F32", "[6]", "[0,24]")], "has another's name"),
        (vec![one("a", "F32", "[2]", "[0,8]"), one("b", "F32", "[2]", "[12,20]")], "'b' has the invalid offsets"),
    ] {
        let error = load::<f32>(&[file("bad.safetensors", &tensors)], Some("a")).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn every_bad_path_gives_one_clear_error() {
    let dir = TempDir::new().unwrap();
    let directory = dir.path().join("directory.npy");
    fs::create_dir(&directory).unwrap();
    let a = write(&dir, "a.npy", &f4("(2, 3)", &SIX));
    let b = write(&dir, "b.npy", &f4("(5,)", &SIX[..5]));
    let f8 = write(&dir, "f8.npy", &npy(1, &dict("'<f8'", "False", "(1,)"), &[0; 8]));
    let missing = dir.path().join("missing.npy");
    for (files, tensor, parts) in [
        (vec![], None, &["no input file was named"][..]),
        (vec![&missing], None, &["cannot read", "missing.npy"]),
        (vec![&a, &missing], None, &["cannot read", "missing.npy"]),
        (vec![&directory], None, &["directory.npy is neither a regular file nor a pipe"]),
        (vec![&a], Some("x"), &["a.npy", "leave the tensor's name out"]),
        (vec![&a, &a, &b], None, &["a.npy has 6 (shape [2, 3])", "b.npy has 5 (shape [5])"]),
        (vec![&a, &f8], None, &["f8.npy holds f64"]),
    ] {
        let files: Vec<PathBuf> = files.into_iter().cloned().collect();
        let error = load_within(LITTLE, &files, tensor).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}\nshould contain {parts:?}");
        assert!(error.lines().count() <= 2, "{error}");
    }
}

/// xorshift64: the same mutants on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn no_mutant_of_a_valid_file_panics_or_allocates_much() {
    const MUTANTS: usize = 5000;
    const PIECES: [&[u8]; 14] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"99999999999999999999",
        b"-1",
        b"'",
        b"(",
        b")",
        b"[",
        b"{",
        b"}",
        b",",
        b"0",
        b"\"",
        b"\xe2\x82\xac",
    ];
    let dir = TempDir::new().unwrap();
    let json = r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"y":{"dtype":"U8","shape":[4],"data_offsets":[24,28]}}"#;
    let seeds = [
        ("m.npy", f4("(2, 3)", &SIX)),
        ("v2.npy", npy(2, &dict("'>f4'", "True", "(2, 3)"), &big(&SIX))),
        ("records.npy", npy(3, &dict("[('a', '<f4', (2,)), ('b', '|u1')]", "False", "(2, 3)"), &[0; 54])),
        ("m.safetensors", safetensors(json, &[little(&SIX), vec![1; 4]].concat())),
        ("stored.npz", npz(&[("x", &f4("(2, 3)", &SIX))], false)),
        ("deflated.npz", npz(&[("x", &f4("(2, 3)", &SIX)), ("y", &f4("(1,)", &SIX[..1]))], true)),
    ];
    let mut random = Random(0x5eed);
    for (name, seed) in &seeds {
        let tensor = (!name.ends_with("npy")).then_some("x");
        let mut refused = 0;
        for _ in 0..MUTANTS {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len().max(1));
                // Half of the mutations hit the first bytes, where the lengths are.
                let at = if random.below(2) == 0 { at % 16 } else { at }.min(bytes.len());
                match random.below(5) {
                    0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                    1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                    2 => bytes.truncate(at),
                    3 => drop(bytes.drain(at..bytes.len().min(at + 1 + random.below(8)))),
                    _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
                }
            }
            let path = write(&dir, name, &bytes);
            match load_within(LITTLE, &[path], tensor) {
                Ok(ranks) => assert!(ranks.iter().map(Vec::len).sum::<usize>() * 4 <= bytes.len()),
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().lines().count() <= 2, "{error}");
                }
            }
        }
        println!("{name}: {refused} of {MUTANTS} mutants refused");
        assert!(refused > MUTANTS / 2, "{name}: {refused}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let dir = TempDir::new().unwrap();
    let json = r#"{"x":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}"#;
    for (name, whole) in [
        ("t.npy", f4("(6,)", &SIX)),
        ("t.safetensors", safetensors(json, &little(&SIX))),
        ("t.npz", npz(&[("x", &f4("(6,)", &SIX))], true)),
    ] {
        for length in 0..whole.len() {
            let path = write(&dir, name, &whole[..length]);
            assert!(load_within(LITTLE, &[path], None).is_err(), "{name} cut to {length} bytes");
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_loaded_again_and_nothing_else_is_left() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("a/b");
    let outputs: Vec<Vec<f32>> = (0..12).map(|rank| vec![2.0 * rank as f32; 5]).collect();
    save(&out, &outputs.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    assert_eq!(names(&out).len(), 12, "{:?}", names(&out));
    let files: Vec<PathBuf> = (0..12).map(|rank| out.join(format!("rank{rank}.npy"))).collect();
    assert_eq!(load::<f32>(&files, None).unwrap(), outputs);
    let bytes = fs::read(out.join("rank3.npy")).unwrap();
    let header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }  ";
    assert!(bytes.starts_with(header) && bytes[127] == b'\n' && bytes[128..] == little(&[6.0; 5]));
}

#[test]
fn outputs_keep_the_shape_of_inputs_and_unlike_ones_are_told() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, shape: &str| write(&dir, name, &f4(shape, &SIX));
    let [a, b, turned] = [("a.npy", "(2, 3)"), ("b.npy", "(2, 3)"), ("turned.npy", "(3, 2)")].map(|(n, s)| file(n, s));
    let named = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}}}"#);
        write(&dir, &format!("{name}.safetensors"), &safetensors(&header, &little(&SIX)))
    };
    for (files, whole, shape, told) in [
        (vec![a.clone(), b.clone()], false, Some(vec![2, 3]), None),
        (vec![a.clone()], false, Some(vec![3]), None),
        (vec![a.clone()], true, Some(vec![2, 3]), None),
        (vec![file("flat.npy", "(6,)")], false, Some(vec![6]), None),
        (vec![a.clone(), turned.clone()], false, None, Some("shapes differ, [2, 3] in ")),
        (vec![named("grad"), named("weight")], false, Some(vec![6]), Some("names of tensors differ, 'grad' in ")),
    ] {
        let tensors = Tensors::open(&files, None).unwrap();
        assert_eq!(tensors.shape(whole), shape, "{files:?}");
        let said = tensors.unlike();
        assert_eq!(said.is_some(), told.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().contains(told.unwrap_or_default()), "{files:?}");
    }
    for (shape, written) in
        [(Some(&[2, 3][..]), "(2, 3)"), (Some(&[1, 6]), "(1, 6)"), (Some(&[7]), "(6,)"), (None, "(6,)")]
    {
        let out = dir.path().join(format!("{shape:?}"));
        save_as(&out, &[&SIX[..]], shape).unwrap();
        let bytes = fs::read(out.join("rank0.npy")).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains(&format!("'shape': {written}, }}")), "{shape:?}");
        assert_eq!(Tensors::open(&[out.join("rank0.npy")], None).unwrap().read_whole::<f32>().unwrap(), SIX);
    }
}

#[test]
fn a_save_that_cannot_be_done_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let file = write(&dir, "file", b"mine");
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.npy"), b"old").unwrap();
    let (taken, folder) = (dir.path().join("taken"), dir.path().join("folder"));
    fs::create_dir_all(folder.join("rank1.npy")).unwrap();
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("rank7.npy"), b"old").unwrap();
    let before = names(dir.path());
    for (target, parts) in [
        (PathBuf::new(), &["no directory was named"][..]),
        (file.clone(), &["file': ", "file is a file; name a directory"]),
        (file.join("below"), &["cannot write", "below", "file is a file; name a directory"]),
        (taken.clone(), &["taken", "holds rank7.npy already", "another directory"]),
        (folder.clone(), &["folder", "holds rank1.npy already"]),
        (other.clone(), &["other", "holds a.npy already", "a new or an empty one"]),
    ] {
        let error = save(&target, &[&SIX[..], &SIX]).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}\nshould contain {parts:?}");
        assert!(error.lines().count() <= 2, "{error}");
        assert_eq!(names(dir.path()), before);
    }
    assert_eq!((names(&taken), names(&folder)), (vec!["rank7.npy".to_owned()], vec!["rank1.npy".to_owned()]));
    assert_eq!(fs::read(taken.join("rank7.npy")).unwrap(), b"old");
    assert_eq!(fs::read(file).unwrap(), b"mine");
}

/// Runs itself again below a limit on the size of files, where the second rank's write fails half way.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    const KEY: &str = "WGCCL_TEST_FULL_DISK";
    if let Some(out) = std::env::var_os(KEY) {
        let error = save(Path::new(&out), &[&SIX[..], &[1.0; 100_000]]).unwrap_err().to_string();
        assert!(error.contains("rank1.npy: File too large"), "{error}");
        return;
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.npy"), b"old").unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for out in [empty.clone(), dir.path().join("new"), dir.path().join("new/er")] {
        let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact tensor::a_full_disk_leaves_nothing_half_written";
        let child =
            Command::new("sh").args(["-c", limited]).arg(std::env::current_exe().unwrap()).env(KEY, &out).output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
        assert_eq!((names(dir.path()), names(&empty).len()), (vec!["a.npy".to_owned(), "empty".to_owned()], 0));
        assert_eq!(fs::read(dir.path().join("a.npy")).unwrap(), b"old");
    }
}

#[test]
fn real_gradients_are_four_ranks_of_one_length() {
    let folder = root().join("assets/gradients");
    let files: Vec<PathBuf> = (0..4).map(|rank| folder.join(format!("rank{rank}.npy"))).collect();
    let ranks = load::<f32>(&files, None).unwrap();
    assert!(ranks.iter().all(|rank| rank.len() == 2410 && rank.iter().all(|value| value.is_finite() && *value != 0.0)));
}

/// What a header must say for every type, in the three byte orders, and that the bytes stay as they are.
#[test]
fn every_type_is_read_and_written() {
    fn check<T: Element>(descr: &str, dtype: &str, numpy: &str) {
        let dir = TempDir::new().unwrap();
        let values: Vec<T> = (1..=6).map(|i| T::scaled(i, 0)).collect();
        let bytes: Vec<u8> = bytemuck::cast_slice(&values).to_vec();
        save(dir.path(), &[&values]).unwrap();
        let saved = dir.path().join("rank0.npy");
        let text = fs::read(&saved).unwrap();
        assert!(text[10..].starts_with(format!("{{'descr': '{descr}', ").as_bytes()), "{descr}");
        let json = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[6],"data_offsets":[0,{}]}}}}"#, bytes.len());
        let tensors = write(&dir, "x.safetensors", &safetensors(&json, &bytes));
        let turned: Vec<u8> = bytes.chunks(size_of::<T>()).flat_map(|element| element.iter().rev().copied()).collect();
        let big = npy(1, &dict(&format!("'>{}'", &descr[1..]), "False", "(6,)"), &turned);
        let big = write(&dir, "big.npy", &big);
        for file in [saved, tensors, big] {
            assert!(load::<T>(std::slice::from_ref(&file), None).unwrap() == [values.clone()], "{descr} {file:?}");
        }
        let other = write(&dir, "other.npy", &npy(1, &dict("'|b1'", "False", "(6,)"), &[0; 6]));
        let error = load::<T>(&[other], None).err().unwrap().to_string();
        assert!(error.contains("holds bool, and the types are") && error.contains("astype('uint8')"), "{error}");
        let kind = if T::TYPE == DataType::I8 { "|u1" } else { "|i1" };
        let other = write(&dir, "other.npy", &npy(1, &dict(&format!("'{kind}'"), "False", "(6,)"), &[0; 6]));
        let error = load::<T>(&[other], None).err().unwrap().to_string();
        assert!(error.contains(&format!("but {} is wanted", T::TYPE)) && error.contains(numpy), "{error}");
        // This machine's own order, in numpy's spellings of it.
        for spelled in ["", "="] {
            let native = npy(1, &dict(&format!("'{spelled}{}'", &descr[1..]), "False", "(6,)"), &bytes);
            let native = write(&dir, "native.npy", &native);
            assert!(load::<T>(&[native], None).unwrap() == [values.clone()], "{spelled}{descr}");
        }
    }
    check::<f32>("<f4", "F32", "astype('float32')");
    check::<f16>("<f2", "F16", "astype('float16')");
    check::<bf16>("<V2", "BF16", "astype(ml_dtypes.bfloat16)");
    check::<f64>("<f8", "F64", "astype('float64')");
    check::<i32>("<i4", "I32", "astype('int32')");
    check::<u32>("<u4", "U32", "astype('uint32')");
    check::<i64>("<i8", "I64", "astype('int64')");
    check::<u64>("<u8", "U64", "astype('uint64')");
    check::<i8>("|i1", "I8", "astype('int8')");
    check::<u8>("|u1", "U8", "astype('uint8')");
}

/// `ml_dtypes` has a dozen types whose arrays say only how long an element is.
#[test]
fn fp8_is_what_a_file_says_or_a_user() {
    fn check<T: Element>(descr: &str, dtype: &str, numpy: &str) {
        let dir = TempDir::new().unwrap();
        let values: Vec<T> = (1..=6).map(|i| T::scaled(i, -2)).collect();
        let bytes = bytemuck::cast_slice(&values);
        save(dir.path(), &[&values]).unwrap();
        let saved = dir.path().join("rank0.npy");
        assert!(fs::read(&saved).unwrap()[10..].starts_with(b"{'descr': '|V1', "));
        let open = |path: &Path| Tensors::open(&[path.to_owned()], None).unwrap();
        let theirs = write(&dir, "theirs.npy", &npy(1, &dict(&format!("'{descr}'"), "False", "(6,)"), bytes));
        for path in [&saved, &theirs] {
            assert!(open(path).taken_as(Some(T::TYPE)).read::<T>().unwrap() == [values.clone()], "{descr} {path:?}");
        }
        for data_type in [None, Some(DataType::F32), Some(DataType::U8)] {
            let error = open(&saved).taken_as(data_type).data_type().unwrap_err().to_string();
            let parts = ["holds bytes of no type", "--type f8e4m3 for float8_e4m3fn", "--type f8e5m2"];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        let json = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[6],"data_offsets":[0,6]}}}}"#);
        let tensors = open(&write(&dir, "x.safetensors", &safetensors(&json, bytes)));
        assert_eq!(tensors.data_type().unwrap(), T::TYPE);
        assert!(tensors.read::<T>().unwrap() == [values.clone()], "{dtype}");
        // A type that a file says is no other, whatever is asked for.
        let other = if T::TYPE == DataType::F8E4M3 { DataType::F8E5M2 } else { DataType::F8E4M3 };
        assert_eq!(tensors.taken_as(Some(other)).data_type().unwrap(), T::TYPE);
        let other = write(&dir, "other.npy", &npy(1, &dict("'|i1'", "False", "(6,)"), &[0; 6]));
        let error = load::<T>(&[other], None).err().unwrap().to_string();
        assert!(error.contains(numpy), "{error}");
    }
    check::<f8e4m3>("<V1", "F8_E4M3", "astype(ml_dtypes.float8_e4m3fn)");
    check::<f8e5m2>("<f1", "F8_E5M2", "astype(ml_dtypes.float8_e5m2)");
}

/// The other side of the format: numpy, where a Python with it is installed.
#[test]
fn numpy_reads_what_is_saved_and_is_read() {
    let python = |dir: &Path, program: &str| Command::new("python3").current_dir(dir).args(["-c", program]).output();
    let dir = TempDir::new().unwrap();
    if !python(dir.path(), "import numpy").is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3 with numpy");
        return;
    }
    save(dir.path(), &[&SIX[..], &[f32::NAN; 1]]).unwrap();
    let program = "
import numpy as np
a, b = np.load('rank0.npy'), np.load('rank1.npy')
assert a.dtype == '<f4' and a.flags.c_contiguous and a.tolist() == [0, 1, 2, 3, 4, 5], a
assert b.shape == (1,) and np.isnan(b[0])
a = a.reshape(2, 3)
np.save('c.npy', a)
np.save('f.npy', np.asfortranarray(a))
np.save('b.npy', a.astype('>f4'))
np.save('v.npy', np.repeat(a, 2, axis=1)[:, ::2])
for v in (1, 2, 3): np.lib.format.write_array(open(f'v{v}.npy', 'wb'), a, version=(v, 0))
np.save('o.npy', np.array([None, 1]))
for t in 'f2 f8 i4 u4 i8 u8 i1 u1'.split(): np.save(f't{t}.npy', np.array([1, 2, 3], dtype=t))
np.save('tV2.npy', np.array([0x3f80, 0x4000, 0x4040], dtype='u2').view('V2'))
np.save('r.npy', np.zeros(3, dtype=[('a', 'f4'), ('b', 'i2', (2, 2))]))
";
    let output = python(dir.path(), program).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["c", "f", "b", "v", "v1", "v2", "v3"] {
        let loaded = load::<f32>(&[dir.path().join(format!("{name}.npy"))], None).unwrap();
        assert_eq!(loaded, [&SIX[..3], &SIX[3..]], "{name}");
    }
    fn three<T: Element>(dir: &Path, name: &str) {
        let loaded = load::<T>(&[dir.join(format!("t{name}.npy"))], None).unwrap();
        assert!(loaded == [[1, 2, 3].map(|i| T::scaled(i, 0))], "{name}");
    }
    let dir_path = dir.path();
    three::<f16>(dir_path, "f2");
    three::<bf16>(dir_path, "V2");
    three::<f64>(dir_path, "f8");
    three::<i32>(dir_path, "i4");
    three::<u32>(dir_path, "u4");
    three::<i64>(dir_path, "i8");
    three::<u64>(dir_path, "u8");
    three::<i8>(dir_path, "i1");
    three::<u8>(dir_path, "u1");
    for (name, part) in [("o", "Python objects"), ("r", "records")] {
        let error = load::<f32>(&[dir.path().join(format!("{name}.npy"))], None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
