"""Write rows as a RELION particle file."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from numba_symexp.annotations import Array
from numba_symexp.errors import SourceError
from numba_symexp.formats.micrographs import Micrographs
from numba_symexp.formats.relion.coordinates import (
    Baked,
    Baking,
    Coordinates,
    MicrographCoordinates,
)
from numba_symexp.formats.relion.copy_labels import (
    SubtomogramNames,
    refuse_same_places,
    set_apart,
    track_label,
)
from numba_symexp.formats.relion.labels import (
    ORIGINS_PX,
    PARTICLE_NAME,
    PREMULTIPLIED,
    LabelReader,
)
from numba_symexp.formats.relion.priors import Priors
from numba_symexp.formats.relion.text import with_convention, with_labels, without_label
from numba_symexp.formats.words_write import Numbers, WordRows
from numba_symexp.kernels.codecs import convert
from numba_symexp.kernels.text import ENDING
from numba_symexp.particles.coordinate_choice import KEPT, CoordinateChoice
from numba_symexp.particles.schema import (
    DEFOCUS,
    OPERATOR_LABEL,
    POSE,
    SHIFT,
    SOURCE_LABEL,
    UID,
)
from numba_symexp.particles.table import RELION, Header, ParticleTable
from numba_symexp.symmetry.operators import Operators

if TYPE_CHECKING:
    from numba_symexp.pose_block import Block
    from numba_symexp.poses import Poses

_DECIMALS = 6


class StarRows(WordRows):
    """Rows as RELION has them: the text of the source, new angles and origins.

    A pose or shift that is to the last bit what its source's words say keeps these words.

    Parameters
    ----------
    rows : Poses
    source : ParticleTable
        With a header, and every label as text.
    keep_track_length : bool
        Leave places on helical tracks as they are.
    choice : CoordinateChoice
        Whether origins are baked into coordinates.

    Attributes
    ----------
    notes : list of str
        What a user should know.
    dropped : list of str
        Empty: every label has its place.
    size : int
        Bytes that are known before the rows are written.

    Raises
    ------
    SourceError
        Places on tracks cannot be told apart, or there are no coordinates to bake origins into.
    """

    def __init__(
        self,
        rows: "Poses",
        source: ParticleTable,
        keep_track_length: bool = False,
        choice: CoordinateChoice = KEPT,
    ) -> None:
        header = source.header
        if header is None:
            raise SourceError(f"{source.path}: has no labels of RELION: convert it first")
        super().__init__(rows, source)
        self._reader = LabelReader.of(header)
        if self._reader.in_angstrom:
            rows.require_psize("RELION's origins are in A")
        if rows.expanded is not None and not rows.has_split:
            header = without_label(header, self._reader.subset)
        added = [
            label
            for label in (*self._reader.angles, *self._own_origins, self._reader.subset)
            if label not in header.labels and (label != self._reader.subset or rows.has_split)
        ]
        if rows.expanded is None and added and self._is_as_told(header):
            added = [label for label in added if label == self._reader.subset]
        self._tells_copies = rows.operators is not None and len(rows.operators) > 1
        if self._tells_copies:
            own = (SOURCE_LABEL, OPERATOR_LABEL)
            added += [label for label in own if label not in header.labels]
        self._priors = Priors.of(header.labels, rows.components)
        self._coordinates = self._coordinates_of(choice)
        self._labels = (*header.labels, *added)
        self._turned_only = self._if_turned_only(header)
        mark = rows.convention if rows.needs_mark(RELION, source) else None
        self._head = with_convention(with_labels(header, added).head, mark)
        self._tail = header.tail
        self.size = len(self._head) + len(self._tail)
        self._track = None if keep_track_length else track_label(header.labels)
        order = len(rows.operators) if rows.operators else 1
        if self._track and rows.operators:
            refuse_same_places(source, self._track, order)
        self._track = self._track if rows.operators else None
        self._names = SubtomogramNames.of(rows, source) if self._tells_copies else None
        if self._names:
            self._endings = self._names.endings
        if rows.components == 3 and rows.operators and rows.operators.moves:
            self.notes += self._premultiplied()

    def _if_turned_only(self, header: Header) -> Operators | None:
        """Operators that turn what the words say, and move nothing; None where more may differ.

        Then it is known without a look which words stay.
        """
        rows, operators = self._rows, self._rows.operators
        if rows.expanded is None or operators is None or operators.moves or self._coordinates:
            return None
        told = {*self._reader.angles, *self._own_origins} <= {*header.labels}
        of_words = rows.expanded.made_of_words and self._source is rows.source
        return operators if told and of_words else None

    def _coordinates_of(self, choice: CoordinateChoice) -> Baking | None:
        """Coordinates that origins go into; None where they stay."""
        if choice.recenter is None:
            return None
        if self._rows.components == 3:
            self._rows.require_psize("coordinates of a tomogram need origins in A")
            self.notes.append("coordinates are new: extract the particles again")
            return Coordinates.of(self._reader, self._source)
        micrographs = Micrographs.of(self._rows, choice)
        self.notes.append(
            f"coordinates are new (coordinates_y={choice.coordinates_y}), in whole pixels (the "
            "rest is in the origins): extract the particles again"
        )
        return MicrographCoordinates(micrographs, choice.flips, self._source)

    def _premultiplied(self) -> list[str]:
        """What is to be said of images that hold the CTF of the place where they were cut out."""
        optics = self._reader.optics
        told = optics.words(PREMULTIPLIED).tolist() if PREMULTIPLIED in optics else []
        if not any(re.fullmatch(rb"[+]?0*1(?:[.]0*)?", word) for word in told):
            return []
        return [
            f"images are premultiplied by their CTF (_{PREMULTIPLIED}): copies that move have the "
            "CTF of their particle until they are extracted again"
        ]

    def _is_as_told(self, header: Header) -> bool:
        """Whether all poses and shifts are what the words say, labels that are missing being 0."""
        labels = [label for label in header.labels if label in self._source.columns]
        for block in self._rows.blocks():
            source = self._source.read_at(labels, block.sources)
            first, count = int(block.sources[0]), len(block.sources)
            for name, values in ((POSE, block.rotvec), (SHIFT, block.shift)):
                told = self._reader.make(name, source, first, first + count, self._source.path)
                if not np.array_equal(told[block.index, : values.shape[1]], values):
                    return False
        return True

    def _new_words(self, block: "Block") -> dict[str, Array]:
        """Ids of the particles of a block; their rows where they have no ids."""
        if not self._tells_copies:
            return {}
        particles = self._rows.source
        if UID not in particles.columns:
            return {SOURCE_LABEL: block.sources.astype("S")}
        return {SOURCE_LABEL: particles.read_at([UID], block.sources)[UID].astype("S")}

    def _new_numbers(self, block: "Block", source: dict[str, Array]) -> dict[str, Numbers]:
        """Angles, origins, half-sets and places of rows, as numbers."""
        angles = convert(block.rotvec, "rotvec", "euler_zyz")
        if not np.isfinite(angles).all():
            raise SourceError(f"{self._source.path}: a pose is NaN or Inf: verify the table")
        if self._turned_only:
            kept = np.isin(block.operator, self._turned_only.fixed)
        else:
            kept = self._unchanged(POSE, block.rotvec, self._reader.angles, block, source)
        new = {
            label: Numbers(angles[:, k], 6, kept)
            for k, label in enumerate(self._reader.angles)
            if label in self._labels
        }
        if not self._turned_only:
            kept = self._unchanged(SHIFT, block.shift, self._own_origins, block, source)
        baked = self._coordinates.baked(block, source) if self._coordinates else None
        if baked:
            kept = kept & np.all(baked.taken_A == 0, axis=1)
            new.update(self._baked(baked))
        for labels, origins in self._origins(block, baked) if not self._turned_only else ():
            self._refuse_large(origins, "an origin")
            new.update(
                {
                    name: Numbers(origins[:, k], 6, kept)
                    for k, name in enumerate(labels)
                    if name in self._labels
                }
            )
        if block.split is not None:
            subset = block.split.astype(np.float64) + 1
            label = self._reader.subset
            told = self._numbers_of(label, block, source) if label in source else np.nan
            new[label] = Numbers(subset, 0, subset == told)
        for name, values in block.defocus.items():
            label = DEFOCUS[name]
            of_file = self._source is self._rows.source  # else words were made of numbers just now
            told = self._numbers_of(label, block, source) if of_file else np.nan
            self._refuse_large(values, f"a _{label}")
            new[label] = Numbers(values.astype(np.float64), 6, values == told)
        if self._names:
            names = block.operator.astype(np.float64)
            new[PARTICLE_NAME] = Numbers(names, ENDING, np.zeros(len(block), np.bool_))
        if self._tells_copies:
            operator = block.operator.astype(np.float64)
            new[OPERATOR_LABEL] = Numbers(operator, 0, np.zeros(len(block), np.bool_))
        operators = self._rows.operators
        if self._priors.labels and (operators or baked):
            new.update(self._turned_priors(block, source, operators, baked))
        if operators and self._reader.further:
            new.update(self._further_poses(block, source, operators))
        if self._track:
            place = set_apart(self._numbers_of(self._track, block, source), block.operator)
            self._refuse_large(place, f"a _{self._track}")
            new[self._track] = Numbers(place, _DECIMALS, block.operator == 0)
        return new

    def _further_poses(
        self, block: "Block", source: dict[str, Array], operators: Operators
    ) -> dict[str, Numbers]:
        """Poses and places at other times, which turn and move with the first."""
        told = {
            label: self._numbers_of(label, block, source) for label in self._reader.further_needs
        }
        moved = self._reader.move_further(told, operators, block.operator)
        for label, values in moved.items():
            self._refuse_large(values, f"a _{label}")
        return {label: Numbers(values, 6, values == told[label]) for label, values in moved.items()}

    def _turned_priors(
        self,
        block: "Block",
        source: dict[str, Array],
        operators: Operators | None,
        baked: Baked | None,
    ) -> dict[str, Numbers]:
        """Priors of the mate's pose, which count from where its box is."""
        told = {
            label: self._numbers_of(label, block, source)
            for label in self._priors.needs
            if label in source
        }
        place = (baked.taken_A, self._in_px(baked.taken_A, block)) if baked else None
        turned = {}
        if operators:
            turned = self._priors.turned(told, operators, block.operator, block.psize_A, place)
        elif place:
            turned = self._priors.moved(told, place)
        for label, (values, _) in turned.items():
            self._refuse_large(values, f"a _{label}")
        return {label: Numbers(values, 6, kept) for label, (values, kept) in turned.items()}

    def _baked(self, baked: Baked) -> dict[str, Numbers]:
        """Coordinates of rows that take up their origins."""
        for label, places, _ in baked.coordinates:
            self._refuse_large(places, f"a _{label}")
        return {
            label: Numbers(places, _DECIMALS, still) for label, places, still in baked.coordinates
        }

    @staticmethod
    def _in_px(values_A: Array, block: "Block") -> Array:
        """Values (n, 2 or 3) in pixels of the shifts, whose size is known."""
        psize_A = block.psize_A
        return values_A if psize_A is None else values_A / psize_A[:, None]

    @property
    def _own_origins(self) -> tuple[str, ...]:
        """Labels of the origins that the file has, or gets."""
        return self._reader.origins_of(self._rows.components)

    def _origins(
        self, block: "Block", baked: Baked | None
    ) -> Iterator[tuple[tuple[str, ...], Array]]:
        """Origins of rows, in A or in pixels or, where a file has them twice, in both."""
        shift_A, shift = block.shift_A, block.shift.astype(np.float64)
        if baked:
            left = shift_A != baked.taken_A
            shift = np.where(left, shift - self._in_px(baked.taken_A, block), 0.0)
            shift_A = shift_A - baked.taken_A
        if self._reader.in_angstrom:
            yield self._own_origins, self._reader.sign * shift_A
        if not self._reader.in_angstrom or ORIGINS_PX[0] in self._labels:
            yield ORIGINS_PX[: self._rows.components], shift

    def _unchanged(
        self,
        name: str,
        values: Array,
        labels: Sequence[str],
        block: "Block",
        source: dict[str, Array],
    ) -> Array:
        """Rows whose pose, or whose shift, is what the words of their source say."""
        same = np.zeros(len(block), np.bool_)
        written = [label for label in labels if label in self._labels]
        if not all(label in source for label in written) or values.dtype != np.float64:
            return same
        first, count = int(block.sources[0]), len(block.sources)
        told = self._reader.make(name, source, first, first + count, self._source.path)
        same[:] = True
        for k, other in enumerate(values.T):
            same &= told[block.index, k] == other
        return same
