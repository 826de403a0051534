//! Every shader translates for every backend, and what the soundness argument relies on is really in the translation.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgccl::gpu::{Source, sources};

/// A source with its numbers put in, as a device gets it.
struct Shader {
    source: Source,
    module: Module,
    info: ModuleInfo,
    entry: String,
}

fn shaders() -> Vec<Shader> {
    sources().into_iter().map(shader).collect()
}

fn shader(source: Source) -> Shader {
    let name = &source.name;
    let module = naga::front::wgsl::parse_str(&source.text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let coherent = if source.coherent { Capabilities::MEMORY_DECORATION_COHERENT } else { Capabilities::empty() };
    let info = Validator::new(ValidationFlags::all(), coherent)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let entry = module.entry_points[0].name.clone();
    let numbers = Default::default();
    let (module, info) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some((ShaderStage::Compute, &entry)),
        &numbers,
    )
    .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let (module, info) = (module.into_owned(), info.into_owned());
    Shader { source, module, info, entry }
}

fn spirv(shader: &Shader) -> Vec<u32> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: shader.entry.clone() };
    spv::write_vec(&shader.module, &shader.info, &options, Some(&pipeline)).unwrap()
}

fn metal(shader: &Shader) -> String {
    let options = msl::Options { lang_version: (3, 2), ..Default::default() };
    msl::write_string(&shader.module, &shader.info, &options, &Default::default()).unwrap().0
}

fn hlsl(shader: &Shader) -> String {
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, ..Default::default() };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &Default::default()).write(&shader.module, &shader.info, None).unwrap();
    text
}

fn glsl(shader: &Shader) -> String {
    let options = glsl::Options { version: glsl::Version::Desktop(430), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: shader.entry.clone(),
        multiview: None,
    };
    let mut text = String::new();
    let bounds = naga::proc::BoundsCheckPolicies::default();
    glsl::Writer::new(&mut text, &shader.module, &shader.info, &options, &pipeline, bounds).unwrap().write().unwrap();
    text
}

#[test]
fn every_shader_translates_for_every_backend() {
    for shader in shaders() {
        assert!(!spirv(&shader).is_empty());
        for text in [metal(&shader), hlsl(&shader), glsl(&shader)] {
            assert!(text.contains("groupshared") || text.contains("kernel") || text.contains("void"), "{text}");
        }
        println!("{}: SPIR-V, MSL, HLSL and GLSL", shader.source.name);
    }
}

#[test]
fn spirv_val_accepts_every_shader() {
    if Command::new("spirv-val").arg("--version").output().is_err() {
        println!("skipped: spirv-val is not installed; ./tests/run.sh installs it");
        let required = std::env::var("WGCCL_REQUIRE_GPU").is_ok_and(|value| value == "1");
        assert!(!required, "WGCCL_REQUIRE_GPU=1, but there is no spirv-val");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for shader in shaders() {
        let file = dir.path().join("shader.spv");
        let bytes: Vec<u8> = spirv(&shader).into_iter().flat_map(u32::to_le_bytes).collect();
        std::fs::write(&file, bytes).unwrap();
        let run = Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(&file).output().unwrap();
        assert!(run.status.success(), "{}: {}", shader.source.name, String::from_utf8_lossy(&run.stderr));
    }
}

/// shaders/README.md argues from these words; if naga stops writing them, the argument is void.
#[test]
fn translations_hold_what_the_soundness_argument_needs() {
    const COHERENT: u32 = 23;
    const OP_DECORATE: u32 = 71;
    const OP_CONTROL_BARRIER: u32 = 224;
    for shader in shaders().iter().filter(|shader| shader.entry == "execute") {
        let (words, name) = (spirv(shader), &shader.source.name);
        let instructions = instructions(&words);
        let coherent = instructions.iter().any(|i| i[0] & 0xffff == OP_DECORATE && i.get(2) == Some(&COHERENT));
        assert_eq!(coherent, shader.source.coherent, "{name}");
        assert_eq!(hlsl(shader).contains("globallycoherent"), shader.source.coherent, "{name}");

        // Barriers with device scope and acquire-release semantics over storage buffers: two, notify's and wait's, where
        // both happen in one dispatch.
        let constant = |id: u32| instructions.iter().find(|i| i[0] & 0xffff == 43 && i[2] == id).map(|i| i[3]);
        let storage_barriers = instructions
            .iter()
            .filter(|i| i[0] & 0xffff == OP_CONTROL_BARRIER)
            .filter(|i| constant(i[2]) == Some(1) && constant(i[3]) == Some(0x48))
            .count();
        let expected = if shader.source.coherent { 2 } else { 0 };
        assert_eq!(storage_barriers, expected, "{name}");
        assert_eq!(hlsl(shader).matches("DeviceMemoryBarrierWithGroupSync").count(), expected, "{name}");
    }
}

/// Splits a SPIR-V module into its instructions.
fn instructions(words: &[u32]) -> Vec<&[u32]> {
    let mut rest = &words[5..];
    let mut instructions = Vec::new();
    while let [first, ..] = rest {
        let (instruction, after) = rest.split_at((first >> 16) as usize);
        instructions.push(instruction);
        rest = after;
    }
    instructions
}

/// One notify and one wait: whoever adds another one has to make the argument for it.
#[test]
fn there_is_one_notify_and_one_wait() {
    let executors = |source: &&Source| source.name.starts_with("stepped") || source.name.starts_with("fused");
    for shader in sources().iter().filter(executors) {
        let barriers = if shader.coherent { 2 } else { 0 };
        for (atomic, times) in [("atomicAdd(", 1), ("atomicLoad(", 1), ("Barrier();", barriers)] {
            assert_eq!(shader.text.matches(atomic).count(), times, "{}: {atomic}", shader.name);
        }
    }
}

/// A loop without a bound could hang a device.
#[test]
fn every_loop_is_bounded() {
    for source in sources() {
        for line in source.text.lines().map(str::trim) {
            assert!(!line.starts_with("loop"), "{}: {line}", source.name);
            assert!(!line.starts_with("while") || line == "while (next < start.end) {", "{}: {line}", source.name);
        }
    }
}
