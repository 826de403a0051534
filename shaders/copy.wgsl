// Copies one buffer to another and does nothing else: what the device's memory can do, for every bandwidth to be held
// against. Several vectors are on their way at a time for each invocation, and neighbours read neighbours.
// The host's side is src/gpu/copy.rs.

override WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<u32>>;

// Vectors of an invocation at a time: those written out below.
const EACH: u32 = 4u;

@compute @workgroup_size(WORKGROUP)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let vectors = arrayLength(&source);
    let block = WORKGROUP * EACH;
    let stride = workgroups.x * block;
    for (var first = workgroup.x * block + invocation; first < vectors; first += stride) {
        let second = first + WORKGROUP;
        let third = second + WORKGROUP;
        let fourth = third + WORKGROUP;
        if (fourth < vectors) {
            let a = source[first];
            let b = source[second];
            let c = source[third];
            let d = source[fourth];
            destination[first] = a;
            destination[second] = b;
            destination[third] = c;
            destination[fourth] = d;
        } else {
            destination[first] = source[first];
            if (second < vectors) {
                destination[second] = source[second];
            }
            if (third < vectors) {
                destination[third] = source[third];
            }
        }
    }
}
