// What a sum or a product of f32 gives: its bits, where a compiler might evaluate sums in another order than is written. It
// cannot where it does not know what is done to the bits of every result, so they are combined with a zero that only the
// host knows to be one.
fn result(value: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(value) ^ vec4<u32>(params.zero);
}
