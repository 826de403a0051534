"""Makes rank0.npy ... rank3.npy: the gradients that four data-parallel workers compute in one training step.

    pip install scikit-learn numpy && python make.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

RANKS, BATCH, HIDDEN, SEED = 4, 256, 32, 2026


def initial_weights(random, inputs, outputs):
    bound = np.sqrt(6 / (inputs + outputs))
    return random.uniform(-bound, bound, (inputs, outputs)), np.zeros(outputs)


def gradient(parameters, images, labels):
    """Gradient of the mean cross-entropy of tanh(images @ w1 + b1) @ w2 + b2, as one flat vector."""
    w1, b1, w2, b2 = parameters
    hidden = np.tanh(images @ w1 + b1)
    logits = hidden @ w2 + b2
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    error = (probabilities - np.eye(10)[labels]) / len(labels)
    hidden_error = (error @ w2.T) * (1 - hidden**2)
    parts = images.T @ hidden_error, hidden_error.sum(axis=0), hidden.T @ error, error.sum(axis=0)
    return np.concatenate([part.ravel() for part in parts])


def main():
    # RandomState, because numpy promises that its stream never changes.
    random = np.random.RandomState(SEED)
    images, labels = load_digits(return_X_y=True)
    batch = random.permutation(len(images))[:BATCH]
    images, labels = images[batch] / 8 - 1, labels[batch]
    parameters = *initial_weights(random, 64, HIDDEN), *initial_weights(random, HIDDEN, 10)

    # In float64 and rounded once, so that the files do not depend on the BLAS of the machine.
    ranks = [
        gradient(parameters, shard, truth).astype("<f4")
        for shard, truth in zip(np.split(images, RANKS), np.split(labels, RANKS))
    ]
    for rank, values in enumerate(ranks):
        np.save(Path(__file__).with_name(f"rank{rank}.npy"), values)

    whole = gradient(parameters, images, labels)
    mean = np.sum(ranks, axis=0, dtype=np.float32) / np.float32(RANKS)
    worst = np.abs(mean - whole).max()
    # Rounding the inputs and the three additions costs the mean at most 2 eps of the largest value.
    allowed = 2 * np.finfo(np.float32).eps * np.abs(ranks).max()
    print(f"{RANKS} ranks of {whole.size} float32, largest |value| {np.abs(ranks).max():.4g}")
    print(f"mean over ranks against the gradient of the whole batch: off by at most {worst:.2g} (allowed {allowed:.2g})")
    assert worst <= allowed


main()
