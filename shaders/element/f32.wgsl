// Four f32 a vector, natively. Joined with order.wgsl and a file of result/.

const INFINITY: u32 = 0x7f800000u;
const NAN: u32 = 0x7fc00000u;

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return result(bitcast<vec4<f32>>(a) + bitcast<vec4<f32>>(b));
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return result(bitcast<vec4<f32>>(a) * bitcast<vec4<f32>>(b));
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return lesser(a, b);
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return larger(a, b);
}
