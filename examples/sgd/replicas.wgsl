// One network for every replica: 2 inputs, HIDDEN tanh units, one logit. A workgroup is a replica, an invocation a parameter.

const HIDDEN: u32 = 16u;
// Weights of the hidden units (2 each), their biases, the output's weights, its bias.
const PARAMETERS: u32 = 4u * HIDDEN + 1u;
// A gradient for every parameter, then the loss.
const GRADIENTS: u32 = PARAMETERS + 1u;

// Samples of each replica.
override SHARD: u32 = 1u;
override RATE: f32 = 0.5;

// Two coordinates and a label.
@group(0) @binding(0) var<storage, read> samples: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradients: array<f32>;

fn hidden(first: u32, unit: u32, sample: vec4<f32>) -> f32 {
    let weights = first + 2u * unit;
    let bias = parameters[first + 2u * HIDDEN + unit];
    return tanh(parameters[weights] * sample.x + parameters[weights + 1u] * sample.y + bias);
}

// The mean over the replica's samples of what the loss changes by when parameter `i` does; of i = PARAMETERS, the loss.
@compute @workgroup_size(GRADIENTS)
fn backward(@builtin(workgroup_id) replica: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let first = replica.x * PARAMETERS;
    let output = first + 3u * HIDDEN;
    var mean = 0.0;
    for (var s = replica.x * SHARD; s < (replica.x + 1u) * SHARD; s++) {
        let sample = samples[s];
        var logit = parameters[output + HIDDEN];
        for (var unit = 0u; unit < HIDDEN; unit++) {
            logit += parameters[output + unit] * hidden(first, unit, sample);
        }
        let by_logit = 1.0 / (1.0 + exp(-logit)) - sample.z;
        var term = by_logit;
        if (i < 3u * HIDDEN) {
            let is_weight = i < 2u * HIDDEN;
            let unit = select(i - 2u * HIDDEN, i / 2u, is_weight);
            let h = hidden(first, unit, sample);
            term *= parameters[output + unit] * (1.0 - h * h);
            if (is_weight) {
                term *= select(sample.x, sample.y, i % 2u == 1u);
            }
        } else if (i < 4u * HIDDEN) {
            term *= hidden(first, i - 3u * HIDDEN, sample);
        } else if (i == PARAMETERS) {
            // log(1 + exp(-|logit|)), and the rest of the cross-entropy.
            term = log(1.0 + exp(-abs(logit))) + max(logit, 0.0) - logit * sample.z;
        }
        mean += term / f32(SHARD);
    }
    gradients[replica.x * GRADIENTS + i] = mean;
}

@compute @workgroup_size(PARAMETERS)
fn update(@builtin(workgroup_id) replica: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    parameters[replica.x * PARAMETERS + i] -= RATE * gradients[replica.x * GRADIENTS + i];
}
