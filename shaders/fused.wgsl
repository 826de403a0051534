// Fused dispatch: a workgroup hosts one or more (lane, channel) pairs and runs a lane's instructions until a missing signal or
// the turn limit stops it, stores how far it got, and goes on with its next lane. It never blocks on one of them. Once no lane
// gets further it leaves, and the next dispatch goes on from there, so progress never depends on two workgroups running at the
// same time.
//
// Also per-rank and per-step dispatch where barriers cost next to nothing, on hardware: waits and notifies are spread over
// the workgroup. The plan's rows then say which instructions a dispatch runs, and its barriers are not relied on.
//
// Joined with payload/coherent.wgsl, for these with payload/plain.wgsl; with ticket/none.wgsl, for a launch that is traced with
// ticket/drawn.wgsl; and with place.wgsl, program.wgsl, signal.wgsl, element/, op/, contribution/ and move.wgsl.

// Loop turns of one invocation for a lane in a sweep. llvmpipe ends all loops of a dispatch, silently, after 65535.
override TURN_LIMIT: u32 = 60000u;

// Sweeps over the lanes of a workgroup, and sweeps without progress, one after the other, before it leaves.
override PASSES: u32 = 1u;
override IDLE: u32 = 1u;

var<workgroup> resumed: Progress;
var<workgroup> unmet: atomic<u32>;

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
                // A launch begins once.
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
}

fn run(place: Place, may_begin: bool, invocation: u32) -> Outcome {
    let at = params.row * params.all_lanes + place.lane;
    let start = starts[at];
    if (invocation == 0u) {
        resumed = resume(place.own, start, may_begin);
        if (HOSTED > 1u) {
            // What the lane before has missed.
            atomicStore(&unmet, 0u);
        }
    }
    let lane = workgroupUniformLoad(&resumed);
    // A lane that missed a signal in an earlier row stays there: its peers may be running what would bring it now.
    let end = select(0u, starts[at + params.all_lanes], lane.next >= start);
    var turns = 0u;
    var next = lane.next;
    var instruction = program[next];
    for (; next < end; next++) {
        turns += instruction.turns;
        if (turns > TURN_LIMIT) {
            break;
        }
        if (!all_arrived(instruction, place.first_signal, lane.launches, invocation)) {
            break;
        }
        ticket(place.channel, next, 0u, invocation);
        move_chunks(instruction, place.channel, invocation);
        // Read ahead, so that its way from memory and the barrier's wait are one.
        let following = program[next + 1u];
        ticket(place.channel, next, 1u, invocation);
        // Release: all that the workgroup wrote comes before the notifies.
        storageBarrier();
        for (var i = instruction.end_wait + invocation; i < instruction.end_notify; i += WORKGROUP) {
            var signal = instruction.notified;
            if (i > instruction.end_wait) {
                signal = links[i].index;
            }
            notify(place.first_signal + signal);
        }
        instruction = following;
    }
    if (invocation == 0u) {
        progress[place.own] = Progress(next, lane.launches, lane.number);
    }
    return Outcome(next > lane.next, next >= end, turns);
}

// Whether all signals have come. Each is polled by one invocation; the verdict is the same for all of them.
fn all_arrived(instruction: Instruction, first_signal: u32, launches: u32, invocation: u32) -> bool {
    if (instruction.first_wait == instruction.end_wait) {
        return true;
    }
    for (var i = instruction.first_wait + invocation; i < instruction.end_wait; i += WORKGROUP) {
        var awaited = instruction.awaited;
        if (i > instruction.first_wait) {
            let link = links[i];
            awaited = Wait(link.index, link.at_least, link.each);
        }
        if (!wait(first_signal, awaited, launches)) {
            atomicStore(&unmet, 1u);
        }
    }
    let missing = workgroupUniformLoad(&unmet);
    // Acquire: by every invocation, because every one of them reads what the notifier wrote.
    storageBarrier();
    return missing == 0u;
}
