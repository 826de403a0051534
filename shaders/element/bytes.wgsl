// Four bytes a word, sixteen a vector, within the words. Joined with a file that has SIGNS: the bits that are turned round
// so that signed bytes compare as unsigned ones.

const HIGH: u32 = 0x80808080u;

// Seven bits are added without a carry into the next byte, then the eighth.
fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let high = vec4<u32>(HIGH);
    return ((a & ~high) + (b & ~high)) ^ ((a ^ b) & high);
}

// The lowest byte of a product depends on the lowest bytes alone.
fn lowest(a: vec4<u32>, b: vec4<u32>, shift: u32) -> vec4<u32> {
    let places = vec4<u32>(shift);
    return (((a >> places) * (b >> places)) & vec4<u32>(0xffu)) << places;
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return lowest(a, b, 0u) | lowest(a, b, 8u) | lowest(a, b, 16u) | lowest(a, b, 24u);
}

// All bits of every byte of a that is at least the byte of b.
fn at_least(signed_a: vec4<u32>, signed_b: vec4<u32>) -> vec4<u32> {
    let high = vec4<u32>(HIGH);
    let a = signed_a ^ vec4<u32>(SIGNS);
    let b = signed_b ^ vec4<u32>(SIGNS);
    // The high bit of a byte stays where its lower seven need not borrow.
    let lower = (a | high) - (b & ~high);
    let result = ((a & ~b) | (~(a ^ b) & lower)) & high;
    return (result >> vec4<u32>(7u)) * vec4<u32>(0xffu);
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let take_b = at_least(a, b);
    return (b & take_b) | (a & ~take_b);
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let take_a = at_least(a, b);
    return (a & take_a) | (b & ~take_a);
}
