// What a sum or a product of f32 gives: its bits.
fn result(value: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(value);
}
