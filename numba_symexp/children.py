"""Python processes that are started here: none imports what lies in the current folder."""

import contextlib
import os
import sys
from collections.abc import Iterator

_SAFE_PATH, _PATH = "PYTHONSAFEPATH", "PYTHONPATH"


def safe_environment() -> dict[str, str]:
    """Variables for a child that does not look for modules in the current folder.

    An empty part of PYTHONPATH, which a colon too many makes, would mean that folder.
    """
    variables = {_SAFE_PATH: "1"}
    if os.environ.get(_PATH):
        parts = os.environ[_PATH].split(os.pathsep)
        variables[_PATH] = os.pathsep.join(part for part in parts if part)
    return variables


@contextlib.contextmanager
def safe_spawning() -> Iterator[None]:
    """Have multiprocessing start such children within, however late; nothing is changed for good.

    They inherit the environment, and are sent ``sys.path`` before they import anything else.
    """
    environment = {name: os.environ.get(name) for name in (_SAFE_PATH, _PATH)}
    path = list(sys.path)
    os.environ.update(safe_environment())
    sys.path[:] = _without_here(path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _without_here(path: list[str]) -> list[str]:
    """Places of modules but for the current folder, where nobody asked for it.

    Somebody did where PYTHONPATH names it, or the program or this package is run from there.
    """
    with contextlib.suppress(OSError):
        here = os.path.realpath(os.getcwd())
        named = [part for part in os.environ.get(_PATH, "").split(os.pathsep) if part]
        wanted = {os.path.realpath(part) for part in [*named, *_import_folders()]}
        if here not in wanted:
            return [part for part in path if os.path.realpath(part) != here]
    return path


def _import_folders() -> list[str]:
    """Folders that the running program and this package were imported from."""
    homes = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    main = sys.modules.get("__main__")
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if file is not None:
        home = os.path.dirname(os.path.abspath(file))
        for _ in range(spec.name.count(".") if spec is not None else 0):
            home = os.path.dirname(home)
        homes.append(home)
    return homes
