"""Particle tables by grammar: what .star and .cs files look like, and what they should not.

A grammar makes the bytes of a file from random numbers. How many of its choices are illegal is one
of these numbers, and is 0 for some files: what a legal .star file says is known, so that it can be
compared with what comes out.
"""

import io

import numpy as np

# .star

NUMBERS = ("{:12.6f}", "{:.3f}", "{:e}", "{:.9g}", "{:+.2f}", "{:.1f}", "{:.0f}", "{:025.6f}")
BLANKS = (" ", "  ", "\t", " \t ", "          ")
ODD_WORDS = (
    "nan", "inf", "-", "''", '""', "1_0", "0x1", "1e999", "-0", "+1", "1,5", "<NA>", "None", "#",
    "'", '"', ";", "data_x", "loop_", "_x", "٣", "\x00", "\x1b[2J", "x" * 5000, "9" * 400, "1d3",
    "stop_", "save_", "global_", "?", ".", "$a", "[1,2", "true", "1e-400", "\ufeff", "é", "\x0c",
)  # fmt: skip

PARTICLE_LABELS = {
    "rlnCoordinateX": lambda rng, k: number(rng, 0, 4000),
    "rlnCoordinateY": lambda rng, k: number(rng, 0, 4000),
    "rlnCoordinateZ": lambda rng, k: number(rng, 0, 900),
    "rlnMicrographName": lambda rng, k: f"MotionCorr/job002/m_{k // 3}.mrc",
    "rlnOriginXAngst": lambda rng, k: number(rng, -9, 9),
    "rlnOriginYAngst": lambda rng, k: number(rng, -9, 9),
    "rlnOriginZAngst": lambda rng, k: number(rng, -9, 9),
    "rlnOriginX": lambda rng, k: number(rng, -9, 9),
    "rlnOriginY": lambda rng, k: number(rng, -9, 9),
    "rlnDefocusU": lambda rng, k: number(rng, 5000, 30000),
    "rlnDefocusV": lambda rng, k: number(rng, 5000, 30000),
    "rlnDefocusAngle": lambda rng, k: number(rng, -180, 180),
    "rlnPhaseShift": lambda rng, k: number(rng, 0, 180),
    "rlnClassNumber": lambda rng, k: str(rng.integers(1, 4)),
    "rlnRandomSubset": lambda rng, k: str(1 + k % 2),
    "rlnGroupNumber": lambda rng, k: str(1 + k // 3),
    "rlnAngleTiltPrior": lambda rng, k: number(rng, 0, 180),
    "rlnAnglePsiPrior": lambda rng, k: number(rng, -180, 180),
    "rlnAngleRotPrior": lambda rng, k: number(rng, -180, 180),
    "rlnHelicalTubeID": lambda rng, k: str(1 + k // 3),
    "rlnHelicalTrackLengthAngst": lambda rng, k: number(rng, 0, 3000),
    "rlnMagnification": lambda rng, k: "10000",
    "rlnDetectorPixelSize": lambda rng, k: "1.2",
    "rlnPixelSize": lambda rng, k: "1.2",
    "rlnCtfScalefactor": lambda rng, k: number(rng, 0, 1),
    "rlnCtfBfactor": lambda rng, k: number(rng, 0, 90),
    "rlnOriginalImageName": lambda rng, k: f"{k + 1}@o.mrcs",
    "rlnImageOriginalName": lambda rng, k: f"{k + 1}@o.mrcs",
    "rlnTomoName": lambda rng, k: f"TS_{k // 4}",
    "rlnTomoParticleName": lambda rng, k: f"TS_{k // 4}/{k}",
    "rlnGroupName": lambda rng, k: f"group {k}",
    "wrpScore": lambda rng, k: number(rng, 0, 1),
    "rlnNrOfSignificantSamples": lambda rng, k: str(rng.integers(1, 90)),
}
"""Labels beside the angles and the image, and a word for row k of each."""

OPTICS_LABELS = {
    "rlnImagePixelSize": lambda rng, k: "1.2",
    "rlnOpticsGroupName": lambda rng, k: f"opticsGroup{k + 1}",
    "rlnVoltage": lambda rng, k: "300",
    "rlnSphericalAberration": lambda rng, k: "2.7",
    "rlnAmplitudeContrast": lambda rng, k: "0.1",
    "rlnMicrographOriginalPixelSize": lambda rng, k: "0.6",
    "rlnImageSize": lambda rng, k: "128",
    "rlnImageDimensionality": lambda rng, k: "2",
    "rlnCtfDataAreCtfPremultiplied": lambda rng, k: "0",
    "rlnMtfFileName": lambda rng, k: "mtf k3.star",
    "rlnBeamTiltX": lambda rng, k: number(rng, -1, 1),
    "rlnOddZernike": lambda rng, k: "[0.1,0,0,-0.2,0,0]",
    "rlnMagMat00": lambda rng, k: "1.001",
}


def number(rng, low, high):
    """A number as some program prints it."""
    return pick(rng, NUMBERS).format(rng.uniform(low, high)).strip()


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


class Star:
    """The text of one .star file; ``block`` and its ``columns`` are told where all is ``legal``."""

    def __init__(self, rng):
        self.rng = rng
        self.odd = pick(rng, (0.0, 0.0, 0.003, 0.02, 0.1))
        self.legal = True
        self.newline = pick(rng, ("\n", "\n", "\n", "\r\n"))
        groups = int(rng.integers(1, 4)) if rng.integers(4) else 0
        rows = int(rng.integers(1, 12))
        self.columns = self._particles(rows, groups)
        self.block = "particles" if groups else pick(rng, ("particles",) * 3 + ("", "images"))
        blocks = [self._loop(self.block, self.columns)]
        if groups:
            optics = self._loop("optics", self._optics(groups))
            blocks.insert(int(self._strange()), optics)
        if not rng.integers(3):
            blocks.insert(int(rng.integers(len(blocks) + 1)), self._pairs())
        if self._strange():
            blocks.insert(int(rng.integers(len(blocks) + 1)), pick(rng, blocks))
        if self._strange():
            del blocks[int(rng.integers(len(blocks)))]
        text = "".join(blocks)
        if self._strange():
            text = text.replace("loop_\n", pick(rng, ("LOOP_\n", "loop_ ", "\n", "loop_\nloop_\n")))
        if self._strange():
            text = text.replace("data_", pick(rng, ("DATA_", "data", "data_ ", "save_", "\ndata_")))
        if self._strange():
            text = text.replace("\n", pick(rng, ("\r", "\n\r", "\x0b", "\u2028", "")))
        text = text.replace("\n", self.newline)
        if not rng.integers(6):
            text = text.rstrip()
        self.data = text.encode("utf-8", "surrogatepass")
        if self._strange():
            self.data = pick(rng, (b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\x1f\x8b")) + self.data

    def _strange(self):
        """Whether an illegal choice is made here."""
        made = bool(self.rng.random() < self.odd)
        self.legal &= not made
        return made

    def _particles(self, rows, groups):
        """Columns of words."""
        rng = self.rng
        columns = {"rlnImageName": [f"{k + 1:06d}@Extract/job 1/s.mrcs" for k in range(rows)]}
        if rng.integers(2):
            columns["rlnImageName"] = [f"{k + 1}@s{k % 2}.mrcs" for k in range(rows)]
        for label, low in (("Rot", -180), ("Tilt", 0), ("Psi", -180)):
            columns[f"rlnAngle{label}"] = [number(rng, low, 180) for _ in range(rows)]
        if groups:
            columns["rlnOpticsGroup"] = [str(1 + k % groups) for k in range(rows)]
        for label, make in PARTICLE_LABELS.items():
            if not rng.integers(4):
                columns[label] = [make(rng, k) for k in range(rows)]
        if self._strange():
            del columns[pick(rng, list(columns))]
        order = list(columns)
        rng.shuffle(order)
        return {label: columns[label] for label in order}

    def _optics(self, groups):
        rng = self.rng
        columns = {"rlnOpticsGroup": [str(k + 1) for k in range(groups)]}
        for label, make in OPTICS_LABELS.items():
            if rng.integers(4):
                columns[label] = [make(rng, k) for k in range(groups)]
        if self._strange():
            columns["rlnOpticsGroup"] = [
                pick(rng, ("0", "1", "-1", "7", "1.0", "x")) for _ in range(groups)
            ]
        return columns

    def _pairs(self):
        """A block that is a list and not a loop, as RELION writes of jobs and general facts."""
        return f"data_general\n\n_rlnTomoSubTomosAre2DStacks {' ' * 9}1\n_rlnNote 'a b'\n\n"

    def _comment(self):
        return pick(self.rng, ("# version 30001", "#", "# data_x loop_ _rln", "  # by hand 'x"))

    def _loop(self, name, columns):
        """Text of one block."""
        rng = self.rng
        lines = [self._comment()] if rng.integers(2) else []
        lines += [f"data_{name}", "", "loop_"]
        for place, label in enumerate(columns, start=1):
            shown = label
            if self._strange():
                shown = pick(rng, ("", label * 300, "rlnImageName", label + "\x00", "é", "a b"))
            mark = pick(rng, (f" #{place}", f" #{place}", "", f"\t#{place}", f" # {place}"))
            if self._strange():
                mark = pick(rng, (" #99", " 5", " x y", "#", " #0", ";"))
            lines.append(f"_{shown}{mark}")
        for row in zip(*columns.values(), strict=True):
            lines += self._between_rows()
            lines.append(self._row(row))
        lines += [""] * int(rng.integers(1, 3))
        return "\n".join(lines) + "\n"

    def _between_rows(self):
        if self._strange():
            return [pick(self.rng, ("", "# comment", "loop_", "data_more", "_late #3", ";text\n;"))]
        return []

    def _row(self, words):
        rng = self.rng
        shown = [self._word(word) for word in words]
        if self._strange():
            shown.append("1")
        if self._strange():
            del shown[int(rng.integers(len(shown)))]
        lead, gap, trail = pick(rng, ("", " ", "\t")), pick(rng, BLANKS), pick(rng, ("", " ", "\t"))
        return lead + gap.join(shown) + trail

    def _word(self, word):
        if self._strange():
            return pick(self.rng, ODD_WORDS)
        if " " in word or not self.rng.integers(40):
            quote = pick(self.rng, "'\"")
            return f"{quote}{word}{quote}"
        return word


# .cs

ROWS = 8
FIELDS = {
    "uid": "u8", "blob/path": "S24", "blob/idx": "u4", "blob/shape": "u4(2,)",
    "blob/psize_A": "f4", "blob/sign": "f4", "ctf/type": "S8", "ctf/exp_group_id": "u4",
    "ctf/accel_kv": "f4", "ctf/cs_mm": "f4", "ctf/amp_contrast": "f4", "ctf/df1_A": "f4",
    "ctf/df2_A": "f4", "ctf/df_angle_rad": "f4", "ctf/phase_shift_rad": "f4",
    "ctf/tilt_A": "f4(2,)", "alignments3D/split": "u4", "alignments3D/shift": "f4(2,)",
    "alignments3D/pose": "f4(3,)", "alignments3D/psize_A": "f4", "alignments3D/class": "u4",
    "alignments3D/pose_ew": "f4(3,)", "alignments_class_0/pose": "f4(3,)",
    "alignments_class_0/shift": "f4(2,)", "alignments_class_0/class_posterior": "f4",
    "alignments2D/pose": "f4", "alignments2D/shift": "f4(2,)", "alignments2D/psize_A": "f4",
    "alignments3D_multi/pose": "f4(2,3)", "alignments3D_multi/shift": "f4(2,2)",
    "location/micrograph_path": "S30", "location/micrograph_uid": "u8",
    "location/micrograph_shape": "u4(2,)", "location/center_x_frac": "f4",
    "location/center_y_frac": "f4", "location/micrograph_psize_A": "f4",
    "filament/filament_uid": "u8", "filament/arc_length_A": "f4",
    "filament/filament_pose": "f4", "sym_expand/src_uid": "u8", "sym_expand/idx": "u4",
    "own/flag": "?", "own/small": "i1", "own/half": "f2",
}  # fmt: skip
"""Fields that jobs write, and their types without a byte order."""

ODD_NAMES = (
    "", "/", ".", "..", "uid/x", "alignments3D", "a//b", "/a", "a/", "../x", "x" * 3000, "a\nb",
    "nul\0in", "\ud800", "é", "٣", "a b", "%s{0}", "operator_index", "source_index", "\x1b[2J", "'",
    "alignments3D/pose/x", "\u202e",
)  # fmt: skip
ODD_TYPES = (
    "<f2", "<f8", "<f16", "<i8", "<i1", "<u2", "?", "<c8", "<U4", "S0", "S1", "S9000", "V3", "|O",
    "<M8[s]", "<m8[D]", "<M8", "V0", "U0", ">u8", "=f4", "f", "i", "nonsense", "<f4,<f4", "S-1",
)  # fmt: skip
ODD_SHAPES = (
    "()", "(0,)", "(1,)", "(2, 2)", "(3,)", "(100000,)", "(-1,)", "(2**70,)", "(1e3,)", "3", "[2]",
    "(" + "9" * 5000 + ",)", "(1,)*40", "(True,)", "(None,)", "('2',)", "(0x2,)", "(2_0,)",
)  # fmt: skip
ODD_ROWS = (
    "(-1,)", "()", "(8, 1)", "8", "(8.0,)", "(1e400,)", "(2**62,)", "(" + "9" * 5000 + ",)", "(0,)",
    "(9223372036854775807,)", "(True,)", "(8,", "[8]", "(8,)*2", "('8',)", "(7,)", "(9,)", "(-0,)",
)  # fmt: skip


def split_type(text):
    """An element's type and its shape, from "f4(2,)"."""
    kind, bracket, shape = text.partition("(")
    return kind, (tuple(int(n) for n in shape.strip(",)").split(",")) if bracket else ())


def cs(rng):
    """Bytes of a .cs file: fields, types, shapes, byte orders and header of many kinds."""
    odd = pick(rng, (0.0, 0.01, 0.05, 0.2))

    def strange():
        return bool(rng.random() < odd)

    names = [
        name for name in FIELDS if name.startswith(("uid", "alignments3D/")) or rng.integers(2)
    ]
    if rng.integers(4):
        names = [name for name in names if not name.startswith("sym_expand")]
    rng.shuffle(names)
    if strange():
        names.remove(pick(rng, names))
    order = pick(rng, ("<", "<", ">", "mixed"))
    columns, descr = [], []
    for name in names:
        kind, shape = split_type(FIELDS[name])
        if kind[0] == "f" and not rng.integers(6):
            kind = pick(rng, ("f8", "f4"))
        if kind[0] == "u" and not rng.integers(6):
            kind = pick(rng, ("u4", "u8", "i8", "i4"))
        mark = pick(rng, "<>") if order == "mixed" else order
        mark = "|" if kind in ("?", "i1") or kind[0] == "S" else mark
        columns.append(cs_values(rng, name, kind, shape, strange).astype(mark + kind))
        shown, told, wide = name, mark + kind, str(shape) if shape else None
        if strange():
            shown = pick(rng, ODD_NAMES)
        if strange():
            told = pick(rng, ODD_TYPES)
        if strange():
            wide = pick(rng, ODD_SHAPES)
        parts = [repr(shown) if rng.integers(30) else repr((f"title of {name}", shown)), repr(told)]
        descr.append("(" + ", ".join(parts + [wide] * (wide is not None)) + ")")
    if strange():
        descr.append(pick(rng, descr))
    rows = pick(rng, ODD_ROWS) if strange() else f"({ROWS},)"
    pairs = [
        "'descr': [" + ", ".join(descr) + "]",
        "'fortran_order': "
        + (pick(rng, ("True", "0", "None", "1", "'x'")) if strange() else "False"),
        "'shape': " + rows,
    ]
    if strange():
        pairs[int(rng.integers(3))] = pick(rng, ("'more': 1", "", "'descr': []", "1: 2"))
    rng.shuffle(pairs)
    text = "{" + ", ".join(pairs) + pick(rng, (", }", "}", " }"))
    if strange():
        text = pick(rng, ("#" + text, text + "#", text * 2, text.replace("'", '"'), "\n" + text,
                          text.replace(")", "L)"), text[:-1], " " * 300_000 + text))  # fmt: skip
    data = b"".join(b"".join(np.ascontiguousarray(c[k]).tobytes() for c in columns)
                    for k in range(ROWS))  # fmt: skip
    if strange():
        data = pick(rng, (data[:-1], data + b"\0", data * 2, b"", data[: len(data) // 2]))
    return npy_head(rng, text, strange) + data


def npy_head(rng, text, strange):
    """The first bytes, as one of NumPy's versions writes them."""
    raw = text.encode("utf-8", "surrogatepass")
    plain = max(raw, default=0) < 128
    version = pick(rng, (1, 2)) if plain and len(raw) < 60_000 else 3
    if strange():
        version = pick(rng, (0, 1, 2, 3, 4, 255))
    wide = 2 if version == 1 else 4
    pad = -(len(raw) + 9 + wide) % pick(rng, (64, 16, 1))
    raw += b" " * pad + b"\n" * (not strange())
    length = len(raw) if not strange() else int(rng.integers(2**16))
    head = io.BytesIO()
    head.write(b"\x93NUMPY" + bytes([version, 1 if strange() else 0]))
    head.write((length % 256**wide).to_bytes(wide, "little"))
    head.write(raw)
    return head.getvalue()


def cs_values(rng, name, kind, shape, strange):
    """Values that a job would write for a field."""
    if kind[0] == "S":
        words = [f">J1/{name[:3]}_{k % 2}.mrc".encode() for k in range(ROWS)]
        if strange():
            words = [pick(rng, (b"", b"a\0b", b"\xff\xfe", b"a b", b"'", b"\n", b"x" * 40))] * ROWS
        return np.array(words, kind)
    if name in ("uid", "sym_expand/src_uid"):
        return np.arange(1, ROWS + 1) * 7919 + 10**9
    values = rng.integers(0, 2, (ROWS, *shape))
    if kind[0] == "f":
        values = rng.uniform(0.1, 1, (ROWS, *shape))
        if strange():
            values.reshape(-1)[0] = pick(rng, (np.nan, np.inf, -1.0, 0.0, 1e38, 1e-42))
    if name.endswith(("shape", "accel_kv")):
        values = values * 0 + 256
    if name.endswith("idx"):
        values = np.arange(ROWS)
    return values
