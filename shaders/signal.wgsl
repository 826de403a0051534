// The one notify and the one wait. Both are only the atomic: what orders the data around them is said in stepped.wgsl
// and fused.wgsl, and argued in shaders/README.md.

@group(0) @binding(1) var<storage, read_write> signals: array<atomic<u32>>;

// Polls before a wait gives up for now. One where an earlier dispatch has already notified.
override POLLS: u32 = 1u;

fn notify(signal: u32) {
    atomicAdd(&signals[signal], 1u);
}

// Signals count on from launch to launch, and wrap. By sign: after a launch that stopped half-way a signal is short of
// where this one counts from, and must not look far beyond it.
fn wait(first_signal: u32, awaited: Wait, launches: u32) -> bool {
    let before = (launches - 1u) * awaited.each;
    for (var poll = 0u; poll < POLLS; poll++) {
        if (bitcast<i32>(atomicLoad(&signals[first_signal + awaited.signal]) - before) >= bitcast<i32>(awaited.at_least)) {
            return true;
        }
    }
    return false;
}
