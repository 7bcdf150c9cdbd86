"""The cache of functions compiled by numba: kept beside their sources, never older than any of them.

Numba by itself looks for changes in the file of the outermost function only: where that calls a function, or takes a
constant, of another file which was changed, the old machine code would go on running.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

Function = TypeVar("Function", bound=Callable[..., Any])
DECORATED = "@compiled"
IMPORT = re.compile(r"^from ([\w.]+) import ", re.MULTILINE)
LOCATORS = ("NamedFolder", "SourceFolder", "UserFolder")
"""Where machine code is kept, in numba's own order: NUMBA_CACHE_DIR, beside the source, in the user's cache."""


class _OfAllSources:
    """What is kept is valid as long as all that the machine code is made of is unchanged.

    Each state of the sources has a folder of its own: numba reads what it has kept before it asks whether that is
    valid, and can't where it names a type of a module that has another name now.
    """

    _py_file: str
    _cache_path: str

    def get_cache_path(self) -> str:
        """The folder for this state of the sources."""
        return str(self._folder())

    def ensure_cache_path(self) -> None:
        """Make the folder; what was kept for the file before is removed when it is new. Raises OSError."""
        folder = self._folder()
        if not folder.exists():
            for old in set(folder.parent.glob(f"{glob.escape(Path(self._py_file).stem)}-*")) - {folder}:
                shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()

    def _folder(self) -> Path:
        return Path(self._cache_path) / f"{Path(self._py_file).stem}-{self.get_source_stamp()[:16]}"

    def get_source_stamp(self) -> str:
        """The hash of the function's file, and of what that takes from files of ours."""
        return stamp_of(Path(self._py_file))


class NamedFolder(_OfAllSources, UserProvidedCacheLocator):
    """The folder that NUMBA_CACHE_DIR names."""


class SourceFolder(_OfAllSources, InTreeCacheLocator):
    """Beside the source, where that can be written."""


class UserFolder(_OfAllSources, UserWideCacheLocator):
    """The user's own cache."""


@cache
def stamp_of(path: Path) -> str:
    """A hash of the sources that compiled functions of a file are made of.

    Imports are followed through files with compiled functions; of others, which only have constants, the file counts.
    """
    contents: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in contents:
            continue
        contents[one] = one.read_text(encoding="utf-8")
        if one == path or DECORATED in contents[one]:
            waiting += [found for name in IMPORT.findall(contents[one]) if (found := _own_file(name, path)) is not None]
    whole = hashlib.sha256()
    for one in sorted(contents):
        whole.update(f"{one.name}\0{contents[one]}\0".encode())
    return whole.hexdigest()


def _own_file(module: str, of: Path) -> Path | None:
    """The file of a module of the same top-level package; None for others, which come with versions of their own."""
    if module.split(".")[0] not in of.parts:
        return None
    found = importlib.util.find_spec(module)
    return Path(found.origin) if found is not None and found.origin is not None else None


def compiled(function: Function) -> Function:
    """Compile at the first call, without the interpreter's lock. In an archive of sources there is no cache."""
    is_file = Path(function.__code__.co_filename).exists()
    config: Any = numba.config
    before, config.CACHE_LOCATOR_CLASSES = config.CACHE_LOCATOR_CLASSES, ",".join(f"{__name__}.{n}" for n in LOCATORS)
    try:
        made: Any = numba.njit(nogil=True, cache=is_file)(function)
    finally:
        config.CACHE_LOCATOR_CLASSES = before
    return cast(Function, made)
