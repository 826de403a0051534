// Four u32 a vector, natively; they wrap.

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a + b;
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return a * b;
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return min(a, b);
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return max(a, b);
}
