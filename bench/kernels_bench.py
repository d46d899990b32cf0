"""The kernels alone: arrays in, arrays filled, in chunks that stay in the cache."""

from typing import NamedTuple

import numba
import numpy as np
from inside import POSE_FORMATS, Expander, jit
from rows import Bar, Row
from textbook import expand_textbook, store_rows
from timing import interleaved, repeated

from numba_symexp import Operators, helix, point_group

_CHUNK_ROWS = 61_440
_FAR_BYTES = 128 << 20
_SEED = 7

Array = np.ndarray


class Chunk(NamedTuple):
    """Arrays of one chunk, and the operators."""

    operators: Operators
    expander: Expander
    pose: Array
    shift: Array
    psize: Array
    pose_out: Array
    shift_out: Array

    @property
    def rows(self) -> int:
        """Rows that the chunk becomes."""
        return len(self.pose_out)

    def expand(self) -> None:
        """Fill the outputs with the package's kernels."""
        self.expander.fill(self.pose, self.shift, self.psize, self.pose_out, self.shift_out)

    def expand_textbook(self) -> None:
        """Fill the outputs with the textbook's kernel."""
        expand_textbook(
            self.pose.reshape(-1),
            self.shift.reshape(-1),
            self.psize,
            np.ascontiguousarray(self.operators.quaternion.T),
            np.ascontiguousarray(self.operators.translation_A.T),
            self.operators.moves,
            self.pose_out.reshape(-1),
            self.shift_out.reshape(-1),
        )

    def store(self) -> None:
        """Fill the outputs, in the kernels' order, with numbers that need no arithmetic."""
        store_rows(
            self.shift.reshape(-1),
            len(self.operators),
            self.pose_out.reshape(-1),
            self.shift_out.reshape(-1),
        )

    def memset(self) -> None:
        """Fill the outputs from end to end."""
        self.pose_out.fill(1.0)
        self.shift_out.fill(1.0)


def kernel_rows(runs: int) -> list[Row]:
    """Rows of the kernels on one thread, and of their scaling with threads."""
    before = numba.get_num_threads()
    jit.Kernel.seconds_left = 0.0  # those of long runs, which Numba runs
    try:
        numba.set_num_threads(1)
        rows = _icosahedral_rows(runs) + _symmetry_rows(runs)
        return rows + _thread_rows(runs)
    finally:
        numba.set_num_threads(before)


def _icosahedral_rows(runs: int) -> list[Row]:
    """I, 60 operators, against the textbook, the stores and the memory."""
    chunk = _chunk(point_group("I"), np.float32)
    _compare(chunk)
    far = np.zeros(_FAR_BYTES // 4, np.float32)
    taken = interleaved(
        {
            "kernel": repeated(chunk.expand),
            "textbook": repeated(chunk.expand_textbook),
            "stores": repeated(chunk.store),
            "memset": repeated(chunk.memset),
            "memory": repeated(lambda: far.fill(1.0)),
        },
        runs,
    )
    per_row = {name: [t / chunk.rows for t in times] for name, times in taken.items()}
    row_bytes = chunk.pose_out[0].nbytes + chunk.shift_out[0].nbytes
    far_rows = far.nbytes / row_bytes
    what = "I, float32: ns a row"
    return [
        Row(
            what,
            per_row["kernel"],
            against="the same with atan2",
            peers=per_row["textbook"],
            faster=True,
            bar=Bar(7, ">= 7 x (aim 10 x)", at_least=True),
        ),
        Row(
            what,
            per_row["kernel"],
            against="bare stores of the rows",
            peers=per_row["stores"],
            bar=Bar(5, "<= 5 x"),
        ),
        Row(what, per_row["kernel"], against="memset in cache", peers=per_row["memset"]),
        Row(
            what,
            per_row["kernel"],
            against="memset beyond the caches",
            peers=[t / far_rows for t in taken["memory"]],
        ),
    ]


def _symmetry_rows(runs: int) -> list[Row]:
    """Other symmetries and float64, against I in float32."""
    few, four = Bar(3, "<= 3 x"), Bar(5, "<= 5 x (aim 3 x)")
    cases: dict[str, tuple[Operators, type, Bar | None]] = {
        "O": (point_group("O"), np.float32, few),
        "D7": (point_group("D7"), np.float32, few),
        "helix of 12": (helix(twist=-166.7, rise=27.3, order=12), np.float32, few),
        "C4": (point_group("C4"), np.float32, four),
        "I, float64": (point_group("I"), np.float64, None),
        "helix of 12, float64": (helix(twist=-166.7, rise=27.3, order=12), np.float64, None),
    }
    chunks = {name: _chunk(ops, dtype) for name, (ops, dtype, _) in cases.items()}
    reference = _chunk(point_group("I"), np.float32)
    taken = interleaved(
        {name: repeated(chunk.expand) for name, chunk in {"I": reference, **chunks}.items()}, runs
    )
    peers = [t / reference.rows for t in taken["I"]]
    return [
        Row(
            f"{name}: ns a row",
            [t / chunks[name].rows for t in taken[name]],
            against="I, float32",
            peers=peers,
            bar=bar,
        )
        for name, (_, _, bar) in cases.items()
    ]


def _thread_rows(runs: int) -> list[Row]:
    """I in float32 on 1, 2, 4 ... threads."""
    chunk = _chunk(point_group("I"), np.float32)
    most = int(numba.config.NUMBA_NUM_THREADS)
    threads = sorted({2**k for k in range(most.bit_length())} | {most})

    def on(number: int) -> None:
        numba.set_num_threads(number)
        chunk.expand()

    taken = interleaved(
        {str(number): repeated(lambda number=number: on(number)) for number in threads}, runs
    )
    return [
        Row(
            f"I, float32, {number} threads: ns a row",
            [t / chunk.rows for t in taken[str(number)]],
            against="1 thread",
            peers=[t / chunk.rows for t in taken["1"]],
            faster=True,
        )
        for number in threads[1:]
    ]


def _chunk(operators: Operators, dtype: type) -> Chunk:
    """Random poses and shifts, and room for their mates."""
    random = np.random.default_rng(_SEED)
    count = _CHUNK_ROWS // len(operators)
    rows = count * len(operators)
    return Chunk(
        operators,
        Expander(operators, POSE_FORMATS["rotvec"]),
        random.normal(size=(count, 3)).astype(dtype),
        random.normal(size=(count, 2)).astype(dtype),
        np.full(count, 1.06),
        np.zeros((rows, 3), dtype),
        np.zeros((rows, 2), dtype),
    )


def _compare(chunk: Chunk) -> None:
    """Make sure that the two kernels compute the same thing before they are timed."""
    chunk.expand_textbook()
    expected = chunk.pose_out.copy()
    chunk.expand()
    # v and -v are the same half turn, and the identity keeps vectors that are longer than pi.
    longest = np.maximum(*(np.linalg.norm(pose, axis=1) for pose in (expected, chunk.pose_out)))
    sure = longest < np.pi - 1e-3
    error = float(np.abs(expected - chunk.pose_out)[sure].max())
    if not error < 1e-5 or sure.mean() < 0.9:
        raise RuntimeError(f"the textbook kernel and the package differ by {error}")
