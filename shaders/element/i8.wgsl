// Signed bytes. Joined with bytes.wgsl.
const SIGNS: u32 = 0x80808080u;
