// What a read of an input gives: every element times the scale, rounded. Anything else has been scaled already.
//
// The product must be rounded before it is added to, but a compiler may fuse the two. It cannot where it does not know what
// is done to the product's bits in between, so they are combined with a zero that only the host knows to be one.
fn contribution(value: vec4<u32>, is_input: bool) -> vec4<u32> {
    if (!is_input) {
        return value;
    }
    let scale = vec4<u32>(params.scale_low, params.scale_high, params.scale_low, params.scale_high);
    return prod(value, scale) ^ vec4<u32>(params.zero);
}
