//! Every shader translates for every backend, and what the soundness argument relies on is really in the translation.

mod ir;

use std::process::Command;

use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgccl::low_level::lower::LINE_WORDS;
use wgccl::low_level::lower::{Source, sources};

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
        // a whole workgroup waits and notifies.
        let constant = |id: u32| instructions.iter().find(|i| i[0] & 0xffff == 43 && i[2] == id).map(|i| i[3]);
        let storage_barriers = instructions
            .iter()
            .filter(|i| i[0] & 0xffff == OP_CONTROL_BARRIER)
            .filter(|i| constant(i[2]) == Some(1) && constant(i[3]) == Some(0x48))
            .count();
        let expected = barriers(&shader.source);
        assert_eq!(storage_barriers, expected, "{name}");
        assert_eq!(hlsl(shader).matches("DeviceMemoryBarrierWithGroupSync").count(), expected, "{name}");
    }
}

/// One invocation alone, which stepping takes for devices that are cores, needs none. Data that carries its own flag needs none
/// either; there is one before progress is overwritten.
fn barriers(executor: &Source) -> usize {
    match executor.name.split([' ', '-']).collect::<Vec<_>>()[..] {
        ["fused", "ll", ..] => 1,
        ["stepped", "spread", ..] | ["fused", ..] => 2,
        _ => 0,
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
        let with_flags = shader.name.starts_with("fused-ll");
        let counts: &[(&str, usize)] = if with_flags {
            // Each is declared and called.
            &[
                ("publish(", 2),
                ("receive(", 2),
                ("atomicStore(&lines", LINE_WORDS),
                ("atomicLoad(&lines", LINE_WORDS),
                ("signals[", 0),
            ]
        } else {
            // A ticket is nobody's signal.
            let adds = 1 + usize::from(shader.name.starts_with("fused-tickets"));
            &[("atomicAdd(", adds), ("atomicAdd(&signals", 1), ("atomicLoad(", 1), ("Barrier();", barriers(shader))]
        };
        for &(what, times) in counts {
            assert_eq!(shader.text.matches(what).count(), times, "{}: {what}", shader.name);
        }
    }
}

/// Software devices are strongly ordered and would pass with any order.
#[test]
fn barriers_stand_between_payload_and_signals() {
    let fused: Vec<Source> = sources().into_iter().filter(|source| source.coherent).collect();
    assert!(!fused.is_empty());
    let ordered = |text: &str| ir::ordered(&ir::events(&naga::front::wgsl::parse_str(text).unwrap()));
    for source in &fused {
        ordered(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.name));
    }

    // A ticket is drawn once the waits are over and before the release, or numbers would not grow along notifies.
    let drawn = fused.iter().find(|source| source.name.starts_with("fused-tickets")).unwrap();
    let body = &drawn.text[drawn.text.find("fn run(").unwrap()..];
    let at = |text: &str| body.find(text).unwrap_or_else(|| panic!("{text}"));
    let order =
        ["all_arrived(", "next, 0u, invocation", "move_chunks(", "next, 1u, invocation", "storageBarrier()", "notify("];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));

    // What must not pass: either barrier away, or on the wrong side.
    let (barrier, notifies) = ("        storageBarrier();\n", "        for (var i = instruction.end_wait + invocation");
    let notified = "            notify(place.first_signal + signal);\n        }\n";
    let acquire = "    storageBarrier();\n    return missing == 0u;";
    let polls = "    for (var i = instruction.first_wait";
    let no_release = (format!("{barrier}{notifies}"), notifies.to_owned());
    let no_acquire = (acquire.to_owned(), "    return missing == 0u;".to_owned());
    for (name, edits) in [
        ("no release", vec![no_release.clone()]),
        ("late release", vec![no_release, (notified.to_owned(), format!("{notified}{barrier}"))]),
        ("no acquire", vec![no_acquire.clone()]),
        ("early acquire", vec![no_acquire, (polls.to_owned(), format!("    storageBarrier();\n{polls}"))]),
    ] {
        let mut text = fused[0].text.clone();
        for (from, to) in &edits {
            assert_eq!(text.matches(from).count(), 1, "{name}: {from}");
            text = text.replace(from, to);
        }
        assert!(ordered(&text).is_err(), "{name} passes");
    }
}

/// The kernels are compiled without guards against loops that do not end.
#[test]
fn every_loop_counts_up_to_a_fixed_number() {
    let ends =
        |text: &str| ir::loops_end(&naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}")));
    for source in sources() {
        ends(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.name));
    }
    for (body, good) in [
        ("for (var i = 0u; i < n; i++) {}", true),
        (
            "var m = n; for (var i = 0u; i < m; i += 2u) { for (var j = i; j < n; j++) { if (j > 7u) { break; } } }",
            true,
        ),
        ("for (;;) {}", false),
        ("loop {}", false),
        ("loop { break; }", false),
        ("var i = 0u; while (i < n) {}", false),
        ("var i = 0u; while (i < n) { i++; }", false),
        ("for (var i = 0u; i < n; i++) { i = 0u; }", false),
        ("for (var i = 0u; i < n; i += 0u) {}", false),
        ("for (var i = n; i > 0u; i++) {}", false),
        ("for (var i = 0u; i < n; i--) {}", false),
        ("var m = n; for (var i = 0u; i < m; i++) { m++; }", false),
        ("var m = n; for (var i = 0u; i < m + 1u; i++) { if (n > 3u) { m = i + 2u; } }", false),
        ("var m = n; for (var i = 0u; i < n; i += m) { m = 0u; }", false),
        ("for (var i = 0u; i < word; i++) {}", false),
        ("for (var i = 0u; i < n; i++) { for (;;) { break; } }", false),
    ] {
        let text = format!(
            "var<private> word: u32; @compute @workgroup_size(1) fn f() {{ g(3u); }} fn g(n: u32) {{ {body} }}"
        );
        assert_eq!(ends(&text).is_ok(), good, "{body}: {:?}", ends(&text));
    }
}
