// Floats of fewer bits than f32 to f32 and back, as src/element/format.rs does it: WGSL leaves rounding and subnormals of its own
// functions open. Each is the topmost bits of a word. Nothing of them, nor a sum or product of two, is a subnormal of f32,
// so no device can flush one. Joined with a file that has the numbers of a format; see there.

// By how much the exponents of f32 are larger, in their place.
const REBIAS: u32 = (127u - BIAS) << 23u;
const STEP_BITS: u32 = (151u - BIAS - MANTISSA) << 23u;
// Bits of a word below them, and bits of f32 that they lack.
const BELOW: u32 = 32u - BITS;
const DROPPED: u32 = 23u - MANTISSA;

fn widen(bits: vec4<u32>) -> vec4<f32> {
    let magnitude = (bits & vec4<u32>(0x7fffffffu)) >> vec4<u32>(BELOW);
    let normal = (magnitude << vec4<u32>(DROPPED)) + vec4<u32>(REBIAS);
    // Between the special exponents is twice what is between the biases.
    let special = select(normal, normal + vec4<u32>(REBIAS), magnitude >= vec4<u32>(SPECIAL));
    // As f32 they are normal.
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitude) * UNIT);
    let widened = select(special, subnormal, magnitude < vec4<u32>(1u << MANTISSA));
    return bitcast<vec4<f32>>(widened | (bits & vec4<u32>(0x80000000u)));
}

// To nearest even. There is one NaN.
fn narrow(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    let held = min(magnitude, vec4<u32>(MOST));
    let odd = (held >> vec4<u32>(DROPPED)) & vec4<u32>(1u);
    let below_half = vec4<u32>((1u << (DROPPED - 1u)) - 1u);
    let normal = (held - vec4<u32>(REBIAS) + below_half + odd) >> vec4<u32>(DROPPED);
    // Added to a number whose last place is the unit of subnormals, it is rounded to what a subnormal can hold.
    let subnormal = bitcast<vec4<u32>>(bitcast<vec4<f32>>(held) + STEP) - vec4<u32>(STEP_BITS);
    let rounded = select(normal, subnormal, held < vec4<u32>(REBIAS + 0x800000u));
    let number = (rounded << vec4<u32>(BELOW)) | (bits & vec4<u32>(0x80000000u));
    return select(number, vec4<u32>(NAN), magnitude > vec4<u32>(0x7f800000u));
}
