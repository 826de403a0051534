//! Collectives in an asynchronous program: two are on their way at once, and their completion is awaited.
//!
//! Some part of a program has to poll the device, as for any mapped buffer of wgpu; here it is a thread.

use std::sync::atomic::{AtomicBool, Ordering};

use wgccl::Communicator;
use wgccl::collective::{Collective, Op};
use wgccl::gpu::Gpu;

const RANKS: u32 = 2;
const COUNT: usize = 1024;

async fn program(comm: &Communicator<Gpu>, queue: &wgpu::Queue) -> Result<(), Box<dyn std::error::Error>> {
    // The library's own memory: what is written there needs no copy on the device.
    let sums = comm.resident::<f32>(Collective::AllReduce, COUNT, Op::Sum)?;
    let greatest = comm.resident::<u32>(Collective::AllReduce, COUNT, Op::Max)?;
    for rank in 0..RANKS {
        let (a, b) = (sums.input(rank).ok_or("in pieces")?, greatest.input(rank).ok_or("in pieces")?);
        queue.write_buffer(a.buffer(), a.offset(), bytemuck::cast_slice(&vec![1.5_f32; COUNT]));
        queue.write_buffer(b.buffer(), b.offset(), bytemuck::cast_slice(&vec![rank; COUNT]));
    }
    let (device, _) = comm.backend().wgpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let (mut summed, mut compared) = (sums.record_resident(&mut encoder)?, greatest.record_resident(&mut encoder)?);
    queue.submit([encoder.finish()]);

    println!("submitted; the program does something else");
    summed.check().await?;
    compared.check().await?;
    println!("both collectives have finished");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = Communicator::new(Gpu::best()?, RANKS);
    let (_, queue) = comm.backend().wgpu();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A device that is lost tells those who wait by itself.
                let _ = comm.backend().poll();
                std::thread::yield_now();
            }
        });
        let result = pollster::block_on(program(&comm, queue));
        stop.store(true, Ordering::Relaxed);
        result
    })
}
