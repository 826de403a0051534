// The one notify and the one wait. Both are only the atomic: what orders the data around them is said in stepped.wgsl
// and fused.wgsl, and argued in shaders/README.md.

@group(0) @binding(1) var<storage, read_write> signals: array<atomic<u32>>;

// Polls before a wait gives up until the next dispatch. One where an earlier dispatch has already notified.
override POLLS: u32 = 1u;

fn notify(signal: u32) {
    atomicAdd(&signals[signal], 1u);
}

fn wait(signal: u32, at_least: u32) -> bool {
    for (var poll = 0u; poll < POLLS; poll++) {
        if (atomicLoad(&signals[signal]) >= at_least) {
            return true;
        }
    }
    return false;
}
