// u64. Joined with words.wgsl.
const SIGN: u32 = 0u;
