"""One row for each particle, written in whichever format the output's suffix names."""

from collections.abc import Mapping, Sequence
from typing import Any

from numba_symexp.annotations import Progress
from numba_symexp.conversion.export_table import OutputPair, check_rows, export_rows
from numba_symexp.expanded.table import ExpandedTable
from numba_symexp.formats import format_of_output
from numba_symexp.formats.hdf5.write import in_order_of_file, size_of, write_table
from numba_symexp.kinds import HDF5
from numba_symexp.output import OutputFile
from numba_symexp.particles.columns import find_columns, pixel_size_column
from numba_symexp.particles.scan import check_poses
from numba_symexp.particles.table import ParticleTable
from numba_symexp.poses import Poses


class ParticleOutput:
    """An HDF5 table; or a .star, .cs or .tbl with the bytes of that table's export.

    Parameters
    ----------
    output : str
    inputs : sequence of str or None
        Files that are read.
    overwrite : bool
        Replace existing files.

    Attributes
    ----------
    names : tuple of str
        All files that will be written.

    Raises
    ------
    UsageError, OutputError
        They cannot be written under these names.
    """

    def __init__(self, output: str, inputs: Sequence[str | None], overwrite: bool) -> None:
        is_own = format_of_output(output).is_own
        self._pair = None if is_own else OutputPair(output, inputs, overwrite)
        own = [OutputFile(output, HDF5, inputs, overwrite)] if self._pair is None else []
        self._files = own or (self._pair.files if self._pair else [])
        self.names = tuple(each.name for each in self._files)

    def refuse_inputs(self, tables: Sequence[ParticleTable | ExpandedTable]) -> None:
        """Refuse to write over files that tables are read from.

        Raises
        ------
        OutputError
            Names one.
        """
        for table in tables:
            for path in table.files:
                for each in self._files:
                    each.refuse_input(path)

    def write(
        self,
        table: ParticleTable,
        pose_columns: tuple[str, str, str],
        psize_given_A: float | None,
        attributes: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> list[str]:
        """Write particles; return what a user should know.

        Parameters
        ----------
        table : ParticleTable
        pose_columns : tuple of str
            Names of the pose and shift columns, and the pose format.
        psize_given_A : float, optional
            A per pixel, where the table says none.
        attributes : mapping
            Of an HDF5 file.
        progress : callable, optional

        Raises
        ------
        SymexpError
            What is wrong, where, and what to do. Nothing was written then.
        """
        if self._pair is None:
            check_poses(table, pose_columns)
            with self._files[0].writing([table], size_of(table)) as draft:
                write_table(draft.path, table, attributes, progress)
            return draft.notes
        table.columns = in_order_of_file(table.columns)
        pose, shift, pose_format = pose_columns
        own = pixel_size_column(table.columns, shift)
        psize_A = psize_given_A if own is None else None
        columns = find_columns(table, pose, pose_format, shift, psize_A is not None)
        rows = Poses(table, columns, psize_A)
        check_rows(rows)
        return export_rows(self._pair, rows, progress=progress)
