// All inputs, outputs and slots of all ranks, as 16-byte vectors of raw bits (copies must not touch them).
// Plain: for dispatch modes in which everything that is read was written by an earlier dispatch.
@group(0) @binding(0) var<storage, read_write> payload: array<vec4<u32>>;
