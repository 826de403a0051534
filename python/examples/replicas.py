"""Four replicas of a small model train in one process, and average their gradients by a proved schedule.

Every replica sees a quarter of the data. After every step all of them hold the same parameters, in every bit, because all ranks of
the schedule add in the same order; and the averages are what the schedule's golden says they must be.

    python replicas.py [ALGORITHM]
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

import wgccl

REPLICAS, FEATURES, HIDDEN, ROWS, STEPS, RATE = 4, 8, 16, 256, 200, 0.1

Vector = npt.NDArray[np.float32]


class Model:
    """A net with one hidden layer. Its parameters, and their gradients, are one vector each, as frameworks bucket them."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.parameters = (0.3 * random.standard_normal(FEATURES * HIDDEN + HIDDEN)).astype(np.float32)
        self.gradient = np.zeros_like(self.parameters)

    def loss(self, x: Vector, y: Vector) -> float:
        """The mean squared error; its gradient is kept."""
        first, second = np.split(self.parameters, [FEATURES * HIDDEN])
        first = first.reshape(FEATURES, HIDDEN)
        hidden = np.tanh(x @ first)
        error = hidden @ second - y
        back = np.outer(2 / len(y) * error, second) * (1 - hidden**2)
        self.gradient[: first.size] = (x.T @ back).ravel()
        self.gradient[first.size :] = hidden.T @ (2 / len(y) * error)
        return float(np.mean(error**2))


def data(replica: int) -> tuple[Vector, Vector]:
    """What this replica sees: a function of eight numbers that it has to learn."""
    random = np.random.default_rng(100 + replica)
    x = random.standard_normal((ROWS, FEATURES)).astype(np.float32)
    return x, np.sin(x[:, 0]) + 0.5 * x[:, 1] * (x[:, 2] > 0)


def main(algorithm: str = "ring") -> None:
    replicas = [Model(seed=0) for _ in range(REPLICAS)]
    shards = [data(replica) for replica in range(REPLICAS)]
    schedule = wgccl.build(algorithm, ranks=REPLICAS)
    schedule.prove()

    first = last = 0.0
    for step in range(STEPS):
        losses = [model.loss(x, y) for model, (x, y) in zip(replicas, shards)]
        gradients = [model.gradient for model in replicas]
        expected = schedule.golden(gradients, "avg")
        # In place: every replica's gradient becomes the average of all.
        schedule.run(gradients, "avg", out=gradients)
        for model, golden in zip(replicas, expected):
            assert model.gradient.tobytes() == golden.tobytes()
            model.parameters -= RATE * model.gradient
        assert len({model.parameters.tobytes() for model in replicas}) == 1
        first, last = (sum(losses) / REPLICAS if step == 0 else first), sum(losses) / REPLICAS
        if step % 50 == 0:
            print(f"step {step:>3}: loss {last:.4f}")
    assert last < first / 2
    print(f"after {STEPS} steps: loss {last:.4f}; {REPLICAS} replicas agree in every bit, by {algorithm}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
