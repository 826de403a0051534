//! Files as users have them: archives, pipes, shards, checkpoints of many tensors, and outputs in the format of the inputs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wgccl::element::bf16;
use wgccl_cli::tensor::{Files, Tensors};

use crate::tensor::{SIX, dict, f4, little, npy, npz, safetensors, write};

fn wgccl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.args(args).env("NO_COLOR", "1");
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A file with a half, a counter and a matrix.
fn checkpoint(dir: &TempDir, name: &str, step: i64) -> PathBuf {
    let json = r#"{"__metadata__":{"format":"pt","made":"here"},
        "layer.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},
        "layer.bias":{"dtype":"BF16","shape":[2],"data_offsets":[32,36]},
        "step":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#;
    let halves: Vec<u8> = [1.0, 0.5].iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
    write(dir, name, &safetensors(json, &[step.to_le_bytes().to_vec(), little(&SIX), halves].concat()))
}

#[test]
fn all_tensors_of_a_checkpoint_run_at_once_and_come_out_as_they_went_in() {
    let dir = TempDir::new().unwrap();
    let [a, b] = [checkpoint(&dir, "a.safetensors", 5), checkpoint(&dir, "b.safetensors", 6)];
    let out = dir.path().join("out");
    let args = ["run", "--device", "cpu", "--json", "--output", text(&out), "--input", text(&a), text(&b)];
    let output = wgccl(&args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows: Vec<_> = json["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["tensor"].as_str().unwrap(),
                row["type"].as_str().unwrap(),
                row["count"].as_u64().unwrap(),
                row["ok"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [("step", "i64", 1, true), ("layer.weight", "f32", 6, true), ("layer.bias", "bf16", 2, true)];
    assert_eq!((rows, &json["ok"]), (expected.to_vec(), &Value::Bool(true)));

    let files: Vec<PathBuf> = (0..2).map(|rank| out.join(format!("rank{rank}.safetensors"))).collect();
    let bytes = fs::read(&files[1]).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(header["__metadata__"], serde_json::json!({ "format": "pt", "made": "here" }));
    assert_eq!(header["layer.weight"], serde_json::json!({ "dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32] }));
    assert_eq!(header["layer.bias"]["dtype"], "BF16");
    assert_eq!(header["step"]["shape"], serde_json::json!([]));
    let of = |name: &str| Tensors::open(&files, Some(name)).unwrap();
    assert_eq!(of("step").read::<i64>().unwrap(), [[11], [11]]);
    assert_eq!(of("layer.weight").read::<f32>().unwrap()[0], SIX.map(|x| 2.0 * x));
    assert_eq!(of("layer.bias").read::<bf16>().unwrap()[1], [2.0, 1.0].map(bf16::from_f32));

    // What came out is verified at once, and one flipped bit is named.
    let verify = |files: &[PathBuf]| {
        wgccl(&["verify", "--input", text(&a), text(&b), "--output", text(&files[0]), text(&files[1])])
            .output()
            .unwrap()
    };
    let output = verify(&files);
    assert!(output.status.success() && said(&output).contains("3 tensors"), "{}", said(&output));
    let mut flipped = bytes.clone();
    flipped[8 + length + 8 + 3 * 4] ^= 1;
    let flipped = write(&dir, "flipped.safetensors", &flipped);
    let output = verify(&[files[0].clone(), flipped]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert!(said(&output).contains("tensor 'layer.weight': 1 of 12 elements differ"), "{}", said(&output));

    // Some of them, and one.
    for (names, extension, tensors) in [(&["step", "layer.bias"][..], "safetensors", 2), (&["step"], "safetensors", 1)]
    {
        let out = dir.path().join(format!("out{tensors}"));
        let args = [&args[..4], &["--output", text(&out), "--input", text(&a), text(&b), "--tensor"], names].concat();
        let output = wgccl(&args.iter().filter(|&&arg| arg != "--json").copied().collect::<Vec<_>>()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let written = Files::open(&[out.join(format!("rank0.{extension}"))], &[]).unwrap();
        assert_eq!(written.tensors.len(), tensors, "{names:?}");
    }
}

#[test]
fn what_cannot_be_of_several_tensors_is_refused_before_anything_runs() {
    let dir = TempDir::new().unwrap();
    let one = |name: &str, tensors: &[&str]| {
        let each = tensors.iter().enumerate().map(|(i, tensor)| {
            format!(r#""{tensor}":{{"dtype":"F32","shape":[3],"data_offsets":[{},{}]}}"#, 12 * i, 12 * (i + 1))
        });
        let json = format!("{{{}}}", each.collect::<Vec<_>>().join(","));
        write(&dir, name, &safetensors(&json, &little(&SIX)[..12 * tensors.len()]))
    };
    let [ab, ac] = [one("ab.safetensors", &["a", "b"]), one("ac.safetensors", &["a", "c"])];
    let rows = write(&dir, "rows.npz", &npz(&[("w", &f4("(2, 3)", &SIX)), ("v", &f4("(3, 2)", &SIX))], false));
    let mixed = checkpoint(&dir, "mixed.safetensors", 1);
    let strange = safetensors(
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"z":{"dtype":"C64","shape":[1],"data_offsets":[8,16]}}"#,
        &[0; 16],
    );
    let strange = write(&dir, "strange.safetensors", &strange);
    for (args, part) in [
        (vec!["--input", text(&ab), text(&ac)], "holds no tensor 'c', which another file holds"),
        (vec!["--input", text(&rows)], "'v' has 3, 'w' 2; give a file per rank, or --ranks 1"),
        (vec!["--op", "avg", "--input", text(&mixed), text(&mixed)], "tensor 'step': avg"),
        (vec!["--input", text(&strange), text(&strange)], "strange.safetensors['z'] holds c64"),
        (vec!["--input", text(&ab), text(&ab), "--tensor", "d"], "holds no tensor 'd'; choose one of: a, b"),
    ] {
        let output = wgccl(&[&["run", "--device", "cpu"], &args[..]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{args:?}: {}", said(&output));
    }
    let output = wgccl(&["run", "--device", "cpu", "--ranks", "1", "--input", text(&rows)]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_single_file_is_as_many_ranks_as_its_first_axis_unless_one_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let file = write(&dir, "w.npy", &f4("(2, 3)", &SIX));
    for (ranks, shape, note) in [(None, "(3,)", true), (Some("2"), "(3,)", false), (Some("1"), "(2, 3)", false)] {
        let out = dir.path().join(format!("{ranks:?}"));
        let ranks = ranks.map(|ranks| ["--ranks", ranks]);
        let args = ["run", "--device", "cpu", "--output", text(&out), "--input", text(&file)];
        let output = wgccl(&[&args[..], ranks.as_ref().map_or(&[], |ranks| &ranks[..])].concat()).output().unwrap();
        assert!(output.status.success(), "{ranks:?}: {}", said(&output));
        assert_eq!(said(&output).contains("was taken as ranks; --ranks 1 takes it whole"), note, "{ranks:?}");
        let written = fs::read(out.join("rank0.npy")).unwrap();
        assert!(String::from_utf8_lossy(&written).contains(&format!("'shape': {shape}, ")), "{ranks:?}");
    }
    let output = wgccl(&["run", "--device", "cpu", "--ranks", "3", "--input", text(&file)]).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(said(&output).contains("--ranks says 3, and the first axis of the input is 2 ranks"), "{}", said(&output));
}

#[test]
fn archives_are_read_and_written() {
    let dir = TempDir::new().unwrap();
    let arrays = [("w", f4("(2, 3)", &SIX)), ("n", npy(1, &dict("'<i4'", "False", "(1,)"), &7_i32.to_le_bytes()))];
    let members: Vec<(&str, &[u8])> = arrays.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
    let [a, b] =
        [("a.npz", false), ("b.npz", true)].map(|(name, deflated)| write(&dir, name, &npz(&members, deflated)));
    let out = dir.path().join("out");
    let output =
        wgccl(&["run", "--device", "cpu", "--output", text(&out), "--input", text(&a), text(&b)]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let files: Vec<PathBuf> = (0..2).map(|rank| out.join(format!("rank{rank}.npz"))).collect();
    assert_eq!(Tensors::open(&files, Some("w")).unwrap().read::<f32>().unwrap()[1], SIX.map(|x| 2.0 * x));
    assert_eq!(Tensors::open(&files, Some("n")).unwrap().read::<i32>().unwrap(), [[14], [14]]);
    let args = ["verify", "--input", text(&a), text(&b), "--output", text(&files[0]), text(&files[1])];
    let output = wgccl(&args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    // A flipped bit in an element is one in its checksum.
    for (file, deflated) in [(&a, false), (&b, true)] {
        let mut bytes = fs::read(file).unwrap();
        let at = if deflated { 100 } else { 40 + 128 + 5 };
        bytes[at] ^= 4;
        let damaged = write(&dir, "damaged.npz", &bytes);
        let error =
            Tensors::open(std::slice::from_ref(&damaged), Some("w")).and_then(|of| of.read::<f32>()).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
    let twice = write(&dir, "twice.npz", &npz(&[members[0], members[0]], false));
    let error = Tensors::open(&[twice], Some("w")).unwrap_err().to_string();
    assert!(error.contains("two members are called 'w'"), "{error}");
}

/// The other side of the format: Python's own `zipfile`, which numpy uses.
#[test]
fn python_reads_and_writes_the_same_archives() {
    let dir = TempDir::new().unwrap();
    let python = |program: &str| Command::new("python3").current_dir(dir.path()).args(["-c", program]).output();
    write(&dir, "w.npy", &f4("(2, 3)", &SIX));
    let made = python(
        "
import zipfile
for name, method in ('s.npz', zipfile.ZIP_STORED), ('d.npz', zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(name, 'w', method) as z: z.write('w.npy')
    with zipfile.ZipFile('zip64' + name, 'w', method) as z:
        with z.open('w.npy', 'w', force_zip64=True) as f: f.write(open('w.npy', 'rb').read())
",
    );
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3");
        return;
    }
    for name in ["s.npz", "d.npz", "zip64s.npz", "zip64d.npz"] {
        let read = Tensors::open(&[dir.path().join(name)], None).unwrap().read::<f32>().unwrap();
        assert_eq!(read, [&SIX[..3], &SIX[3..]], "{name}");
    }
    let (file, out) = (dir.path().join("s.npz"), dir.path().join("out"));
    let args = ["run", "--device", "cpu", "--output", text(&out), "--input", text(&file), text(&file)];
    assert!(wgccl(&args).status().unwrap().success());
    let checked = python(
        "
import zipfile
with zipfile.ZipFile('out/rank1.npz') as z:
    assert z.testzip() is None and z.namelist() == ['w.npy'], z.namelist()
    assert z.read('w.npy')[:6] == b'\\x93NUMPY'
",
    )
    .unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn an_index_leads_to_its_shards() {
    let dir = TempDir::new().unwrap();
    let shard = |name: &str, tensor: &str, values: &[f32]| {
        let header = format!(
            r#"{{"{tensor}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
            values.len(),
            4 * values.len()
        );
        write(&dir, name, &safetensors(&header, &little(values)))
    };
    shard("model-1.safetensors", "a", &SIX[..2]);
    shard("model-2.safetensors", "b", &SIX[2..]);
    let index = |name: &str, map: &str| {
        let json = format!(r#"{{"metadata":{{"total_size":24}},"weight_map":{map}}}"#);
        write(&dir, name, json.as_bytes())
    };
    let model = index("model.safetensors.index.json", r#"{"a":"model-1.safetensors","b":"model-2.safetensors"}"#);
    let files = Files::open(&[model.clone(), model], &[]).unwrap();
    let names: Vec<_> = files.tensors.iter().map(|of| of.name().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(files.tensors[1].read::<f32>().unwrap(), [&SIX[2..], &SIX[2..]]);
    for (map, part) in [
        (r#"{"a":"model-3.safetensors"}"#, "cannot read"),
        (r#"{"b":"model-1.safetensors"}"#, "names the tensor 'b' in model-1.safetensors, which is not there"),
        ("{}", "holds no tensor"),
    ] {
        let error = Tensors::open(&[index("bad.json", map)], None).unwrap_err().to_string();
        assert!(error.contains(part), "{map}: {error}");
    }
}

/// Runs the program with `bytes` on its standard input.
fn piped(args: &[&str], bytes: &[u8]) -> Output {
    let mut child = wgccl(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have seen enough before all is written.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_a_file_whatever_its_format() {
    let dir = TempDir::new().unwrap();
    let file = write(&dir, "b.npy", &f4("(6,)", &SIX));
    let json = r#"{"x":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}"#;
    for bytes in [f4("(6,)", &SIX), safetensors(json, &little(&SIX)), npz(&[("x", &f4("(6,)", &SIX))], true)] {
        let output = piped(&["run", "--device", "cpu", "--json", "--input", "-", text(&file)], &bytes);
        assert!(output.status.success(), "{}", said(&output));
    }
    let endless = b"no numbers ".repeat(100_000);
    for (args, bytes, part) in [
        (vec!["-", text(&file)], &endless[..], "cannot tell the format of standard input"),
        (vec!["-", text(&file)], b"", "standard input is empty"),
        (vec!["-", "-"], &[], "named twice"),
        (vec!["/dev/null", text(&file)], &[], "neither a regular file nor a pipe"),
    ] {
        if cfg!(windows) && args[0] != "-" {
            continue;
        }
        let output = piped(&[&["run", "--device", "cpu", "--input"], &args[..]].concat(), bytes);
        assert_eq!(output.status.code(), Some(6), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{args:?}: {}", said(&output));
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_to_its_end() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo");
        return;
    }
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || File::create(pipe).unwrap().write_all(&f4("(6,)", &SIX)).unwrap())
    };
    let tensors = Tensors::open(&[pipe], None).unwrap();
    writer.join().unwrap();
    // Twice: what came through is kept.
    for _ in 0..2 {
        assert_eq!(tensors.read::<f32>().unwrap(), [SIX]);
    }
}
