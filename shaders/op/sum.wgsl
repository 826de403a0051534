// Two vectors of elements combined, in the order that the schedule says.
fn combine(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return sum(a, b);
}
