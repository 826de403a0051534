// f16 to f32 and back, as src/element/half.rs does it: WGSL leaves the rounding and the subnormals of its own functions open.
// No f16, nor a sum or product of two, is a subnormal of f32, so no device can flush one. Joined with pairs.wgsl.

const INFINITY: u32 = 0x7c000000u;
const NAN: u32 = 0x7e000000u;

fn widen(bits: vec4<u32>) -> vec4<f32> {
    let magnitude = (bits >> vec4<u32>(16u)) & vec4<u32>(0x7fffu);
    // Exponents differ by 112 in their bias, and by as much again between the two infinities.
    let normal = (magnitude << vec4<u32>(13u)) + vec4<u32>(0x38000000u);
    let special = select(normal, normal + vec4<u32>(0x38000000u), magnitude >= vec4<u32>(0x7c00u));
    // Subnormals are multiples of 2^-24; as f32 they are normal.
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitude) * 5.9604644775390625e-8);
    let widened = select(special, subnormal, magnitude < vec4<u32>(0x0400u));
    return bitcast<vec4<f32>>(widened | (bits & vec4<u32>(0x80000000u)));
}

fn narrow(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // To nearest even; a carry out of the largest number makes infinity by itself.
    let odd = (magnitude >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = (magnitude - vec4<u32>(0x38000000u) + vec4<u32>(0xfffu) + odd) >> vec4<u32>(13u);
    // Added to 1/2, whose last place is 2^-24, the sum is rounded to what a subnormal can hold.
    let subnormal = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude) + 0.5) - vec4<u32>(0x3f000000u);
    let finite = select(normal, subnormal, magnitude < vec4<u32>(0x38800000u));
    let large = select(vec4<u32>(0x7c00u), vec4<u32>(0x7e00u), magnitude > vec4<u32>(0x7f800000u));
    let rounded = select(finite, large, magnitude >= vec4<u32>(0x47800000u));
    return (rounded << vec4<u32>(16u)) | (bits & vec4<u32>(0x80000000u));
}
