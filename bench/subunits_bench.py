"""Match, arrange, mapcheck and subparticles: whole processes; and what a center costs."""

import os
import statistics

import h5py
import numpy as np
from interop_bench import Conversion, read_whole
from pipeline_bench import million
from processes import finish, peak_bytes, program
from rows import Bar, Row
from sources import table
from timing import interleaved, stopwatch

_FULL_SIDE = 256
_BLOBS = 40
_MB = 1e6

_FULL_PARTICLES = 1_000_000
_LABELS_AT_ONCE = 1 << 22


def subunit_rows(folder: str, particles: int, side: int, runs: int) -> list[Row]:
    """Seconds of match, arrange and mapcheck, and of an expansion with a center."""
    return [
        *_match_rows(folder, particles, runs),
        *_arrange_rows(folder, particles, runs),
        *_map_rows(folder, side, runs),
    ]


def _match_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Recovering the operators of an icosahedral expansion; recentring it."""
    source = table(folder, particles)
    plain = Conversion("expand", source, os.path.join(folder, "plain.h5"), "--symmetry=I")
    centered = Conversion(
        "expand", source, os.path.join(folder, "centered.h5"), "--symmetry=I", "--center=20,30,90"
    )
    deep = Conversion(
        "expand",
        table(folder, particles, components=3),
        os.path.join(folder, "deep.h5"),
        *("--symmetry=I", "--center=20,30,90"),
    )
    match = program("match", plain.output, "--quiet")
    taken = interleaved(
        {
            "plain": plain.seconds,
            "centered": centered.seconds,
            "deep": deep.seconds,
            "match": lambda: finish(match).seconds,
            "read": lambda: stopwatch(lambda: read_whole(plain.output)),
        },
        runs,
        watch=False,
        warm=True,
    )
    size = million(particles)
    per_byte = {each: [t / each.bytes for t in taken[name]] for name, each in
                (("centered", centered), ("deep", deep))}  # fmt: skip
    bar = Bar(1.3, "three components: <= 1.3 x the time of a byte")
    rows = [
        Row(
            f"{size} of subtomograms: expand --center, time of a byte",
            per_byte[deep],
            against="expand --center",
            peers=per_byte[centered],
            bar=bar,
        ),
        Row(f"{size}: expand --center", taken["centered"], against="expand", peers=taken["plain"]),
        Row(f"{size}: match", taken["match"], against="reading the bytes", peers=taken["read"]),
    ]
    plain.remove()
    centered.remove()
    deep.remove()
    return rows


def _arrange_rows(folder: str, particles: int, runs: int) -> list[Row]:
    """Arrangements of two labels on 60 sites, of which a third has the second label."""
    plain = Conversion(
        "expand", table(folder, particles), os.path.join(folder, "labeled.h5"), "--symmetry=I"
    )
    plain.seconds()
    random, order = np.random.default_rng(5), 60
    with h5py.File(plain.output, "r+") as file:
        labels = file.create_dataset("particles/class", (particles * order,), "u4")
        for start in range(0, len(labels), _LABELS_AT_ONCE):
            stop = min(start + _LABELS_AT_ONCE, len(labels))
            labels[start:stop] = 1 + (random.random(stop - start) < 1 / 3)
    command = program("arrange", plain.output, "--by=class", "--quiet")
    finish(command)
    seconds = [finish(command).seconds for _ in range(runs)]
    size, is_full = million(particles), particles >= _FULL_PARTICLES
    peak = peak_bytes(command) / _MB
    rows = [
        Row(
            f"{size}: arrange",
            seconds,
            bar=Bar(15, "60M rows: <= 15 s", applies=is_full),
            value=statistics.median(seconds),
        ),
        Row(
            f"{size}: arrange, peak memory",
            [peak],
            unit="MB",
            bar=Bar(400, "60M rows: <= 400 MB", applies=is_full),
            value=peak,
        ),
    ]
    plain.remove()
    return rows


def _map_rows(folder: str, side: int, runs: int) -> list[Row]:
    """Checking an icosahedral map against all orientations of the group."""
    path = os.path.join(folder, "map.mrc")
    _write_map(path, side)
    bar = Bar(20, f"{_FULL_SIDE}^3: <= 20 s", applies=side >= _FULL_SIDE)
    rows: list[Row] = []
    for name, flags in (("mapcheck", ()), ("mapcheck --bin=1", ("--bin=1",))):
        command = program("mapcheck", path, "--symmetry=I2", "--quiet", *flags)
        seconds = [finish(command).seconds for _ in range(runs)]
        what = f"{side}^3, I2: {name}"
        rows += [
            Row(what, seconds, bar=bar, value=statistics.median(seconds)),
            Row(f"{what}, peak memory", [peak_bytes(command) / _MB], unit="MB"),
        ]
    os.unlink(path)
    return rows


def _write_map(path: str, side: int) -> None:
    """Write a map of Gaussian blobs with the symmetry of I2."""
    import mrcfile  # an extra, which only this needs

    from numba_symexp import point_group

    rng = np.random.default_rng(4)
    subunit = rng.normal(size=(_BLOBS, 3))
    subunit *= (rng.uniform(0.5, 0.9, _BLOBS) / np.linalg.norm(subunit, axis=1))[:, None]
    centers = np.einsum("gij,bj->gbi", point_group("I2").matrix, subunit).reshape(-1, 3)
    grid = np.linspace(-1, 1, side, endpoint=False)
    profiles = np.exp(-(((grid - centers[:, :, None]) / 0.04) ** 2) / 2).astype(np.float32)
    density = np.einsum("bz,by,bx->zyx", profiles[:, 2], profiles[:, 1], profiles[:, 0],
                        optimize=True)  # fmt: skip
    with mrcfile.new(path, density) as file:
        file.voxel_size = 1.06
