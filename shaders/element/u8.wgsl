// Unsigned bytes. Joined with bytes.wgsl.
const SIGNS: u32 = 0u;
