"""Outputs: written to a hidden temporary file, and renamed when complete and on disk.

Every verb that writes does so here, in two steps. An `OutputFile` checks the name, before any input
is opened. Its `writing` then holds the hidden file while the verb fills it, and publishes it at the
end: the name holds the old file or the whole new one, at every moment.
"""

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from numba_symexp import interrupts
from numba_symexp.annotations import AnyPath
from numba_symexp.errors import OutputError, UsageError
from numba_symexp.files import first_bytes, sync
from numba_symexp.kinds import HDF5, Kind, other_suffix
from numba_symexp.leftovers import hidden_name, hold, sweep

_EPOCH = "SOURCE_DATE_EPOCH"

_NO_LINKS = (
    *(errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK),
    *(errno.EINVAL, errno.EXDEV, errno.EACCES),
)
"""What file systems without hard links say to link()."""

_PAIR_LOCK_S = 10.0
"""Longest wait for another run that names two files in the same folder."""

_HINTS = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "your quota is used up: free some space or choose another place",
    errno.EFBIG: "a limit on file sizes is in the way (ulimit -f): raise it",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written",
}


class Input(Protocol):
    """An open input: its files, and a check that they are what they were."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""

    def check_unchanged(self) -> None:
        """Raise `SourceError` where the file was written to since it was opened."""


class OutputFile:
    """The name that a file will be written under, checked.

    Parameters
    ----------
    name : str or path
        Where to write, as the caller says it.
    kind : Kind
        What will be written.
    inputs : iterable of str, path or None
        All files that are read; None stands for one that was not given.
    overwrite : bool
        Replace an existing file of the same kind, or an empty one.

    Attributes
    ----------
    name : str
        For messages.
    path : str
        The real path: links are followed.
    overwrite : bool

    Raises
    ------
    UsageError
        The suffix is that of another kind of file, or SOURCE_DATE_EPOCH is no time.
    OutputError
        It is an input (also through a link), exists without ``overwrite`` or as a file of another
        kind, is no regular file, or its folder is missing.
    """

    def __init__(
        self, name: AnyPath, kind: Kind, inputs: Iterable[AnyPath | None], overwrite: bool
    ) -> None:
        self.name, self.overwrite = os.fspath(name), overwrite
        timestamp()
        with as_output_error(self.name):
            self.path = os.path.realpath(self.name)
        for source in inputs:
            if source is not None:
                self.refuse_input(source)
        self._check_suffix(kind)
        self._check_place(kind)

    @property
    def folder(self) -> str:
        """Folder that the file is written to."""
        return os.path.dirname(self.path)

    def refuse_input(self, source: AnyPath) -> None:
        """Refuse a file that is read, as the output.

        Raises
        ------
        OutputError
            Both paths lead to one file.
        """
        with contextlib.suppress(OSError):
            if not os.path.samefile(source, self.path):
                return
            raise OutputError(f"{self.name}: is the source itself: choose another output")

    def check_space(self, size: int) -> None:
        """Refuse an output for which the file system has no room.

        Raises
        ------
        OutputError
            Says how much is needed and how much there is.
        """
        with as_output_error(self.name):
            free = shutil.disk_usage(self.folder).free
        if size > free:
            raise OutputError(
                f"{self.name}: needs {size:,} bytes, and its file system has {free:,} free: "
                "free some space or choose another place"
            )

    @contextlib.contextmanager
    def writing(self, inputs: Sequence[Input], size: int = 0) -> Iterator["Draft"]:
        """Hold a hidden file to be filled; it gets the output's name when the block ends well.

        Parameters
        ----------
        inputs : sequence of Input
            Open tables. None may be the output, and none may have changed when the block ends.
        size : int
            Bytes that will be written, about.

        Raises
        ------
        OutputError
            There is no room, the file cannot be written, or another run took the name meanwhile.
        SourceError
            An input changed.
        """
        with writing_together([self], inputs, size) as (draft,):
            yield draft

    def _check_suffix(self, kind: Kind) -> None:
        """Refuse a suffix that says another kind of file than is written."""
        for path in (self.name, self.path):
            suffix = other_suffix(path, kind)
            if suffix is not None:
                place = self.name if path == self.name else f"{self.name} (a link to {self.path})"
                further = "; `export` writes .cs and .star" if kind is HDF5 else ""
                raise UsageError(
                    f"{place}: ends in {suffix}, and what is written is {kind.name}: name it "
                    f"{kind.suffixes[0]}{further}"
                )

    def _check_place(self, kind: Kind) -> None:
        """Refuse a folder that is missing, and a file that must not be replaced."""
        if not os.path.isdir(self.folder):
            raise OutputError(
                f"{self.name}: its folder {self.folder} does not exist: make it first"
            )
        found = self._status()
        if found is None:
            return
        if not stat.S_ISREG(found.st_mode):
            raise OutputError(
                f"{self.name}: exists and is not a regular file: choose another output"
            )
        if found.st_size and not kind.is_this(first_bytes(self.path)):
            raise OutputError(f"{self.name}: exists, and is not {kind.name}: choose another output")
        if not self.overwrite:
            raise OutputError(f"{self.name}: exists: choose another output, or add overwrite=True")

    def _status(self) -> os.stat_result | None:
        """What stands under the name now."""
        with as_output_error(self.name):
            try:
                return os.stat(self.path)
            except FileNotFoundError:
                return None


@dataclass
class Draft:
    """The hidden file that an output is written to.

    Attributes
    ----------
    output : OutputFile
    path : str
        The hidden file.
    descriptor : int
        The same, open for reading and writing until it is published.
    size : int
        Its bytes, once it is published.
    notes : list of str
        What the user should know, complete once it is published: files that killed runs left in
        the folder, and a folder that could not be brought to disk.
    """

    output: OutputFile
    path: str
    descriptor: int
    size: int = 0
    notes: list[str] = field(default_factory=list)

    def publish(self) -> None:
        """Give the file its name, in one step.

        Without ``overwrite`` the name is taken only if it is still free.
        """
        if self.output.overwrite:
            self._take_over_mode()
            os.replace(self.path, self.output.path)
        else:
            self._take_free_name()

    def sync_name(self) -> None:
        """Bring the new name to disk; the output is whole by now, so that a failure is a note."""
        try:
            sync_folder(self.output.folder)
        except OSError as error:
            if not os.path.lexists(self.output.path):
                raise
            self.notes.append(
                f"{self.output.name}: is written, but its folder could not be brought to disk "
                f"({_reason(error)}): after a power cut, look whether the file is there"
            )

    def _take_over_mode(self) -> None:
        """Give the file the permissions and, where that is allowed, the owner of the old one."""
        with contextlib.suppress(FileNotFoundError):
            old = os.stat(self.output.path)
            with contextlib.suppress(OSError):
                os.fchown(self.descriptor, old.st_uid, old.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(self.descriptor, stat.S_IMODE(old.st_mode))

    def _take_free_name(self) -> None:
        """Name a file so that an existing one is never replaced."""
        name, path = self.output.name, self.output.path
        try:
            os.link(self.path, path)
        except FileExistsError as error:
            if os.path.samestat(os.fstat(self.descriptor), os.stat(path)):
                return  # NFS repeats a request whose answer was lost
            raise OutputError(
                f"{name}: appeared while this run was writing: it was left as it is; compare, or "
                "add overwrite=True"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):  # no hard links here: as close as this file system allows
                raise OutputError(f"{name}: appeared while this run was writing") from error
            os.rename(self.path, path)


@contextlib.contextmanager
def writing_together(
    outputs: Sequence[OutputFile], inputs: Sequence[Input], size: int = 0
) -> Iterator[list[Draft]]:
    """Hold hidden files that belong together, as `OutputFile.writing` does one.

    All are whole and on disk before the first gets its name. Two renames are not one step, so
    that a run that is killed between them leaves a mixed pair: one of the files should say what
    the other is.
    """
    first = outputs[0]
    for output in outputs:
        for path in [path for each in inputs for path in each.files]:
            output.refuse_input(path)
    first.check_space(size)
    notes = sweep(first.folder)
    with contextlib.ExitStack() as stack:
        drafts = [stack.enter_context(_draft(output)) for output in outputs]
        drafts[0].notes += notes
        with as_output_error(first.name):
            yield drafts
        for draft in drafts:
            with as_output_error(draft.output.name):
                sync(draft.descriptor)
                draft.size = os.fstat(draft.descriptor).st_size
        interrupts.check()
        for each in inputs:
            each.check_unchanged()
        if len(drafts) == 1:
            _publish(drafts)
        else:
            with _alone_in(first.folder):
                _publish(drafts)


def timestamp() -> str:
    """Now in UTC, as 2026-01-31T12:00:00Z; or the time that SOURCE_DATE_EPOCH fixes.

    Raises
    ------
    UsageError
        SOURCE_DATE_EPOCH is a number, but no time.
    """
    now = datetime.datetime.now(datetime.UTC)
    fixed = os.environ.get(_EPOCH)
    if fixed is not None and fixed.isdecimal():
        try:
            now = datetime.datetime.fromtimestamp(int(fixed), datetime.UTC)
        except (ValueError, OverflowError, OSError):
            raise UsageError(
                f"{_EPOCH}={fixed[:40]} in the environment is no time before the year 10000: "
                "give seconds since 1970, or unset it"
            ) from None
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def sync_folder(folder: str) -> None:
    """Bring a folder's entries to disk, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def as_output_error(name: str) -> Iterator[None]:
    """Turn an OSError of the file system into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check the folder and the file system")
        raise OutputError(f"{name}: cannot be written ({_reason(error)}): {hint}") from error


def _reason(error: OSError) -> str:
    """What the file system said, in a few words."""
    return os.strerror(error.errno) if error.errno else str(error).splitlines()[0]


@contextlib.contextmanager
def _draft(output: OutputFile) -> Iterator[Draft]:
    """Hold a hidden file in the output's folder; it is gone afterwards, published or not."""
    path = os.path.join(output.folder, hidden_name())
    old = output._status()
    mode = 0o666 if old is None else 0o600 | stat.S_IMODE(old.st_mode) & 0o666
    with as_output_error(output.name):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode)
    try:
        hold(descriptor)
        yield Draft(output, path, descriptor)
    finally:
        with contextlib.suppress(OSError):  # what there was to say, `sync` has heard
            os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(path)


def _publish(drafts: Sequence[Draft]) -> None:
    """Give files their names, back to back; where a later name is taken, none is kept."""
    for number, draft in enumerate(drafts):
        try:
            with as_output_error(draft.output.name):
                draft.publish()
        except OutputError:
            for earlier in drafts[:number]:
                if not earlier.output.overwrite:
                    os.unlink(earlier.output.path)
            raise
    for draft in drafts:
        with as_output_error(draft.output.name):
            draft.sync_name()


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Wait until no other run names two files in a folder, where its file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            _wait_for_lock(descriptor)
        yield


def _wait_for_lock(descriptor: int) -> None:
    """Take a lock, or go on without it where its holder seems to be stopped."""
    deadline = time.monotonic() + _PAIR_LOCK_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        interrupts.check()
        time.sleep(0.01)
