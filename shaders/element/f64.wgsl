// f64 by integers of two words: what WGSL can express on every device, rounded to nearest even, subnormals, infinities and
// NaN included. Joined with wide.wgsl.
//
// A significand stands 10 bits higher than in memory: its leading bit is bit 62, above which a sum finds room for a carry.
// The bits below are for rounding; whatever is lost below them is kept as a 1 in the last (sticky), which is enough.

const INFINITY: u32 = 0x7ff00000u;
const NAN: vec2<u32> = vec2<u32>(0u, 0x7ff80000u);
const ROOM: u32 = 10u;

fn magnitude(a: vec2<u32>) -> vec2<u32> {
    return a & vec2<u32>(0xffffffffu, 0x7fffffffu);
}

fn is_zero(a: vec2<u32>) -> bool {
    return (a.x | a.y) == 0u;
}

// Of a magnitude.
fn is_nan(a: vec2<u32>) -> bool {
    return is_below(vec2<u32>(0u, INFINITY), a);
}

fn left(a: vec2<u32>, places: u32) -> vec2<u32> {
    if (places == 0u) {
        return a;
    }
    if (places < 32u) {
        return vec2<u32>(a.x << places, (a.y << places) | (a.x >> (32u - places)));
    }
    return vec2<u32>(0u, a.x << ((places - 32u) & 31u));
}

// To the right, sticky.
fn right(a: vec2<u32>, places: u32) -> vec2<u32> {
    if (places == 0u) {
        return a;
    }
    var shifted = vec2<u32>(0u);
    var lost = a.x | a.y;
    if (places < 32u) {
        shifted = vec2<u32>((a.x >> places) | (a.y << (32u - places)), a.y >> places);
        lost = a.x << (32u - places);
    } else if (places == 32u) {
        shifted = vec2<u32>(a.y, 0u);
        lost = a.x;
    } else if (places < 64u) {
        shifted = vec2<u32>(a.y >> (places - 32u), 0u);
        lost = a.x | (a.y << (64u - places));
    }
    return vec2<u32>(shifted.x | select(0u, 1u, lost != 0u), shifted.y);
}

fn leading_zeros(a: vec2<u32>) -> u32 {
    return select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
}

// The exponent as it stands, that of subnormals being 1.
fn exponent(magnitude: vec2<u32>) -> u32 {
    return max(magnitude.y >> 20u, 1u);
}

// As it stands, with its hidden bit.
fn significand(magnitude: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(magnitude.x, (magnitude.y & 0xfffffu) | select(0u, 0x100000u, magnitude.y >= 0x100000u));
}

// A significand with its leading bit at 62, or lower if the exponent is 1, as a number.
fn rounded(sign: u32, exponent: u32, raised: vec2<u32>) -> vec2<u32> {
    let below = raised.x & 0x3ffu;
    let whole = vec2<u32>((raised.x >> ROOM) | (raised.y << (32u - ROOM)), raised.y >> ROOM);
    let up = below > 0x200u || (below == 0x200u && (whole.x & 1u) == 1u);
    // The hidden bit adds 1 to the exponent, and so does a carry out of the significand.
    let number = add(add(whole, vec2<u32>(select(0u, 1u, up), 0u)), vec2<u32>(0u, (exponent - 1u) << 20u));
    if (number.y >= INFINITY) {
        return vec2<u32>(0u, sign | INFINITY);
    }
    return vec2<u32>(number.x, sign | number.y);
}

fn sum_of(x: vec2<u32>, y: vec2<u32>) -> vec2<u32> {
    // The greater magnitude first.
    let swap = is_below(magnitude(x), magnitude(y));
    let a = select(x, y, swap);
    let b = select(y, x, swap);
    let large = magnitude(a);
    let small = magnitude(b);
    let sign = a.y & 0x80000000u;
    let opposed = ((a.y ^ b.y) & 0x80000000u) != 0u;
    if (large.y >= INFINITY) {
        let undefined = is_nan(large) || (opposed && small.y >= INFINITY);
        return select(a, NAN, undefined);
    }
    var power = exponent(large);
    let more = left(significand(large), ROOM);
    let less = right(left(significand(small), ROOM), power - exponent(small));
    if (!opposed) {
        var total = add(more, less);
        if ((total.y & 0x80000000u) != 0u) {
            total = right(total, 1u);
            power += 1u;
        }
        return rounded(sign, power, total);
    }
    let rest = subtract(more, less);
    if (is_zero(rest)) {
        return vec2<u32>(0u);
    }
    let places = min(leading_zeros(rest) - 1u, power - 1u);
    return rounded(sign, power - places, left(rest, places));
}

fn product_of(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let x = magnitude(a);
    let y = magnitude(b);
    let sign = (a.y ^ b.y) & 0x80000000u;
    if (max(x.y, y.y) >= INFINITY) {
        let undefined = is_nan(x) || is_nan(y) || is_zero(x) || is_zero(y);
        return select(vec2<u32>(0u, sign | INFINITY), NAN, undefined);
    }
    if (is_zero(x) || is_zero(y)) {
        return vec2<u32>(0u, sign);
    }
    // Both with their leading bit at 63, where a normal number's is 11 places higher than in memory.
    let x_places = leading_zeros(significand(x));
    let y_places = leading_zeros(significand(y));
    let p = left(significand(x), x_places);
    let q = left(significand(y), y_places);
    var power = i32(exponent(x)) - i32(x_places) + i32(exponent(y)) - i32(y_places) + (22 - 1023);
    // The upper 64 bits of the product, sticky.
    let lowest = multiply(p.x, q.x);
    let one = add(multiply(p.x, q.y), vec2<u32>(lowest.y, 0u));
    let other = add(multiply(p.y, q.x), vec2<u32>(one.x, 0u));
    var upper = add(add(multiply(p.y, q.y), vec2<u32>(one.y, 0u)), vec2<u32>(other.y, 0u));
    upper.x |= select(0u, 1u, (lowest.x | other.x) != 0u);
    if ((upper.y & 0x80000000u) != 0u) {
        upper = right(upper, 1u);
        power += 1;
    }
    if (power >= 0x7ff) {
        return vec2<u32>(0u, sign | INFINITY);
    }
    if (power < 1) {
        upper = right(upper, u32(1 - power));
        power = 1;
    }
    return rounded(sign, u32(power), upper);
}

// Whether a goes before b; neither is NaN. -0 is below +0.
fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    let a_negative = (a.y & 0x80000000u) != 0u;
    let b_negative = (b.y & 0x80000000u) != 0u;
    if (a_negative != b_negative) {
        return a_negative;
    }
    return select(is_below(a, b), is_below(b, a), a_negative);
}

// IEEE 754-2019 minimumNumber and maximumNumber: a NaN loses, and of two comes one.
fn choose(a: vec2<u32>, b: vec2<u32>, a_wins: bool) -> vec2<u32> {
    let a_nan = is_nan(magnitude(a));
    let b_nan = is_nan(magnitude(b));
    if (a_nan && b_nan) {
        return NAN;
    }
    return select(b, a, (a_wins || b_nan) && !a_nan);
}

fn sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(sum_of(a.xy, b.xy), sum_of(a.zw, b.zw));
}

fn prod(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(product_of(a.xy, b.xy), product_of(a.zw, b.zw));
}

fn least(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(choose(a.xy, b.xy, is_less(a.xy, b.xy)), choose(a.zw, b.zw, is_less(a.zw, b.zw)));
}

fn greatest(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(choose(a.xy, b.xy, is_less(b.xy, a.xy)), choose(a.zw, b.zw, is_less(b.zw, a.zw)));
}
