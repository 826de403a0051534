// Direct sum as one would write it by hand for a fixed number of ranks: one dispatch, every rank's operand in the text.
// `SUM` and `STORES` are written out by the benchmark for 2, 4 or 8 ranks; nothing is looked up.

struct Params {
    // Vectors of one rank's buffer.
    vectors: u32,
    workgroups: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<storage, read> inputs: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> outputs: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

override WORKGROUP: u32 = 64u;
// Adjacent invocations that walk a part together.
override GROUP: u32 = 8u;

@compute @workgroup_size(WORKGROUP)
fn direct(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let n = params.vectors;
    let groups = params.workgroups * (WORKGROUP / GROUP);
    let group = workgroup.x * (WORKGROUP / GROUP) + invocation / GROUP;
    let part = (n + groups - 1u) / groups;
    let start = min(group * part, n);
    let end = min(start + part, n);
    for (var i = start + invocation % GROUP; i < end; i += GROUP) {
        let sum = SUM;
        STORES
    }
}
