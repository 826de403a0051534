//! The shaders: files joined as they are, numbers put in by `override`, pipelines made once per device and variant.
//!
//! No text is ever edited: what differs between two kernels is a file of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{Gpu, GpuError};
use super::program::Moves;
use super::verify::Bits;
use crate::collective::{Op, named};
use crate::element::{DataType, supported};

const PAYLOAD_PLAIN: &str = include_str!("../../shaders/payload/plain.wgsl");
const PAYLOAD_COHERENT: &str = include_str!("../../shaders/payload/coherent.wgsl");
const SIGNAL: &str = include_str!("../../shaders/signal.wgsl");
const PLACE: &str = include_str!("../../shaders/place.wgsl");
const PROGRAM: &str = include_str!("../../shaders/program.wgsl");
pub(super) const LINE: &str = include_str!("../../shaders/line.wgsl");
const MOVE: &str = include_str!("../../shaders/move.wgsl");
const STEPPED: &str = include_str!("../../shaders/stepped.wgsl");
const FUSED: &str = include_str!("../../shaders/fused.wgsl");
const FUSED_LL: &str = include_str!("../../shaders/fused_ll.wgsl");
const COPY: &str = include_str!("../../shaders/copy.wgsl");
const FILL: &str = include_str!("../../shaders/fill.wgsl");
const VERIFY: &str = include_str!("../../shaders/verify.wgsl");

/// A complete shader.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Source {
    /// Which.
    pub name: String,
    /// Whether it needs coherent memory across workgroups.
    pub coherent: bool,
    /// WGSL.
    pub text: String,
}

macro_rules! shader {
    ($($name:literal),+) => { &[$(include_str!(concat!("../../shaders/", $name, ".wgsl"))),+] };
}

/// The files with the arithmetic of a type: `sum`, `prod`, `least` and `greatest` of two vectors.
fn element(data_type: DataType) -> &'static [&'static str] {
    match data_type {
        DataType::F32 => shader!["element/order", "element/f32"],
        DataType::F16 => shader!["element/order", "element/pairs", "element/f16"],
        DataType::BF16 => shader!["element/order", "element/pairs", "element/bf16"],
        DataType::F64 => shader!["element/wide", "element/f64"],
        DataType::I32 => shader!["element/i32"],
        DataType::U32 => shader!["element/u32"],
        DataType::I64 => shader!["element/wide", "element/words", "element/i64"],
        DataType::U64 => shader!["element/wide", "element/words", "element/u64"],
        DataType::I8 => shader!["element/bytes", "element/i8"],
        DataType::U8 => shader!["element/bytes", "element/u8"],
    }
}

/// The file with what becomes of a sum or product, for the types that the device computes in floats of their own width.
fn result(data_type: DataType, opaque: bool) -> &'static [&'static str] {
    match (data_type, opaque) {
        (DataType::F32, false) => shader!["result/plain"],
        (DataType::F32, true) => shader!["result/opaque"],
        _ => &[],
    }
}

/// The files with what an operation does: `combine` two vectors, and read a `contribution`.
fn operation(op: Op) -> &'static [&'static str] {
    match op {
        Op::Sum => shader!["op/sum", "contribution/raw"],
        Op::Prod => shader!["op/prod", "contribution/raw"],
        Op::Min => shader!["op/min", "contribution/raw"],
        Op::Max => shader!["op/max", "contribution/raw"],
        Op::Avg => shader!["op/sum", "contribution/scaled"],
    }
}

/// How GPUs compute a type; the same on all of them, since every shader is plain WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arithmetic {
    /// By instructions for this type.
    Native,
    /// Several elements in a 32-bit word.
    Packed,
    /// By integer instructions on two words.
    Emulated,
}

named!(Arithmetic, "arithmetic", { Native => "native", Packed => "packed", Emulated => "emulated" });

/// How GPUs compute `data_type`.
pub fn arithmetic(data_type: DataType) -> Arithmetic {
    match data_type {
        DataType::F32 | DataType::I32 | DataType::U32 => Arithmetic::Native,
        DataType::F16 | DataType::BF16 | DataType::I8 | DataType::U8 => Arithmetic::Packed,
        DataType::F64 | DataType::I64 | DataType::U64 => Arithmetic::Emulated,
    }
}

/// Who waits and notifies in a workgroup, and whether other workgroups run meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Interpreter {
    /// One invocation; dispatches order everything.
    Stepped,
    /// All of them; dispatches order everything.
    Spread,
    /// All of them; waits order what happens in one dispatch.
    Fused,
    /// Nobody: data carries its own flag.
    FusedLl,
}

impl Interpreter {
    const ALL: [Self; 4] = [Self::Stepped, Self::Spread, Self::Fused, Self::FusedLl];
}

fn executor(data_type: DataType, op: Op, interpreter: Interpreter, opaque: bool) -> Source {
    let (name, before, after): (_, &[&str], &[&str]) = match interpreter {
        Interpreter::Stepped => ("stepped", &[PAYLOAD_PLAIN, PLACE, PROGRAM, SIGNAL], &[MOVE, STEPPED]),
        Interpreter::Spread => ("stepped-spread", &[PAYLOAD_PLAIN, PLACE, PROGRAM, SIGNAL], &[MOVE, FUSED]),
        Interpreter::Fused => ("fused", &[PAYLOAD_COHERENT, PLACE, PROGRAM, SIGNAL], &[MOVE, FUSED]),
        Interpreter::FusedLl => ("fused-ll", &[PAYLOAD_PLAIN, PLACE, LINE], &[FUSED_LL]),
    };
    Source {
        name: format!("{name}{} {data_type} {op}", if opaque { "-opaque" } else { "" }),
        coherent: interpreter == Interpreter::Fused,
        text: [before, element(data_type), result(data_type, opaque), operation(op), after].concat().join("\n"),
    }
}

fn copy() -> Source {
    Source { name: "copy".to_owned(), coherent: false, text: COPY.to_owned() }
}

fn fill() -> Source {
    Source { name: "fill".to_owned(), coherent: false, text: [PAYLOAD_PLAIN, FILL].join("\n") }
}

fn verify() -> Source {
    Source { name: "verify".to_owned(), coherent: false, text: [PAYLOAD_PLAIN, VERIFY].join("\n") }
}

impl Source {
    /// The executor's shader for an element type and operation; `opaque` where compilers may change the order of sums.
    pub(super) fn executor(data_type: DataType, op: Op, interpreter: Interpreter, opaque: bool) -> Self {
        executor(data_type, op, interpreter, opaque)
    }
}

/// Every shader that the library can ask a device to run.
pub fn sources() -> Vec<Source> {
    let types = DataType::ALL.iter().flat_map(|&t| Op::ALL.iter().map(move |&op| (t, op)));
    let types = types.filter(|&(t, op)| supported(t, op).is_ok());
    let opaque = |t: DataType| if result(t, true).is_empty() { &[false][..] } else { &[false, true] };
    let executors = types.flat_map(|(t, op)| {
        opaque(t).iter().flat_map(move |&opaque| Interpreter::ALL.map(|how| executor(t, op, how, opaque)))
    });
    executors.chain([copy(), fill(), verify()]).collect()
}

/// The override constants of the executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Invocations of a workgroup.
    pub(super) workgroup: u32,
    /// Adjacent invocations that walk a part of a slice together.
    pub(super) group: u32,
    /// Polls of a wait before it gives up until the next dispatch.
    pub(super) polls: u32,
}

/// Loop turns of one invocation in one dispatch: below llvmpipe's silent limit of 65535, with room for the host's
/// estimate of the loops around the loops.
pub(super) const TURN_LIMIT: u32 = 60_000;

/// A pipeline and the layout of its one bind group.
#[derive(Clone)]
pub(super) struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Variant {
    Executor { data_type: DataType, op: Op, interpreter: Interpreter, opaque: bool, shape: Shape, moves: Moves },
    Copy { workgroup: u32 },
    Fill { workgroup: u32 },
    Verify { bits: Bits, workgroup: u32 },
}

/// Compiled kernels of one device.
pub(super) struct Kernels {
    known: Mutex<HashMap<Variant, Arc<Kernel>>>,
}

impl Kernels {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(HashMap::new()) }
    }
}

impl Gpu {
    /// The kernel, compiled on first use.
    pub(super) fn kernel(&self, variant: Variant) -> Result<Arc<Kernel>, GpuError> {
        let mut known = self.kernels.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = known.get(&variant) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(self.scoped(|| self.compile(variant))?);
        known.insert(variant, Arc::clone(&kernel));
        Ok(kernel)
    }

    fn compile(&self, variant: Variant) -> Kernel {
        use wgpu::BufferBindingType::{Storage, Uniform};
        let (writable, readable) = (Storage { read_only: false }, Storage { read_only: true });
        let (source, entry_point, bindings, constants): (_, _, Vec<_>, Vec<(&str, f64)>) = match variant {
            Variant::Executor { data_type, op, interpreter, opaque, shape, moves } => {
                let flag = |is: bool| f64::from(u8::from(is));
                let mut bindings = vec![
                    (writable, false),
                    (writable, false),
                    (readable, false),
                    (readable, false),
                    (writable, false),
                    (Uniform, true),
                    (readable, false),
                    (Uniform, true),
                ];
                let mut constants = vec![("WORKGROUP", shape.workgroup.into()), ("POLLS", shape.polls.into())];
                if interpreter == Interpreter::FusedLl {
                    bindings.push((writable, false));
                } else {
                    constants.extend([
                        ("GROUP", shape.group.into()),
                        ("OPERANDS", moves.unrolled.0.into()),
                        ("DESTINATIONS", moves.unrolled.1.into()),
                        ("COPIES", flag(moves.copies)),
                        ("REDUCTIONS", flag(moves.reductions)),
                        ("OTHERS", flag(moves.others)),
                    ]);
                }
                if interpreter != Interpreter::Stepped {
                    constants.push(("TURN_LIMIT", TURN_LIMIT.into()));
                }
                (executor(data_type, op, interpreter, opaque), "execute", bindings, constants)
            }
            Variant::Copy { workgroup } => {
                (copy(), "copy", vec![(readable, false), (writable, false)], vec![("WORKGROUP", workgroup.into())])
            }
            Variant::Fill { workgroup } => {
                (fill(), "fill", vec![(writable, false), (Uniform, false)], vec![("WORKGROUP", workgroup.into())])
            }
            Variant::Verify { bits, workgroup } => (
                verify(),
                "verify",
                vec![(writable, false), (readable, false), (readable, false), (writable, false), (Uniform, false)],
                vec![
                    ("WORKGROUP", workgroup.into()),
                    ("ELEMENT_BYTES", bits.bytes.into()),
                    ("EXPONENT", bits.exponent.into()),
                    ("MANTISSA", bits.mantissa.into()),
                ],
            ),
        };
        let entries: Vec<_> = bindings
            .into_iter()
            .enumerate()
            .map(|(binding, (ty, has_dynamic_offset))| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
                count: None,
            })
            .collect();
        let label = Some(source.name.as_str());
        let layout =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let descriptor =
            wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.text.as_str().into()) };
        // What checks cost was measured: half of the speed on SwiftShader.
        let checks = wgpu::ShaderRuntimeChecks {
            bounds_checks: !matches!(variant, Variant::Executor { .. }),
            force_loop_bounding: false,
            ..wgpu::ShaderRuntimeChecks::checked()
        };
        // SAFETY: loops end, because each counts up to a number that it does not change; `tests/device/shaders.rs` holds the IR of
        // every source to that form.
        // Indices of the executor are in range: addresses and signals by the schedule's proof of structure, over an arena
        // laid out for that schedule; vectors within a chunk by the slices' ends; instructions, links, lanes and rows
        // because `Program` and `LlProgram` count them from the lists that they fill, and pad what is read ahead; words of
        // lines, because the arena has eight for each vector of each line that `Flow` numbers; positions, one an invocation.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            cache: None,
        });
        Kernel { pipeline, layout }
    }

    /// A bind group of whole buffers and ranges, in binding order.
    pub(super) fn bind(
        &self,
        kernel: &Kernel,
        bindings: &[wgpu::BufferBinding<'_>],
    ) -> Result<wgpu::BindGroup, GpuError> {
        let entries: Vec<_> = bindings
            .iter()
            .enumerate()
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: wgpu::BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &kernel.layout, entries: &entries };
        self.scoped(|| self.device.create_bind_group(&descriptor))
    }
}
