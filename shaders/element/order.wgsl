// min and max of floats whose sign is bit 31 of a word: IEEE 754-2019 minimumNumber and maximumNumber, with -0 below +0 and
// one NaN for two. By integers only, so that no device can flush a subnormal or turn a NaN into something else.
// Joined with a file that has INFINITY and NAN.

// Negative numbers count down, so their magnitude is turned round: the order of integers is then that of floats.
fn key(bits: vec4<u32>) -> vec4<i32> {
    let number = bitcast<vec4<i32>>(bits);
    return number ^ ((number >> vec4<u32>(31u)) & vec4<i32>(0x7fffffff));
}

fn is_nan(bits: vec4<u32>) -> vec4<bool> {
    return (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(INFINITY);
}

fn choose(a: vec4<u32>, b: vec4<u32>, a_wins: vec4<bool>) -> vec4<u32> {
    let number = select(b, a, a_wins);
    let or_a = select(number, a, is_nan(b));
    let or_b = select(or_a, b, is_nan(a));
    return select(or_b, vec4<u32>(NAN), is_nan(a) & is_nan(b));
}

fn lesser(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return choose(a, b, key(a) < key(b));
}

fn larger(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return choose(a, b, key(a) > key(b));
}
