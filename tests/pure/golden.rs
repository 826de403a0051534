//! What the golden refuses to look at: data that is not that of a launch.

use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::error::{BufferError, UserBuffer};
use wgccl::golden::{Golden, GoldenError, Goldens, compare};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{Options, Proved, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

const COUNT: usize = 8;

fn proved(collective: Collective, algorithm: Algorithm) -> Proved {
    prove(build(collective, algorithm, 2, SyncStyle::Neighbor).unwrap(), Options::default()).unwrap()
}

fn number(what: UserBuffer, got: usize) -> GoldenError {
    BufferError::Number { what, got, ranks: 2 }.into()
}

fn length(what: UserBuffer, rank: u32, got: usize, parts: u32) -> GoldenError {
    BufferError::Length { what, rank, got, parts, count: COUNT }.into()
}

#[test]
fn buffers_of_another_launch_are_refused() {
    use UserBuffer::{Input, Output};
    let data: Vec<f32> = (0..3 * COUNT).map(|i| i as f32).collect();
    let of = |lengths: &[usize]| lengths.iter().map(|&length| &data[..length]).collect::<Vec<_>>();
    const C: usize = COUNT;
    let ring = proved(Collective::AllReduce, Algorithm::Ring);
    let gather = proved(Collective::AllGather, Algorithm::Mesh);
    let broadcast = proved(Collective::Broadcast, Algorithm::Mesh);
    for (proved, inputs, outputs, expected) in [
        (&ring, &[C, C][..], &[C][..], number(Output, 1)),
        (&ring, &[C, C], &[], number(Output, 0)),
        (&ring, &[C, C], &[C, C, C], number(Output, 3)),
        (&ring, &[C], &[C, C], number(Input, 1)),
        (&ring, &[C, C, C], &[C, C], number(Input, 3)),
        (&ring, &[C, C], &[C, C - 1], length(Output, 1, C - 1, 1)),
        (&ring, &[C, C], &[C + 1, C], length(Output, 0, C + 1, 1)),
        (&ring, &[C, 0], &[C, C], length(Input, 1, 0, 1)),
        (&gather, &[C, C], &[2 * C, C], length(Output, 1, C, 2)),
        (&broadcast, &[C, C], &[C, C], length(Input, 1, C, 0)),
    ] {
        let payload = proved.payload(COUNT, DataType::F32).unwrap();
        let (inputs, outputs) = (of(inputs), of(outputs));
        let refused = compare(proved, &payload, Op::Sum, &inputs, &outputs).unwrap_err();
        assert_eq!(refused, expected);
        let golden = Golden::new(proved, &payload, Op::Sum, &inputs).err();
        let of_inputs = matches!(
            expected,
            GoldenError::Buffers(BufferError::Number { what: Input, .. } | BufferError::Length { what: Input, .. })
        );
        assert_eq!(golden, of_inputs.then_some(expected));
        assert_eq!(Golden::flushed(proved, &payload, Op::Sum, &inputs).err(), golden);
    }
}

#[test]
fn payloads_of_another_launch_are_refused() {
    let (ring, mesh) = (proved(Collective::AllReduce, Algorithm::Ring), proved(Collective::Broadcast, Algorithm::Mesh));
    let inputs = [[1.0_f32; COUNT]; 2];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input[..]).collect();
    let of = |proved: &Proved, data_type| proved.payload(COUNT, data_type).unwrap();
    for payload in [of(&mesh, DataType::F32), of(&ring, DataType::F64), of(&ring, DataType::U8)] {
        let Payload { count, element_bytes, .. } = payload;
        let refused = Goldens::new(&ring, &payload, Op::Sum, &inputs).err();
        assert_eq!(refused, Some(GoldenError::Payload { count, element_bytes }));
    }
}

#[test]
fn what_differs_is_counted() {
    let ring = proved(Collective::AllReduce, Algorithm::Ring);
    let payload = ring.payload(COUNT, DataType::F32).unwrap();
    let inputs = [[1.0_f32; COUNT], [2.0; COUNT]];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input[..]).collect();
    let goldens = Goldens::new(&ring, &payload, Op::Sum, &inputs).unwrap();
    let mut outputs = [[3.0_f32; COUNT]; 2];
    let counted = |outputs: &[[f32; COUNT]; 2]| goldens.compare(&outputs.each_ref().map(|output| &output[..])).unwrap();
    assert_eq!((counted(&outputs).wrong, counted(&outputs).bit_identical), (0, true));
    outputs[1][5] = 4.0;
    assert_eq!((counted(&outputs).wrong, counted(&outputs).first_wrong), (1, Some((1, 5))));
    assert!(!counted(&outputs).bit_identical);
    assert_eq!((goldens.golden().expected(1), goldens.golden().expected(2)), (&[3.0; COUNT][..], &[][..]));
}
