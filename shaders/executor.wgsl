// Interprets a schedule. A workgroup is one (lane, channel): it runs its lane's instructions over its channel's slice of
// every chunk until the dispatch's number, a missing signal or the turn limit stops it, and then stores how far it got.
// The next dispatch goes on from there, so progress never depends on two workgroups running at the same time.
//
// Joined with payload/, signal.wgsl, element/, op/ and contribution/. The host's side is src/gpu/program.rs.

// Invocations of a workgroup, and how many adjacent ones walk a part of the slice together.
override WORKGROUP: u32 = 64u;
override GROUP: u32 = 64u;

// Loop turns of one invocation in one dispatch. llvmpipe ends all loops, silently, after 65535.
override TURN_LIMIT: u32 = 60000u;

// What an instruction does: copy one operand or reduce two, to one destination or two; or the general case of both.
const NOTHING: u32 = 0u;
const COPY: u32 = 1u;
const REDUCE: u32 = 2u;
const REDUCE_ALL: u32 = 3u;
// In place of an address that an instruction does not have.
const NOWHERE: u32 = 0xffffffffu;

// One dispatch.
struct Params {
    // Instructions with a greater number stay for a later dispatch.
    dispatch: u32,
    // Lanes that take part.
    first_lane: u32,
    lanes: u32,
    // Lanes of the schedule.
    all_lanes: u32,
    // Vectors between two chunks, and how many of a chunk are in use.
    chunk_stride: u32,
    chunk_vectors: u32,
    // Vectors of a chunk that a channel takes.
    slice_vectors: u32,
    // Signals of a channel.
    channel_signals: u32,
    // What contributions are multiplied by, as the elements of a vector lie in two words; and a zero that no compiler knows.
    scale_low: u32,
    scale_high: u32,
    zero: u32,
    unused: u32,
}

struct Instruction {
    kind: u32,
    // First vectors of the operands and destinations.
    a: u32,
    b: u32,
    to: u32,
    also_to: u32,
    chunks: u32,
    // The dispatch in which it runs.
    dispatch: u32,
    // Loop turns that it costs an invocation, at most.
    turns: u32,
    // Ranges of links.
    first_wait: u32,
    end_wait: u32,
    first_notify: u32,
    end_notify: u32,
    // Of REDUCE_ALL: operands after the second, then destinations after the second.
    first_more: u32,
    end_more_from: u32,
    end_more_to: u32,
    // Bit 0: a is an input; bit 1: b is.
    inputs: u32,
}

// A signal and, for a wait, the value to wait for; or the first vector of a further operand, and whether it is an input; or
// that of a further destination.
struct Link {
    index: u32,
    at_least: u32,
}

// How far a (lane, channel) got.
struct Progress {
    next: u32,
    end: u32,
}

@group(0) @binding(2) var<storage, read> program: array<Instruction>;
@group(0) @binding(3) var<storage, read> links: array<Link>;
@group(0) @binding(4) var<storage, read_write> progress: array<Progress>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> resumed: Progress;
var<workgroup> unmet: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn execute(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let channel = workgroup.x / params.lanes;
    let lane = params.first_lane + workgroup.x % params.lanes;
    let own = channel * params.all_lanes + lane;
    let signals_of_channel = channel * params.channel_signals;
    if (invocation == 0u) {
        resumed = progress[own];
    }
    let start = workgroupUniformLoad(&resumed);
    var next = start.next;
    var turns = 0u;
    while (next < start.end) {
        let instruction = program[next];
        turns += instruction.turns;
        if (instruction.dispatch > params.dispatch || turns > TURN_LIMIT) {
            break;
        }
        if (!all_arrived(instruction.first_wait, instruction.end_wait, signals_of_channel, invocation)) {
            break;
        }
        move_chunks(instruction, channel, invocation);
        // Release: all that the workgroup wrote comes before the notifies, and before its own next instruction.
        storageBarrier();
        for (var i = instruction.first_notify + invocation; i < instruction.end_notify; i += WORKGROUP) {
            notify(signals_of_channel + links[i].index);
        }
        next++;
    }
    if (invocation == 0u) {
        progress[own].next = next;
    }
}

// Whether all signals have come. Each is polled by one invocation; the verdict is the same for all of them.
fn all_arrived(first: u32, end: u32, signals_of_channel: u32, invocation: u32) -> bool {
    if (first == end) {
        return true;
    }
    for (var i = first + invocation; i < end; i += WORKGROUP) {
        if (!wait(signals_of_channel + links[i].index, links[i].at_least)) {
            atomicStore(&unmet, 1u);
        }
    }
    let missing = workgroupUniformLoad(&unmet);
    // Acquire: by every invocation, because every one of them reads what the notifier wrote.
    storageBarrier();
    return missing == 0u;
}

fn move_chunks(instruction: Instruction, channel: u32, invocation: u32) {
    // Groups of adjacent invocations walk parts of their own: a CPU adapter runs one vector of invocations at a time.
    let slice_start = min(channel * params.slice_vectors, params.chunk_vectors);
    let slice_end = min(slice_start + params.slice_vectors, params.chunk_vectors);
    let groups = WORKGROUP / GROUP;
    let part = (slice_end - slice_start + groups - 1u) / groups;
    let start = slice_start + (invocation / GROUP) * part;
    let end = min(start + part, slice_end);
    for (var chunk = 0u; chunk < instruction.chunks; chunk++) {
        let offset = chunk * params.chunk_stride;
        if (instruction.kind == COPY) {
            for (var i = offset + start + invocation % GROUP; i < offset + end; i += GROUP) {
                store(instruction, i, load_a(instruction, i));
            }
        } else if (instruction.kind == REDUCE) {
            for (var i = offset + start + invocation % GROUP; i < offset + end; i += GROUP) {
                store(instruction, i, combine(load_a(instruction, i), load_b(instruction, i)));
            }
        } else if (instruction.kind == REDUCE_ALL) {
            for (var i = offset + start + invocation % GROUP; i < offset + end; i += GROUP) {
                reduce_all(instruction, i);
            }
        }
    }
}

fn reduce_all(instruction: Instruction, i: u32) {
    var value = load_a(instruction, i);
    if (instruction.b != NOWHERE) {
        value = combine(value, load_b(instruction, i));
    }
    for (var j = instruction.first_more; j < instruction.end_more_from; j++) {
        value = combine(value, contribution(payload[links[j].index + i], links[j].at_least != 0u));
    }
    store(instruction, i, value);
    for (var j = instruction.end_more_from; j < instruction.end_more_to; j++) {
        payload[links[j].index + i] = value;
    }
}

fn load_a(instruction: Instruction, i: u32) -> vec4<u32> {
    return contribution(payload[instruction.a + i], (instruction.inputs & 1u) != 0u);
}

fn load_b(instruction: Instruction, i: u32) -> vec4<u32> {
    return contribution(payload[instruction.b + i], (instruction.inputs & 2u) != 0u);
}

fn store(instruction: Instruction, i: u32, value: vec4<u32>) {
    payload[instruction.to + i] = value;
    if (instruction.also_to != NOWHERE) {
        payload[instruction.also_to + i] = value;
    }
}
