//! `wgccl verify` over files that the program itself wrote, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use wgccl::collective::Collective;
use wgccl::element::{Element, bf16, f8e4m3};
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::schedule::Algorithm;
use wgccl_cli::tensor;

const COUNT: usize = 600;

fn wgccl(args: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgccl")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// A file for each rank that has one.
fn files(dir: &Path) -> Vec<String> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// Inputs of `ranks` ranks, `length` elements each, or of the first alone.
fn inputs<T: Element>(dir: &Path, ranks: u32, length: usize, only_root: bool) -> Vec<String> {
    let all: Vec<Vec<T>> = (0..ranks).map(|rank| generate(Fill::Normal, 5, rank, ranks, length)).collect();
    let views: Vec<&[T]> = all.iter().map(Vec::as_slice).take(if only_root { 1 } else { ranks as usize }).collect();
    tensor::save(&dir.join("in"), &views).unwrap();
    files(&dir.join("in"))
}

/// What the program computes of them.
fn outputs(dir: &Path, name: &str, inputs: &[String], args: &[&str]) -> Vec<String> {
    let out = dir.join(name);
    let ends = ["--device", "cpu", "--output", out.to_str().unwrap(), "--input"];
    let output = wgccl(&[strings(&["run"]), strings(args), strings(&ends), inputs.to_vec()].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    files(&out)
}

fn verify(inputs: &[String], outputs: &[String], args: &[&str]) -> (Option<i32>, Value) {
    let command =
        [strings(&["verify", "--json", "--input"]), inputs.to_vec(), strings(&["--output"]), outputs.to_vec()];
    let output = wgccl(&[command.concat(), strings(args)].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
    (output.status.code(), json)
}

#[test]
fn what_the_program_computes_it_verifies() {
    const RANKS: u32 = 4;
    for &collective in Collective::ALL.iter().filter(|&&collective| collective != Collective::Barrier) {
        let dir = TempDir::new().unwrap();
        // Divisible by ranks, so that inputs of several parts are whole.
        let inputs = inputs::<f32>(dir.path(), RANKS, COUNT, collective.only_root_gives());
        let ranks: &[&str] = if collective.only_root_gives() { &["--ranks", "4"] } else { &[] };
        for algorithm in Algorithm::of(collective) {
            let run = [&[collective.name(), "--algorithm", algorithm.name()], ranks].concat();
            let outputs = outputs(dir.path(), algorithm.name(), &inputs, &run);
            let case = format!("{collective} by {algorithm}");
            for expected in [algorithm.name(), "any"] {
                let args = [&["--collective", collective.name(), "--algorithm", expected], ranks].concat();
                let (code, report) = verify(&inputs, &outputs, &args);
                assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{case}: {report}");
                let equal = report["equal"].as_array().unwrap();
                assert!(equal.contains(&algorithm.name().into()), "{case}: {report}");
            }
        }
    }
}

fn flipped<T: Element>(bit: u32) {
    let dir = TempDir::new().unwrap();
    let inputs = inputs::<T>(dir.path(), 3, COUNT, false);
    let outputs = outputs(dir.path(), "out", &inputs, &["--type", T::TYPE.name()]);
    let index = 123;
    let mut bytes = fs::read(&outputs[2]).unwrap();
    let at = bytes.len() - (COUNT - index) * size_of::<T>() + bit as usize / 8;
    bytes[at] ^= 1 << (bit % 8);
    fs::write(&outputs[2], bytes).unwrap();
    for algorithm in ["ring", "any"] {
        let (code, report) = verify(&inputs, &outputs, &["--algorithm", algorithm, "--type", T::TYPE.name()]);
        let case = format!("{} {bit}: {report}", T::TYPE);
        assert_eq!((code, &report["differing"]), (Some(7), &1.into()), "{case}");
        let first = &report["first"][0];
        assert_eq!((&first["rank"], &first["index"]), (&2.into(), &index.into()), "{case}");
        assert_eq!(first["bits"], serde_json::json!([bit]), "{case}");
        assert!(report["error"].as_str().unwrap().contains("1 of 1800 elements differ"), "{case}");
    }
    // Another order, or a larger distance, is no excuse.
    let (code, _) = verify(&inputs, &outputs[..2], &[]);
    assert_eq!(code, Some(6));
}

#[test]
fn one_flipped_bit_is_named() {
    flipped::<f32>(0);
    flipped::<f32>(30);
    flipped::<f64>(51);
    flipped::<bf16>(14);
    flipped::<f8e4m3>(5);
    flipped::<i64>(63);
    flipped::<u8>(3);
}

/// Eight ranks: whose order of additions was it?
#[test]
fn any_names_the_order_of_additions() {
    let dir = TempDir::new().unwrap();
    let files = inputs::<f32>(dir.path(), 8, COUNT, false);
    for (by, not) in [("ring", "tree"), ("tree", "ring"), ("halving-doubling", "direct")] {
        let outputs = outputs(dir.path(), by, &files, &["--algorithm", by]);
        let (code, report) = verify(&files, &outputs, &[]);
        let equal = report["equal"].as_array().unwrap();
        assert!(code == Some(0) && equal.contains(&by.into()) && !equal.contains(&not.into()), "{by}: {report}");
        // One stands for all.
        let (code, _) = verify(&files, &outputs[3..4], &["--algorithm", by]);
        assert_eq!(code, Some(0), "{by}");
        let (code, report) = verify(&files, &outputs, &["--algorithm", not]);
        assert!(code == Some(7) && report["differing"].as_u64() > Some(100) && report["equal"] == Value::Array(vec![]));
        let (code, report) = verify(&files, &outputs, &["--algorithm", not, "--rtol", "1e-3", "--atol", "1e-5"]);
        assert_eq!((code, &report["beyond"]), (Some(0), &0.into()), "{by}: {report}");
        assert!(report["backward_error"].as_f64() < Some(1e-6), "{report}");
        let (code, _) = verify(&files, &outputs, &["--algorithm", not, "--rtol", "1e-9"]);
        assert_eq!(code, Some(7), "{by}");
    }
    // In twice the precision, rounded once: nobody's order.
    let ranks: Vec<Vec<f32>> = (0..8).map(|rank| generate(Fill::Normal, 5, rank, 8, COUNT)).collect();
    let sum = |i: usize| ranks.iter().map(|rank| f64::from(rank[i])).sum::<f64>() as f32;
    let sums: Vec<f32> = (0..COUNT).map(sum).collect();
    tensor::save(&dir.path().join("numpy"), &[&sums]).unwrap();
    let (code, report) = verify(&files, &files_of(&dir, "numpy"), &[]);
    assert_eq!((code, &report["equal"]), (Some(7), &Value::Array(vec![])), "{report}");
}

fn files_of(dir: &TempDir, name: &str) -> Vec<String> {
    files(&dir.path().join(name))
}

/// What a run writes has the shape of its inputs, and that is no number of ranks.
#[test]
fn an_output_with_axes_is_one_output() {
    let dir = TempDir::new().unwrap();
    let all: Vec<Vec<f32>> = (0..2).map(|rank| generate(Fill::Normal, 5, rank, 2, COUNT)).collect();
    let views: Vec<&[f32]> = all.iter().map(Vec::as_slice).collect();
    for shape in [[2, 300], [300, 2], [60, 10]] {
        let name = format!("{shape:?}");
        tensor::save_as(&dir.path().join(&name), &views, Some(&shape)).unwrap();
        let inputs = files_of(&dir, &name);
        for collective in ["all-reduce", "reduce", "all-gather"] {
            let outputs = outputs(dir.path(), &format!("{collective} {name}"), &inputs, &[collective]);
            for given in [&outputs[..], &outputs[..1]] {
                let (code, report) = verify(&inputs, given, &["--collective", collective]);
                assert_eq!(code, Some(0), "{collective} {name}: {report}");
            }
        }
    }
}

#[test]
fn every_mistake_gets_one_clear_error() {
    let dir = TempDir::new().unwrap();
    let ins = inputs::<f32>(dir.path(), 4, COUNT, false);
    tensor::save(&dir.path().join("short"), &[&[1.0_f32; 3][..]; 4]).unwrap();
    tensor::save(&dir.path().join("whole"), &[&[1_i32; COUNT][..]; 4]).unwrap();
    let (short, whole) = (files_of(&dir, "short"), files_of(&dir, "whole"));
    for (outputs, args, said) in [
        (&ins[..2], &[][..], "4 outputs are wanted, one of each rank that has one, and 2 were given"),
        (&short, &[], "the output of rank 0 has 3 elements, and must have 600"),
        (&whole, &[], "holds i32, but f32 is wanted"),
        (&ins, &["--collective", "barrier"], "leave --input out"),
        (&ins, &["--collective", "all-gather", "--op", "sum"], "leave --op out"),
        (&ins, &["--root", "1"], "all-reduce has no root"),
        (&ins, &["--rtol=-1"], "not negative"),
        (&ins, &["--algorithm", "fastest"], "fastest"),
        (&ins, &["--collective", "broadcast"], "give --ranks"),
        (&ins[..1], &["--collective", "reduce", "--root", "9"], "root 9"),
    ] {
        let (code, report) = verify(&ins, outputs, args);
        let error = report["error"].as_str().unwrap_or_default();
        assert!(code == Some(6) && error.contains(said), "{args:?}: {code:?} {report}");
    }
    // Longer is no better than shorter: what is behind the end would be passed over.
    tensor::save(&dir.path().join("long"), &[&[1.0_f32; COUNT + 5][..]]).unwrap();
    for (other, said) in [(files_of(&dir, "long"), "has 605 elements"), (short, "has 3 elements")] {
        let (code, report) = verify(&[&ins[..3], &other[..1]].concat(), &ins, &[]);
        let error = report["error"].as_str().unwrap_or_default();
        assert!(code == Some(6) && error.contains("the input of rank 3") && error.contains(said), "{code:?} {report}");
    }
}
