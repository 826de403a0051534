//! Tensor files of every format, read whole and as one vector for each rank, as every type.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use wgccl::element::bf16;
use wgccl_cli::tensor::{Tensors, load};

thread_local! {
    static DIRECTORY: RefCell<TempDir> = RefCell::new(TempDir::new().expect("a directory for the file"));
}

fuzz_target!(|data: &[u8]| {
    let name = match data {
        [0x93, ..] => "input.npy",
        [b'P', b'K', ..] => "input.npz",
        [b'{', ..] => "input.safetensors.index.json",
        _ => "input.safetensors",
    };
    let path: PathBuf = DIRECTORY.with_borrow(|directory| directory.path().join(name));
    fs::write(&path, data).expect("room for the file");
    for tensor in [None, Some("a")] {
        let Ok(tensors) = Tensors::open(std::slice::from_ref(&path), tensor) else { continue };
        let _ = (tensors.data_type(), tensors.ranks());
        if let Ok(values) = tensors.read_whole::<f32>() {
            // A deflated byte stands for 1032 at most.
            let most = if name.ends_with("npz") { 1032 * data.len() } else { data.len() };
            assert!(size_of_val(&values[..]) <= most, "no more elements than the file has");
        }
        let _ = tensors.read_whole::<u8>();
        let _ = tensors.read::<bf16>();
    }
    if let Ok(ranks) = load::<f64>(std::slice::from_ref(&path), None) {
        assert!(ranks.iter().all(|rank| rank.len() == ranks[0].len()));
    }
    let _ = load::<i32>(&[path.clone(), path], Some("a"));
});
