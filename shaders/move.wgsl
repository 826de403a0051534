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
    for (var chunk = 0u; chunk < instruction.chunks; chunk++) {
        let offset = chunk * params.chunk_stride;
        if (COPIES && instruction.kind == COPY) {
            copy(instruction, offset + first, offset + end);
        } else if (REDUCTIONS && instruction.kind == REDUCE) {
            reduce(instruction, offset + first, offset + end);
        } else if (OPERANDS > 0u && instruction.kind == UNROLLED) {
            unrolled(instruction, offset + first, offset + end);
        } else if (OTHERS && instruction.kind == OTHER) {
            other(instruction, offset + first, offset + end);
        }
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

// Links are padded, so that all of these can be read whatever the shape.
fn unrolled(instruction: Instruction, first: u32, end: u32) {
    let operands = instruction.end_notify;
    let destinations = instruction.end_operand;
    let operand_1 = links[operands + 0u].index;
    let operand_2 = links[operands + 1u].index;
    let operand_3 = links[operands + 2u].index;
    let operand_4 = links[operands + 3u].index;
    let operand_5 = links[operands + 4u].index;
    let operand_6 = links[operands + 5u].index;
    let operand_7 = links[operands + 6u].index;
    let operand_8 = links[operands + 7u].index;
    let operand_9 = links[operands + 8u].index;
    let operand_10 = links[operands + 9u].index;
    let operand_11 = links[operands + 10u].index;
    let operand_12 = links[operands + 11u].index;
    let operand_13 = links[operands + 12u].index;
    let operand_14 = links[operands + 13u].index;
    let operand_15 = links[operands + 14u].index;
    let destination_1 = links[destinations + 0u].index;
    let destination_2 = links[destinations + 1u].index;
    let destination_3 = links[destinations + 2u].index;
    let destination_4 = links[destinations + 3u].index;
    let destination_5 = links[destinations + 4u].index;
    let destination_6 = links[destinations + 5u].index;
    let destination_7 = links[destinations + 6u].index;
    let destination_8 = links[destinations + 7u].index;
    let destination_9 = links[destinations + 8u].index;
    let destination_10 = links[destinations + 9u].index;
    let destination_11 = links[destinations + 10u].index;
    let destination_12 = links[destinations + 11u].index;
    let destination_13 = links[destinations + 12u].index;
    let destination_14 = links[destinations + 13u].index;
    let destination_15 = links[destinations + 14u].index;
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
