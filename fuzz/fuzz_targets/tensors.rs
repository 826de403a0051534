//! Tensor files of either format, read whole and as one vector for each rank, as every type.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use wgccl_cli::tensor::{load, load_whole, type_of};

thread_local! {
    static DIRECTORY: RefCell<TempDir> = RefCell::new(TempDir::new().expect("a directory for the file"));
}

fuzz_target!(|data: &[u8]| {
    let name = if data.starts_with(b"\x93NUM") { "input.npy" } else { "input.safetensors" };
    let path: PathBuf = DIRECTORY.with_borrow(|directory| directory.path().join(name));
    fs::write(&path, data).expect("room for the file");
    let _ = type_of(&path, None);
    let _ = type_of(&path, Some("a"));
    if let Ok(values) = load_whole::<f32>(&path, None) {
        assert!(size_of_val(&values[..]) <= data.len(), "no more elements than the file has");
    }
    let _ = load_whole::<u8>(&path, None);
    if let Ok(ranks) = load::<f64>(std::slice::from_ref(&path), None) {
        assert!(ranks.iter().all(|rank| rank.len() == ranks[0].len()));
    }
    let _ = load::<i32>(&[path.clone(), path], Some("a"));
});
