// Ring all-reduce as one would write it by hand: a dispatch is one round of all ranks, the round's formulas are in the
// text, and dispatches are ordered by the command stream. It moves what the schedule `ring` moves.

struct Params {
    // Vectors of one rank's buffer, a multiple of the number of ranks.
    vectors: u32,
    // Workgroups of one rank.
    workgroups: u32,
    round: u32,
    ranks: u32,
}

@group(0) @binding(0) var<storage, read> inputs: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> outputs: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read_write> slots: array<vec4<f32>>;

override WORKGROUP: u32 = 64u;
// Adjacent invocations that walk a part together.
override GROUP: u32 = 8u;

// All-gather; reduce-scatter in a single round; its first, last and other rounds.
override FORM: u32 = 0u;

@compute @workgroup_size(WORKGROUP)
fn ring(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let ranks = params.ranks;
    let rank = workgroup.x % ranks;
    let left = (rank + ranks - 1u) % ranks;
    let scatter = params.round < ranks - 1u;
    // r-1-s in reduce-scatter round s, r-s in all-gather round s.
    let back = select(params.round + 2u - ranks, params.round + 2u, scatter);
    let chunk = (rank + 2u * ranks - back) % ranks;
    let n = params.vectors / ranks;
    let theirs = left * params.vectors + chunk * n;
    let own = rank * params.vectors + chunk * n;
    let groups = params.workgroups * (WORKGROUP / GROUP);
    let group = (workgroup.x / ranks) * (WORKGROUP / GROUP) + invocation / GROUP;
    let part = (n + groups - 1u) / groups;
    let start = min(group * part, n);
    let end = min(start + part, n);
    for (var i = start + invocation % GROUP; i < end; i += GROUP) {
        if (FORM == 0u) {
            outputs[own + i] = outputs[theirs + i];
        } else if (FORM == 1u) {
            outputs[own + i] = inputs[theirs + i] + inputs[own + i];
        } else if (FORM == 2u) {
            slots[own + i] = inputs[theirs + i] + inputs[own + i];
        } else if (FORM == 3u) {
            outputs[own + i] = slots[theirs + i] + inputs[own + i];
        } else {
            slots[own + i] = slots[theirs + i] + inputs[own + i];
        }
    }
}
