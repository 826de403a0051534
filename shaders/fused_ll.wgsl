// Fused dispatch without signals: what a lane reads of another comes by a line and has arrived when its flags say so.
// Invocations of a workgroup have nothing to do with each other, because each handles the same vectors of every chunk: each
// goes on by itself as soon as its own data is there, without any barrier, and remembers by itself how far it got.
//
// Joined with payload/plain.wgsl, place.wgsl, line.wgsl, element/, op/ and contribution/. The host's side of the program is
// src/lower/ll.rs.

// Loop turns of one invocation for a lane in a sweep. llvmpipe ends all loops of a dispatch, silently, after 65535.
override TURN_LIMIT: u32 = 60000u;

// Sweeps of an invocation over its lanes, and sweeps without progress, one after the other, before it leaves.
override PASSES: u32 = 1u;
override IDLE: u32 = 1u;

// Where an operand comes from: nowhere, a chunk in memory, an input, a line.
const NOTHING: u32 = 0u;
const MEMORY: u32 = 1u;
const INPUT: u32 = 2u;
const LINE: u32 = 3u;

// What `line` of a `Move` is where nobody reads the result.
const NO_LINE: u32 = 0xffffffffu;

struct Operand {
    // First vector of the chunk, or first word of the line; of a destination, its first vector.
    index: u32,
    source: u32,
}

// Combine operands of one chunk from left to right, store the result at all destinations, publish it.
struct Move {
    first: Operand,
    second: Operand,
    // First vectors of the first destination.
    destination: u32,
    // Further operands, then further destinations: one range of `operands` after the other.
    more_operands: u32,
    more_destinations: u32,
    end: u32,
    // Whether there is a destination at all.
    stores: u32,
    // First word of the line to publish.
    line: u32,
    // Loop turns that it costs an invocation for each of its vectors, at most.
    turns: u32,
    // Moves begin at multiples of 16 bytes, so that they can be read by vectors.
    unused: u32,
}

// Behind the last move stands one that nobody executes, for who reads ahead.
@group(0) @binding(2) var<storage, read> moves: array<Move>;
@group(0) @binding(3) var<storage, read> operands: array<Operand>;
// How far each invocation got, in vectors of all moves of its lane.
@group(0) @binding(8) var<storage, read_write> positions: array<u32>;

// Vectors that are left to the invocation that has most of them.
var<workgroup> remaining: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn execute(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    var idle = 0u;
    var turns = 0u;
    for (var sweep = 0u; sweep < PASSES; sweep++) {
        var moved = false;
        var through = true;
        for (var hosted = 0u; hosted < HOSTED; hosted++) {
            let place = place_of(workgroup.x, hosted);
            if (place.exists) {
                let outcome = run(place, sweep == 0u, invocation);
                moved = moved || outcome.moved;
                through = through && outcome.through;
                turns += outcome.turns;
            }
        }
        idle = select(idle + 1u, 0u, moved);
        // A dispatch is no longer than one sweep may be.
        if (through || idle >= IDLE || turns > HOSTED * TURN_LIMIT) {
            break;
        }
    }
    for (var hosted = 0u; hosted < HOSTED; hosted++) {
        let place = place_of(workgroup.x, hosted);
        if (place.exists) {
            tell(place, invocation);
        }
    }
}

// Of every chunk an invocation has as many vectors as any, some of which may lie behind the slice's end.
fn vectors_each() -> u32 {
    return (params.slice_vectors + WORKGROUP - 1u) / WORKGROUP;
}

fn run(place: Place, may_begin: bool, invocation: u32) -> Outcome {
    let row = params.row * params.all_lanes + place.lane;
    let start = starts[row];
    let end = starts[row + params.all_lanes];
    // Progress is as the last dispatch left it until all sweeps are over, so every sweep finds the same count.
    let lane = resume(place.own, start, true);
    let own = place.own * WORKGROUP + invocation;
    let flag = lane.launches & 0xffffu;

    let slice_start = min(place.channel * params.slice_vectors, params.chunk_vectors);
    let slice_end = min(slice_start + params.slice_vectors, params.chunk_vectors);
    let vectors = vectors_each();
    // Below 2^32: the host bounds the pieces for it.
    let all_vectors = (end - start) * vectors;
    var at = 0u;
    // A launch begins once.
    if (launch.number == 0u || !may_begin) {
        at = min(positions[own], all_vectors);
    }
    let before = at;
    var turns = 0u;
    var next = start + at / vectors;
    let first = slice_start + invocation;
    var i = first + (at % vectors) * WORKGROUP;
    let behind = first + vectors * WORKGROUP;
    var following = moves[next];
    for (; at < all_vectors; at++) {
        let current = following;
        turns += current.turns;
        if (turns > TURN_LIMIT) {
            break;
        }
        // Read ahead, while the data is on its way.
        let is_last = i + WORKGROUP == behind;
        next += u32(is_last);
        following = moves[next];
        if (i < slice_end) {
            let value = gather(current, i, flag);
            if (!value.arrived) {
                break;
            }
            if (current.line != NO_LINE) {
                publish(current.line + i, value.vector, flag);
            }
            if (current.stores != 0u) {
                payload[current.destination + i] = value.vector;
                for (var j = current.more_destinations; j < current.end; j++) {
                    payload[operands[j].index + i] = value.vector;
                }
            }
        }
        i = select(i + WORKGROUP, first, is_last);
    }
    positions[own] = at;
    return Outcome(at > before, at == all_vectors, turns);
}

// The lane's progress: that of the invocation which is furthest behind.
fn tell(place: Place, invocation: u32) {
    let row = params.row * params.all_lanes + place.lane;
    let start = starts[row];
    let end = starts[row + params.all_lanes];
    let lane = resume(place.own, start, true);
    let vectors = vectors_each();
    atomicMax(&remaining, (end - start) * vectors - positions[place.own * WORKGROUP + invocation]);
    // Everybody has said how much is left, and has read what is overwritten now.
    workgroupBarrier();
    storageBarrier();
    if (invocation == 0u) {
        progress[place.own] = Progress(end - (atomicLoad(&remaining) + vectors - 1u) / vectors, lane.launches, lane.number);
        if (HOSTED > 1u) {
            atomicStore(&remaining, 0u);
        }
    }
    if (HOSTED > 1u) {
        // The next lane's count begins at zero.
        workgroupBarrier();
    }
}

// The result of a move, if all its operands have arrived.
fn gather(current: Move, i: u32, flag: u32) -> Received {
    // What lies in memory is asked for first, and is there when the line is.
    let first_chunk = fetch(current.first, i);
    let second_chunk = fetch(current.second, i);
    var value = arrive(current.first, first_chunk, i, flag);
    if (current.second.source != NOTHING) {
        let second = arrive(current.second, second_chunk, i, flag);
        value = Received(combine(value.vector, second.vector), value.arrived && second.arrived);
    }
    for (var j = current.more_operands; j < current.more_destinations; j++) {
        let operand = operands[j];
        let further = arrive(operand, fetch(operand, i), i, flag);
        value = Received(combine(value.vector, further.vector), value.arrived && further.arrived);
    }
    return value;
}

fn fetch(operand: Operand, i: u32) -> vec4<u32> {
    if (operand.source == MEMORY || operand.source == INPUT) {
        return contribution(payload[operand.index + i], operand.source == INPUT);
    }
    return vec4<u32>();
}

fn arrive(operand: Operand, chunk: vec4<u32>, i: u32, flag: u32) -> Received {
    if (operand.source == LINE) {
        return receive(operand.index + i, flag);
    }
    return Received(chunk, true);
}
