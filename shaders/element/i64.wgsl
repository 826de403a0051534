// i64. Joined with words.wgsl.
const SIGN: u32 = 0x80000000u;
