// All inputs, outputs and slots of all ranks, as 16-byte vectors of raw bits (copies must not touch them).
// Coherent: for fused dispatch, where workgroups read what others write while both are running.
@group(0) @binding(0) @coherent var<storage, read_write> payload: array<vec4<u32>>;
