// Two 64-bit integers a vector, each in two words; they wrap. Joined with wide.wgsl and a file that has SIGN: the bit of the
// upper word that is turned round so that signed integers compare as unsigned ones.

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(add(a.xy, b.xy), add(a.zw, b.zw));
}

fn product(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return multiply(a.x, b.x) + vec2<u32>(0u, a.x * b.y + a.y * b.x);
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(product(a.xy, b.xy), product(a.zw, b.zw));
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return is_below(a ^ vec2<u32>(0u, SIGN), b ^ vec2<u32>(0u, SIGN));
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(select(b.xy, a.xy, is_less(a.xy, b.xy)), select(b.zw, a.zw, is_less(a.zw, b.zw)));
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(select(a.xy, b.xy, is_less(a.xy, b.xy)), select(a.zw, b.zw, is_less(a.zw, b.zw)));
}
