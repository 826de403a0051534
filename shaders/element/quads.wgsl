// Four 8-bit floats a word, sixteen a vector: each is computed as the topmost byte of a word of its own.
// Joined with order.wgsl and a file that has `widen` and `narrow`, between such a word and f32.

fn byte(v: vec4<u32>, shift: u32) -> vec4<u32> {
    return (v << vec4<u32>(shift)) & vec4<u32>(0xff000000u);
}

fn join(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> vec4<u32> {
    return a | (b >> vec4<u32>(8u)) | (c >> vec4<u32>(16u)) | (d >> vec4<u32>(24u));
}

fn sum_of(a: vec4<u32>, b: vec4<u32>, shift: u32) -> vec4<u32> {
    return narrow(widen(byte(a, shift)) + widen(byte(b, shift)));
}

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(sum_of(a, b, 0u), sum_of(a, b, 8u), sum_of(a, b, 16u), sum_of(a, b, 24u));
}

fn product_of(a: vec4<u32>, b: vec4<u32>, shift: u32) -> vec4<u32> {
    return narrow(widen(byte(a, shift)) * widen(byte(b, shift)));
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(product_of(a, b, 0u), product_of(a, b, 8u), product_of(a, b, 16u), product_of(a, b, 24u));
}

fn least_of(a: vec4<u32>, b: vec4<u32>, shift: u32) -> vec4<u32> {
    return lesser(byte(a, shift), byte(b, shift));
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(least_of(a, b, 0u), least_of(a, b, 8u), least_of(a, b, 16u), least_of(a, b, 24u));
}

fn greatest_of(a: vec4<u32>, b: vec4<u32>, shift: u32) -> vec4<u32> {
    return larger(byte(a, shift), byte(b, shift));
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return join(greatest_of(a, b, 0u), greatest_of(a, b, 8u), greatest_of(a, b, 16u), greatest_of(a, b, 24u));
}
