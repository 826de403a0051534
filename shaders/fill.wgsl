// Fills a run of vectors with one value: outputs and slots are poisoned before a launch, so that nothing stale can pass.
// Joined with payload/plain.wgsl.

override WORKGROUP: u32 = 64u;

struct Fill {
    first: u32,
    end: u32,
    value: u32,
    // Invocations of the dispatch.
    stride: u32,
}

@group(0) @binding(1) var<uniform> region: Fill;

@compute @workgroup_size(WORKGROUP)
fn fill(@builtin(global_invocation_id) invocation: vec3<u32>) {
    for (var i = region.first + invocation.x; i < region.end; i += region.stride) {
        payload[i] = vec4<u32>(region.value);
    }
}
