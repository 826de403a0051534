"""What holds in a process: signals, threads, forks, memory, other packages."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from conftest import Array, inputs, uneven

import wgccl


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300, check=False
    )


def test_import_needs_neither_numpy_nor_pandas() -> None:
    done = python("import sys, wgccl; print(sorted({'numpy', 'pandas', 'torch'} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_are_listed_and_unknown_ones_refused() -> None:
    assert set(wgccl.__all__) <= set(dir(wgccl))
    for name in wgccl.__all__:
        assert getattr(wgccl, name) is not None
    with pytest.raises(AttributeError, match="module 'wgccl' has no attribute 'all_reduces'"):
        getattr(wgccl, "all_reduces")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_forked_off_has_threads_of_its_own() -> None:
    comm = wgccl.Communicator(4, workers=2)
    x = [np.ones(1 << 20, np.float32) for _ in range(4)]
    comm.all_reduce(x)
    wgccl.all_reduce(x)
    pid = os.fork()
    if pid == 0:
        right = all((of == 4).all() for of in comm.all_reduce(x) + wgccl.all_reduce(x))
        os._exit(0 if right else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize(
    "work",
    [
        "wgccl.build('ring-staged', 240, sync='barrier').check()",
        "wgccl.verify(x, x, 'ring')",
        "wgccl.bench(sizes=['64M'] * 1000, ranks=8)",
        "[wgccl.all_reduce(x, out=y) for _ in range(10_000)]",
    ],
)
def test_ctrl_c_ends_long_calls(work: str) -> None:
    done = python(
        f"""
        import os, signal, threading, time
        import numpy as np
        import wgccl
        # Where the tests run in the background, signals are ignored from the beginning.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        x = [np.ones(1 << 24, np.float32) for _ in range(8)]
        y = [np.empty_like(a) for a in x]
        began = threading.Event()
        threading.Thread(target=lambda: (began.wait(), time.sleep(0.05), os.kill(os.getpid(), signal.SIGINT))).start()
        try:
            began.set()
            {work}
            print("went on to its end")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
        """
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_other_threads_run_during_a_call() -> None:
    x = [np.ones(1 << 22, np.float32) for _ in range(4)]
    done, turns = threading.Event(), 0

    def work() -> None:
        for _ in range(10):
            wgccl.all_reduce(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        turns += 1
        done.wait(0.0005)
    thread.join()
    # A call that kept the interpreter's lock would let this thread run between calls only.
    assert turns > 20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc here")
def test_memory_is_flat() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    x, s = uneven(4, 256), wgccl.build("ring")
    comm, out = wgccl.Communicator(4), [np.empty(256, np.float32) for _ in range(4)]

    def turns(number: int) -> None:
        for _ in range(number):
            wgccl.all_reduce(x)
            comm.all_reduce(x, out=out)
            s.run(x)
            s.check()
            with pytest.raises(wgccl.InputError):
                wgccl.all_reduce(x, "nothing")

    turns(500)
    before = resident()
    turns(5_000)
    assert resident() - before < 4 << 20


def test_tensors_of_others_come_by_dlpack() -> None:
    class Tensor:
        """As any package has them: nothing but DLPack."""

        def __init__(self, array: Array, device: tuple[int, int] = (1, 0)) -> None:
            self.array, self.device = array, device

        def __dlpack__(self, **asked: object) -> object:
            return self.array.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.device

    x = inputs(3, 5)
    got = wgccl.all_reduce([Tensor(a) for a in x])
    np.testing.assert_array_equal(got[0], np.sum(x, axis=0))
    with pytest.raises(wgccl.InputError, match="the elements lie in a device's memory"):
        wgccl.all_reduce([Tensor(a, (2, 0)) for a in x])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="there is no jax here")
def test_arrays_of_jax() -> None:
    import jax.numpy as jnp

    for dtype in (jnp.float32, jnp.bfloat16, jnp.int32):
        x = [jnp.arange(6).astype(dtype) * (rank + 1) for rank in range(3)]
        np.testing.assert_array_equal(wgccl.all_reduce(x)[0], np.asarray(x[0] * 6))
    with pytest.raises(wgccl.InputError, match=r"out\[0\] is read-only"):
        wgccl.all_reduce(x, out=x)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="there is no torch here")
def test_tensors_of_torch() -> None:
    import torch

    types = "float16 float32 float64 bfloat16 float8_e4m3fn float8_e5m2 int8 int32 int64 uint8 uint32 uint64"
    for dtype in (getattr(torch, name) for name in types.split()):
        x = [torch.arange(0, 3 * rank + 3, rank + 1).to(dtype) for rank in range(3)]
        out = [torch.ones(3).to(dtype) for _ in x]
        wgccl.all_reduce(x, out=out)
        for got in out:
            assert got.double().tolist() == [0, 6, 12], dtype
        for result in wgccl.all_reduce(x):
            assert result.astype(np.float64).tolist() == [0, 6, 12], dtype
        wgccl.all_reduce(x, "max", out=x)
        assert [of.double().tolist() for of in x] == [[0, 3, 6]] * 3
    # What lies apart is copied on the way in; what autograd watches is read; results become tensors without a copy.
    strided = torch.arange(12.0).reshape(4, 3).T
    watched = torch.ones(3, 4, requires_grad=True)
    (first, _) = wgccl.all_reduce([strided, watched])
    assert torch.from_numpy(first).equal(strided + 1)


def test_devices_end_with_the_processor() -> None:
    devices = wgccl.devices()
    assert (devices[-1].index, devices[-1].type, repr(devices[-1])) == (None, "cpu", "<Device 'cpu': CPU executor>")
    assert [of.index for of in devices[:-1]] == list(range(len(devices) - 1))


def gpus() -> list[int]:
    return [of.index for of in wgccl.devices() if of.index is not None]


@pytest.mark.skipif(not gpus() and os.environ.get("WGCCL_REQUIRE_GPU") != "1", reason="there is no GPU driver here")
def test_gpus_give_the_bits_of_the_processor() -> None:
    x, s = uneven(4, (33, 7)), wgccl.build("ring")
    assert gpus()
    for device in gpus():
        np.testing.assert_array_equal(s.run(x, device=device), s.run(x))
        assert wgccl.verify(x, wgccl.all_reduce(x, device=device, algorithm="tree"), "tree")
        comm = wgccl.Communicator(4, device)
        same = [a.copy() for a in x]
        comm.all_reduce(same, "max", out=same)
        np.testing.assert_array_equal(same, [np.max(x, axis=0)] * 4)
        comm.barrier()
        (row,) = wgccl.bench(sizes="64K", device=device, iterations=3, warmup=1)
        assert row["wrong"] == 0 and row["min_us"] > 0 and row["device"] != "cpu"
    np.testing.assert_array_equal(wgccl.all_reduce(x, device="gpu", algorithm="ring"), s.run(x))
    with pytest.raises(wgccl.InputError, match="the GPU executor has no workers"):
        wgccl.Communicator(4, gpus()[0], workers=2).all_reduce(x)
