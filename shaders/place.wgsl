// What every interpreter is told beside its program: the numbers of a dispatch, which lanes and channel a workgroup hosts, and
// how far these got. The host's side is src/lower/words.rs; a test compares the two member by member.

// Invocations of a workgroup.
override WORKGROUP: u32 = 64u;

// Lanes of a workgroup, at most. Where there is one, what is for several is not compiled.
override HOSTED: u32 = 1u;

// One dispatch.
struct Params {
    // Its row of `starts`.
    row: u32,
    // Lanes that take part, and workgroups of a channel that share them out.
    first_lane: u32,
    lanes: u32,
    hosts: u32,
    // Lanes of the schedule.
    all_lanes: u32,
    // Vectors between two chunks, and how many of a chunk are in use.
    chunk_stride: u32,
    chunk_vectors: u32,
    // Vectors of a chunk that a channel takes.
    slice_vectors: u32,
    // Signals of a channel.
    channel_signals: u32,
    // What contributions are multiplied by, as elements lie in two words of a vector; and a zero that no compiler knows.
    scale_low: u32,
    scale_high: u32,
    zero: u32,
}

// How far a (lane, channel) got, in which launch: the device's own count of them, and the host's number.
struct Progress {
    next: u32,
    launches: u32,
    number: u32,
}

// What a dispatch begins: not 0 where it is the first of a launch for its lanes.
struct Launch {
    number: u32,
}

@group(0) @binding(4) var<storage, read_write> progress: array<Progress>;
@group(0) @binding(5) var<uniform> params: Params;
// Where every lane starts in every dispatch, lanes fastest; the next row is where it ends.
@group(0) @binding(6) var<storage, read> starts: array<u32>;
@group(0) @binding(7) var<uniform> launch: Launch;

// A lane and channel of a workgroup.
struct Place {
    channel: u32,
    lane: u32,
    // Index of its progress.
    own: u32,
    // Its channel's first signal.
    first_signal: u32,
    // Whether there is such a lane: some workgroups host one less than others.
    exists: bool,
}

// Host h of a channel has lanes h, h + hosts, h + 2 hosts and so on.
fn place_of(workgroup: u32, hosted: u32) -> Place {
    let channel = workgroup / params.hosts;
    let number = workgroup % params.hosts + hosted * params.hosts;
    let lane = params.first_lane + number;
    let exists = HOSTED == 1u || number < params.lanes;
    return Place(channel, lane, channel * params.all_lanes + lane, channel * params.channel_signals, exists);
}

// A lane's progress when this dispatch starts: where it stopped or, if this `may_begin`, at its beginning.
fn resume(own: u32, start: u32, may_begin: bool) -> Progress {
    var lane = progress[own];
    if (may_begin && launch.number != 0u) {
        lane = Progress(start, lane.launches + 1u, launch.number);
    }
    return lane;
}

// What became of a lane in a sweep over the lanes of a workgroup.
struct Outcome {
    moved: bool,
    // Nothing is left to do in this dispatch.
    through: bool,
    // Loop turns that it took.
    turns: u32,
}
