// Four i32 a vector, natively; they wrap.

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a + b;
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a * b;
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(min(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b)));
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(max(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b)));
}
