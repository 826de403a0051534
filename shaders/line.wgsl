// The one publish and the one receive: data that carries its own flag, as in NCCL's LL protocol. A word of a line is half a
// word of data and, above it, the launch that wrote it; whoever sees the flag has the data, so nothing has to be ordered.
// Argued in shaders/README.md.

@group(0) @binding(1) var<storage, read_write> lines: array<atomic<u32>>;

// Polls before a receive gives up until the next dispatch.
override POLLS: u32 = 1u;

struct Received {
    vector: vec4<u32>,
    arrived: bool,
}

// `word` is the first of a vector's eight; the others follow at distances of a chunk.
fn publish(word: u32, vector: vec4<u32>, flag: u32) {
    let high = vec4<u32>(flag << 16u);
    let first = (vector & vec4<u32>(0xffffu)) | high;
    let second = (vector >> vec4<u32>(16u)) | high;
    let next = params.chunk_stride;
    atomicStore(&lines[word], first.x);
    atomicStore(&lines[word + next], first.y);
    atomicStore(&lines[word + 2u * next], first.z);
    atomicStore(&lines[word + 3u * next], first.w);
    atomicStore(&lines[word + 4u * next], second.x);
    atomicStore(&lines[word + 5u * next], second.y);
    atomicStore(&lines[word + 6u * next], second.z);
    atomicStore(&lines[word + 7u * next], second.w);
}

fn receive(word: u32, flag: u32) -> Received {
    let next = params.chunk_stride;
    for (var poll = 0u; poll < POLLS; poll++) {
        let first = vec4<u32>(
            atomicLoad(&lines[word]),
            atomicLoad(&lines[word + next]),
            atomicLoad(&lines[word + 2u * next]),
            atomicLoad(&lines[word + 3u * next]),
        );
        let second = vec4<u32>(
            atomicLoad(&lines[word + 4u * next]),
            atomicLoad(&lines[word + 5u * next]),
            atomicLoad(&lines[word + 6u * next]),
            atomicLoad(&lines[word + 7u * next]),
        );
        // Nothing but the flag in any upper half.
        let other = ((first ^ vec4<u32>(flag << 16u)) | (second ^ vec4<u32>(flag << 16u))) >> vec4<u32>(16u);
        if (all(other == vec4<u32>())) {
            return Received((first & vec4<u32>(0xffffu)) | (second << vec4<u32>(16u)), true);
        }
    }
    return Received(vec4<u32>(), false);
}
