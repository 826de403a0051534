// Two 16-bit floats a word, eight a vector: each half is computed as the upper half of a word of its own.
// Joined with order.wgsl and a file that has `widen` and `narrow`, between such a word and f32.

fn high(v: vec4<u32>) -> vec4<u32> {
    return v & vec4<u32>(0xffff0000u);
}

fn low(v: vec4<u32>) -> vec4<u32> {
    return v << vec4<u32>(16u);
}

fn join(high: vec4<u32>, low: vec4<u32>) -> vec4<u32> {
    return high | (low >> vec4<u32>(16u));
}

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(narrow(widen(high(a)) + widen(high(b))), narrow(widen(low(a)) + widen(low(b))));
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(narrow(widen(high(a)) * widen(high(b))), narrow(widen(low(a)) * widen(low(b))));
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(lesser(high(a), high(b)), lesser(low(a), low(b)));
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(larger(high(a), high(b)), larger(low(a), low(b)));
}
