// bf16 is the upper half of an f32. Joined with pairs.wgsl.

const INFINITY: u32 = 0x7f800000u;
const NAN: u32 = 0x7fc00000u;

fn widen(bits: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bits);
}

// To nearest even; a carry out of the largest number makes infinity by itself.
fn narrow(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let odd = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
    let rounded = (bits + vec4<u32>(0x7fffu) + odd) & vec4<u32>(0xffff0000u);
    return select(rounded, vec4<u32>(NAN), is_nan(bits));
}
