// Per-rank and per-step dispatch on cores: a workgroup takes its (lane, channel) pairs in turn and runs the instructions that
// the plan gives to this dispatch. What an instruction waits for was notified by an earlier dispatch, and the command stream's
// barrier between the two has made its data visible. So there is no barrier here, and the wait is an assertion.
//
// Joined with payload/plain.wgsl, place.wgsl, program.wgsl, signal.wgsl, element/, op/, contribution/ and move.wgsl.

// Whether anything waits or notifies.
override SIGNALS: bool = true;

@compute @workgroup_size(WORKGROUP)
fn execute(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    // A loop of one turn is a loop to SwiftShader, and costs a small launch a fifth of its time.
    if (HOSTED == 1u) {
        run(place_of(workgroup.x, 0u), invocation);
    } else {
        for (var hosted = 0u; hosted < HOSTED; hosted++) {
            let place = place_of(workgroup.x, hosted);
            if (place.exists) {
                run(place, invocation);
            }
        }
    }
}

fn run(place: Place, invocation: u32) {
    let at = params.row * params.all_lanes + place.lane;
    let start = starts[at];
    let end = starts[at + params.all_lanes];
    // The first invocation alone waits, notifies and stores how far the lane got. If a signal is missing the others go
    // on for nothing: the lane's progress stays where it is, and no result is given out.
    let leads = invocation == 0u;
    var lane: Progress;
    if (leads) {
        lane = resume(place.own, start, true);
    }
    var arrived = leads && lane.next == start;
    for (var i = start; i < end; i++) {
        let instruction = program[i];
        if (SIGNALS && arrived) {
            arrived = all_arrived(instruction, place.first_signal, lane.launches);
        }
        move_chunks(instruction, place.channel, invocation);
        if (arrived) {
            if (SIGNALS) {
                for (var j = instruction.end_wait; j < instruction.end_notify; j++) {
                    notify(place.first_signal + links[j].index);
                }
            }
            lane.next = i + 1u;
        }
    }
    if (leads) {
        progress[place.own] = lane;
    }
}

fn all_arrived(instruction: Instruction, first_signal: u32, launches: u32) -> bool {
    var arrived = true;
    for (var i = instruction.first_wait; i < instruction.end_wait; i++) {
        let link = links[i];
        arrived = arrived && wait(first_signal, Wait(link.index, link.at_least, link.each), launches);
    }
    return arrived;
}
