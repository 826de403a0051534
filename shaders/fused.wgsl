// Fused dispatch: a workgroup is one (lane, channel) and runs its lane's instructions until a missing signal or the turn
// limit stops it, and then stores how far it got. The next dispatch goes on from there, so progress never depends on two
// workgroups running at the same time.
//
// Joined with payload/coherent.wgsl, program.wgsl, signal.wgsl, element/, op/, contribution/ and move.wgsl.

// Loop turns of one invocation in one dispatch. llvmpipe ends all loops, silently, after 65535.
override TURN_LIMIT: u32 = 60000u;

var<workgroup> resumed: Progress;
var<workgroup> unmet: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn execute(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let place = place_of(workgroup.x);
    if (invocation == 0u) {
        resumed = progress[place.own];
    }
    let start = workgroupUniformLoad(&resumed);
    var next = start.next;
    var turns = 0u;
    while (next < start.end) {
        let instruction = program[next];
        turns += instruction.turns;
        if (turns > TURN_LIMIT) {
            break;
        }
        if (!all_arrived(instruction, place.first_signal, invocation)) {
            break;
        }
        move_chunks(instruction, place.channel, invocation);
        // Release: all that the workgroup wrote comes before the notifies.
        storageBarrier();
        for (var i = instruction.end_wait + invocation; i < instruction.end_notify; i += WORKGROUP) {
            notify(place.first_signal + links[i].index);
        }
        next++;
    }
    if (invocation == 0u) {
        progress[place.own].next = next;
    }
}

// Whether all signals have come. Each is polled by one invocation; the verdict is the same for all of them.
fn all_arrived(instruction: Instruction, first_signal: u32, invocation: u32) -> bool {
    if (instruction.first_wait == instruction.end_wait) {
        return true;
    }
    for (var i = instruction.first_wait + invocation; i < instruction.end_wait; i += WORKGROUP) {
        if (!wait(first_signal + links[i].index, links[i].at_least)) {
            atomicStore(&unmet, 1u);
        }
    }
    let missing = workgroupUniformLoad(&unmet);
    // Acquire: by every invocation, because every one of them reads what the notifier wrote.
    storageBarrier();
    return missing == 0u;
}
