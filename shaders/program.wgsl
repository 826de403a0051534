// Instructions of all lanes, and what they link to. The host's side is src/lower/simple.rs; a test compares the two member by
// member.

// Wait, reduce operands from left to right (one is a copy), store the result at all destinations, notify.
struct Instruction {
    kind: u32,
    // Length of operands and destinations.
    chunks: u32,
    // First vectors of the first operand and the first destination.
    operand: u32,
    destination: u32,
    // Links, one range after the other: waits, notifies, further operands, further destinations.
    first_wait: u32,
    end_wait: u32,
    end_notify: u32,
    end_operand: u32,
    end_destination: u32,
    // Loop turns that it costs an invocation, at most.
    turns: u32,
    // Bit i: operand i is an input. Of operands beyond the bits their links say it.
    inputs: u32,
    // Most instructions have one of each, at most, and need not look them up in the links, where they stand too: the first
    // wait, the first signal to notify, the first vector of the second operand. Of one operand to several destinations, that is as
    // far from the operand as the second destination is from the first.
    awaited: Wait,
    notified: u32,
    second: u32,
}

// A signal, how many notifies of a launch to wait for, and how many a launch makes in all.
struct Wait {
    signal: u32,
    at_least: u32,
    each: u32,
}

// What a link is: a wait, a signal to notify, a chunk in memory, a chunk that is an input.
const WAIT: u32 = 1u;
const NOTIFY: u32 = 2u;
const MEMORY: u32 = 3u;
const INPUT: u32 = 4u;

struct Link {
    kind: u32,
    // The signal, or the first vector of the chunk.
    index: u32,
    // Of a wait.
    at_least: u32,
    each: u32,
}

// Behind the last instruction stands one that nobody runs, for who reads ahead.
@group(0) @binding(2) var<storage, read> program: array<Instruction>;
@group(0) @binding(3) var<storage, read> links: array<Link>;
