// Counts the elements of outputs that differ from what is expected. A dispatch holds one block of expected vectors
// against the same block of several ranks' outputs, a rank for each row of workgroups.
// Joined with payload/plain.wgsl. The host's side is src/gpu/verify.rs.

override WORKGROUP: u32 = 64u;

// Of the element type: its bytes (1, 2, 4 or 8), and the greatest magnitude of its topmost 32 bits that is no NaN. Integers
// have no NaN, and 0 here.
override ELEMENT_BYTES: u32 = 4u;
override GREATEST: u32 = 0x7f800000u;

struct Block {
    vectors: u32,
    // The last vector may hold fewer than its others: padding never counts.
    elements: u32,
    // Where in `expected` the other right answer begins; 0 where there is only one.
    alternative: u32,
    // Invocations of a row.
    stride: u32,
}

@group(0) @binding(1) var<storage, read> expected: array<vec4<u32>>;
// The first vector of each output.
@group(0) @binding(2) var<storage, read> outputs: array<u32>;
@group(0) @binding(3) var<storage, read_write> wrong: atomic<u32>;
@group(0) @binding(4) var<uniform> block: Block;

@compute @workgroup_size(WORKGROUP)
fn verify(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let output = outputs[invocation.y];
    var count = 0u;
    for (var i = invocation.x; i < block.vectors; i += block.stride) {
        let got = payload[output + i];
        let one = expected[i];
        // Nearly always all there is to do.
        if (any(got != one)) {
            count += differing(got, one, expected[block.alternative + i], i);
        }
    }
    if (count > 0u) {
        atomicAdd(&wrong, count);
    }
}

// Elements of vector `i` of the block that agree with neither answer.
fn differing(got: vec4<u32>, one: vec4<u32>, other: vec4<u32>, i: u32) -> u32 {
    let per_vector = 16u / ELEMENT_BYTES;
    let end = min(per_vector, block.elements - i * per_vector);
    var count = 0u;
    for (var e = 0u; e < end; e++) {
        let value = element(got, e);
        if (!agrees(value, element(one, e)) && !agrees(value, element(other, e))) {
            count++;
        }
    }
    return count;
}

// Element `e` of a vector: its topmost 32 bits, or all if it has no more; then those below.
fn element(vector: vec4<u32>, e: u32) -> vec2<u32> {
    if (ELEMENT_BYTES == 8u) {
        return vec2<u32>(vector[2u * e + 1u], vector[2u * e]);
    }
    let bits = 8u * min(ELEMENT_BYTES, 4u);
    let per_word = 32u / bits;
    let word = vector[e / per_word] >> (e % per_word * bits);
    return vec2<u32>(word & (0xffffffffu >> (32u - bits)), 0u);
}

// The same bits, or both NaN. By integers: a device may flush or canonicalise what it takes for a number.
fn agrees(a: vec2<u32>, b: vec2<u32>) -> bool {
    return all(a == b) || (is_nan(a) && is_nan(b));
}

fn is_nan(a: vec2<u32>) -> bool {
    let magnitude = a.x & (0x7fffffffu >> (32u - 8u * min(ELEMENT_BYTES, 4u)));
    return GREATEST != 0u && (magnitude > GREATEST || (magnitude == GREATEST && a.y != 0u));
}
