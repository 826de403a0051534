// For a launch that is traced: the order in which instructions run, as numbers that their workgroups draw from one counter.
// The host's side is src/lower/timeline.rs.

struct Tickets {
    drawn: atomic<u32>,
    // Of a channel.
    instructions: u32,
    // Of every channel and instruction two, when its waits were over and before it notifies.
    numbers: array<u32>,
}

@group(0) @binding(8) var<storage, read_write> tickets: Tickets;

// The first invocation draws. What its workgroup has waited for was notified after the notifier had drawn, and a barrier stands
// on either side: so numbers grow along every notify and wait.
fn ticket(channel: u32, instruction: u32, which: u32, invocation: u32) {
    if (invocation == 0u) {
        tickets.numbers[2u * (channel * tickets.instructions + instruction) + which] = atomicAdd(&tickets.drawn, 1u);
    }
}
