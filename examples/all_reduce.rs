//! The shortest all-reduce: four ranks' slices, one call, on the best GPU there is.

use wgccl::Communicator;
use wgccl::collective::Op;
use wgccl::gpu::Gpu;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let inputs: [&[f32]; 4] = [&[1.0, 2.0], &[10.0, 20.0], &[100.0, 200.0], &[1000.0, 2000.0]];
    let (mut a, mut b, mut c, mut d) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
    let comm = Communicator::new(Gpu::best()?, 4);
    comm.all_reduce(&inputs, &mut [&mut a, &mut b, &mut c, &mut d], Op::Sum)?;
    println!("{}: every rank has {a:?}", comm.backend().info().title());
    assert!([a, b, c, d].iter().all(|output| *output == [1111.0, 2222.0]));
    Ok(())
}
