// Moves and reduces chunks, whatever the algorithm. One invocation handles the same vectors of every chunk in every
// instruction of its lane and channel: among themselves these need no barrier.

// How many adjacent invocations walk a part of a slice together.
override GROUP: u32 = 64u;

// The shape, operands and destinations, that is written out in `unrolled`, so that nothing is looked up between two
// vectors; and whether the schedule has instructions of the other kinds. What it does not have is not compiled.
override OPERANDS: u32 = 0u;
override DESTINATIONS: u32 = 0u;
override COPIES: bool = true;
override REDUCTIONS: bool = true;
override OTHERS: bool = true;
// Whether in all instructions of that shape operands and destinations are evenly apart, by one distance.
override EVEN: bool = false;
// Whether any instruction moves more than a chunk: a loop of one turn is a loop to cores.
override RUNS: bool = true;

// How an instruction moves data: not at all, one operand to one destination, two to one, OPERANDS to DESTINATIONS,
// any number to any number.
const NOTHING: u32 = 0u;
const COPY: u32 = 1u;
const REDUCE: u32 = 2u;
const UNROLLED: u32 = 3u;
const OTHER: u32 = 4u;

fn move_chunks(instruction: Instruction, channel: u32, invocation: u32) {
    // Groups of adjacent invocations walk parts of their own: a CPU adapter runs one vector of invocations at a time.
    let slice_start = min(channel * params.slice_vectors, params.chunk_vectors);
    let slice_end = min(slice_start + params.slice_vectors, params.chunk_vectors);
    let groups = WORKGROUP / GROUP;
    let part = (slice_end - slice_start + groups - 1u) / groups;
    let start = slice_start + (invocation / GROUP) * part;
    let end = min(start + part, slice_end);
    let first = start + invocation % GROUP;
    if (RUNS) {
        for (var chunk = 0u; chunk < instruction.chunks; chunk++) {
            let offset = chunk * params.chunk_stride;
            move_chunk(instruction, offset + first, offset + end);
        }
    } else {
        move_chunk(instruction, first, end);
    }
}

fn move_chunk(instruction: Instruction, first: u32, end: u32) {
    if (COPIES && instruction.kind == COPY) {
        copy(instruction, first, end);
    } else if (REDUCTIONS && instruction.kind == REDUCE) {
        reduce(instruction, first, end);
    } else if (OPERANDS > 0u && instruction.kind == UNROLLED) {
        unrolled(instruction, first, end);
    } else if (OTHERS && instruction.kind == OTHER) {
        other(instruction, first, end);
    }
}

// An operand's vector, scaled where the operation does that to inputs.
fn load(index: u32, is_input: u32) -> vec4<u32> {
    return contribution(payload[index], is_input != 0u);
}

fn copy(instruction: Instruction, first: u32, end: u32) {
    for (var i = first; i < end; i += GROUP) {
        payload[instruction.destination + i] = load(instruction.operand + i, instruction.inputs);
    }
}

fn reduce(instruction: Instruction, first: u32, end: u32) {
    for (var i = first; i < end; i += GROUP) {
        let a = load(instruction.operand + i, instruction.inputs & 1u);
        payload[instruction.destination + i] = combine(a, load(instruction.second + i, instruction.inputs & 2u));
    }
}

fn other(instruction: Instruction, first: u32, end: u32) {
    for (var i = first; i < end; i += GROUP) {
        var value = load(instruction.operand + i, instruction.inputs & 1u);
        for (var j = instruction.end_notify; j < instruction.end_operand; j++) {
            value = combine(value, load(links[j].index + i, u32(links[j].kind == INPUT)));
        }
        payload[instruction.destination + i] = value;
        for (var j = instruction.end_operand; j < instruction.end_destination; j++) {
            payload[links[j].index + i] = value;
        }
    }
}

// First vector of operand or destination `number`, of which the first is at `first`: others are evenly apart, or stand in the links
// from `at` on. Links are padded, so that all of these can be read whatever the shape.
fn place_in(first: u32, distance: u32, at: u32, number: u32) -> u32 {
    if (EVEN) {
        return first + number * distance;
    }
    return links[at + number - 1u].index;
}

fn unrolled(instruction: Instruction, first: u32, end: u32) {
    let distance = instruction.second - instruction.operand;
    let operands = instruction.end_notify;
    let destinations = instruction.end_operand;
    let operand_1 = place_in(instruction.operand, distance, operands, 1u);
    let operand_2 = place_in(instruction.operand, distance, operands, 2u);
    let operand_3 = place_in(instruction.operand, distance, operands, 3u);
    let operand_4 = place_in(instruction.operand, distance, operands, 4u);
    let operand_5 = place_in(instruction.operand, distance, operands, 5u);
    let operand_6 = place_in(instruction.operand, distance, operands, 6u);
    let operand_7 = place_in(instruction.operand, distance, operands, 7u);
    let operand_8 = place_in(instruction.operand, distance, operands, 8u);
    let operand_9 = place_in(instruction.operand, distance, operands, 9u);
    let operand_10 = place_in(instruction.operand, distance, operands, 10u);
    let operand_11 = place_in(instruction.operand, distance, operands, 11u);
    let operand_12 = place_in(instruction.operand, distance, operands, 12u);
    let operand_13 = place_in(instruction.operand, distance, operands, 13u);
    let operand_14 = place_in(instruction.operand, distance, operands, 14u);
    let operand_15 = place_in(instruction.operand, distance, operands, 15u);
    let destination_1 = place_in(instruction.destination, distance, destinations, 1u);
    let destination_2 = place_in(instruction.destination, distance, destinations, 2u);
    let destination_3 = place_in(instruction.destination, distance, destinations, 3u);
    let destination_4 = place_in(instruction.destination, distance, destinations, 4u);
    let destination_5 = place_in(instruction.destination, distance, destinations, 5u);
    let destination_6 = place_in(instruction.destination, distance, destinations, 6u);
    let destination_7 = place_in(instruction.destination, distance, destinations, 7u);
    let destination_8 = place_in(instruction.destination, distance, destinations, 8u);
    let destination_9 = place_in(instruction.destination, distance, destinations, 9u);
    let destination_10 = place_in(instruction.destination, distance, destinations, 10u);
    let destination_11 = place_in(instruction.destination, distance, destinations, 11u);
    let destination_12 = place_in(instruction.destination, distance, destinations, 12u);
    let destination_13 = place_in(instruction.destination, distance, destinations, 13u);
    let destination_14 = place_in(instruction.destination, distance, destinations, 14u);
    let destination_15 = place_in(instruction.destination, distance, destinations, 15u);
    for (var i = first; i < end; i += GROUP) {
        var value = load(instruction.operand + i, instruction.inputs & 1u);
        if (OPERANDS > 1u) { value = combine(value, load(operand_1 + i, instruction.inputs & 2u)); }
        if (OPERANDS > 2u) { value = combine(value, load(operand_2 + i, instruction.inputs & 4u)); }
        if (OPERANDS > 3u) { value = combine(value, load(operand_3 + i, instruction.inputs & 8u)); }
        if (OPERANDS > 4u) { value = combine(value, load(operand_4 + i, instruction.inputs & 16u)); }
        if (OPERANDS > 5u) { value = combine(value, load(operand_5 + i, instruction.inputs & 32u)); }
        if (OPERANDS > 6u) { value = combine(value, load(operand_6 + i, instruction.inputs & 64u)); }
        if (OPERANDS > 7u) { value = combine(value, load(operand_7 + i, instruction.inputs & 128u)); }
        if (OPERANDS > 8u) { value = combine(value, load(operand_8 + i, instruction.inputs & 256u)); }
        if (OPERANDS > 9u) { value = combine(value, load(operand_9 + i, instruction.inputs & 512u)); }
        if (OPERANDS > 10u) { value = combine(value, load(operand_10 + i, instruction.inputs & 1024u)); }
        if (OPERANDS > 11u) { value = combine(value, load(operand_11 + i, instruction.inputs & 2048u)); }
        if (OPERANDS > 12u) { value = combine(value, load(operand_12 + i, instruction.inputs & 4096u)); }
        if (OPERANDS > 13u) { value = combine(value, load(operand_13 + i, instruction.inputs & 8192u)); }
        if (OPERANDS > 14u) { value = combine(value, load(operand_14 + i, instruction.inputs & 16384u)); }
        if (OPERANDS > 15u) { value = combine(value, load(operand_15 + i, instruction.inputs & 32768u)); }
        payload[instruction.destination + i] = value;
        if (DESTINATIONS > 1u) { payload[destination_1 + i] = value; }
        if (DESTINATIONS > 2u) { payload[destination_2 + i] = value; }
        if (DESTINATIONS > 3u) { payload[destination_3 + i] = value; }
        if (DESTINATIONS > 4u) { payload[destination_4 + i] = value; }
        if (DESTINATIONS > 5u) { payload[destination_5 + i] = value; }
        if (DESTINATIONS > 6u) { payload[destination_6 + i] = value; }
        if (DESTINATIONS > 7u) { payload[destination_7 + i] = value; }
        if (DESTINATIONS > 8u) { payload[destination_8 + i] = value; }
        if (DESTINATIONS > 9u) { payload[destination_9 + i] = value; }
        if (DESTINATIONS > 10u) { payload[destination_10 + i] = value; }
        if (DESTINATIONS > 11u) { payload[destination_11 + i] = value; }
        if (DESTINATIONS > 12u) { payload[destination_12 + i] = value; }
        if (DESTINATIONS > 13u) { payload[destination_13 + i] = value; }
        if (DESTINATIONS > 14u) { payload[destination_14 + i] = value; }
        if (DESTINATIONS > 15u) { payload[destination_15 + i] = value; }
    }
}
