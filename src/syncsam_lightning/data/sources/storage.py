"""Where files lie, and how bytes in the middle of them are read: local folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")

_MOST_FILES, _MOST_FOLDERS = 8, 4
# A folder is opened to look up names in it, for which it need not be readable.
_AS_FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
# What opening a link says where links are not followed, and a folder that was replaced.
_LOOK_CLOSER = (errno.ELOOP, errno.ENOTDIR, errno.ESTALE)


class Found(NamedTuple):
    """An item of a folder.

    Args:
        name: of the item in its folder.
        size: bytes.
        is_folder: whether it has items itself.
        trouble: why it is not to be read, ``""`` if it is.
        written: when the file was written, in nanoseconds since 1970.
    """

    name: str
    size: int = 0
    is_folder: bool = False
    trouble: str = ""
    written: int = 0


class OpenFile(Protocol):
    """A file of a storage, open for as long as somebody holds it."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; fewer than ``length`` only at its end."""
        ...


class OutsideError(PermissionError):
    """A path leads out of its storage."""


class Storage(Protocol):
    """A folder and all below it. Paths are relative to it, separated by ``/`` and without ``..``.

    Picklable; files are opened in the process that reads them. Every method but ``where`` raises
    ``OSError`` for what cannot be read.
    """

    def where(self, path: str) -> str:
        """Return the full address of a path."""
        ...

    def list(self, folder: str) -> list[Found]:
        """Return the items of a folder by name; ``""`` is the top."""
        ...

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        ...

    def open(self, path: str) -> OpenFile:
        """Open a file; let go of it when it is read."""
        ...

    def read_at(self, path: str, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return bytes of a file, as :class:`OpenFile` does, and up to ``slack`` more.

        The few that were read last stay open, as suits the parts of an archive.
        """
        ...

    def read(self, path: str, length: int) -> bytes:
        """Return the first ``length`` bytes of a file, or all it has; nothing stays open."""
        ...


class LastUsed(Generic[_Value]):
    """The few values that were asked for last, by name. The others are let go of.

    Args:
        most: how many are held.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[str, _Value] = {}

    def get(self, name: str, make: Callable[[str], _Value]) -> _Value:
        """Return the value of a name, made now if it is not held."""
        value = self._values.pop(name, None)
        if value is None:
            value = make(name)
        self._values[name] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return value

    def forget(self, name: str) -> None:
        """Let go of the value of a name."""
        self._values.pop(name, None)


class LocalFolder:
    """A folder of this machine.

    Args:
        root: the folder.
        follow_links: whether links may leave it. Of archives that somebody names they may (download
            caches are folders of links), of files that happen to lie in a folder they may not.
    """

    def __init__(self, root: str | os.PathLike[str], *, follow_links: bool = False) -> None:
        self.__setstate__((os.path.realpath(root), follow_links))

    def __getstate__(self) -> tuple[str, bool]:
        return self._root, self._follow_links

    def __setstate__(self, state: tuple[str, bool]) -> None:
        self._root, self._follow_links = state
        self._files = LastUsed[_Descriptor](_MOST_FILES)
        self._folders = LastUsed[_Descriptor](_MOST_FOLDERS)

    def where(self, path: str) -> str:
        """Return the absolute path."""
        # Asked for every file of a release, and several times dearer by way of a Path.
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def list(self, folder: str) -> list[Found]:
        """Return the items of a folder by name; links that leave the top are in trouble."""
        with os.scandir(self.where(folder)) as items:
            return sorted(self._found(items))

    def _found(self, items: Iterator[os.DirEntry[str]]) -> Iterator[Found]:
        for item in items:
            if item.is_symlink() and (trouble := self._link_trouble(item.path)):
                yield Found(item.name, trouble=trouble)
            elif item.is_dir(follow_symlinks=False):
                yield Found(item.name, is_folder=True)
            elif item.is_file():
                status = item.stat()
                yield Found(item.name, status.st_size, written=status.st_mtime_ns)
            else:
                yield Found(item.name, trouble="it is neither a file nor a folder")

    def _link_trouble(self, path: str) -> str:
        if self._follow_links:
            return "" if os.path.exists(path) else "it is a link to nothing"  # noqa: PTH110
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(self._root):
            return "it is a link that leaves the release"
        if target.is_dir():
            return "it is a link to a folder of the release, which is read where it lies"
        return "" if target.exists() else "it is a link to nothing"

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        found = self._at(path, _stat)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is not a file", path)
        return found.st_size

    def open(self, path: str) -> _Descriptor:
        """Open a file, which is read by position: processes that share it don't interfere."""
        return _Descriptor(self._at(path, _open))

    def read_at(self, path: str, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return bytes of a file that stays open while few others are read."""
        return self._files.get(path, self.open).read_at(offset, length + slack)

    def read(self, path: str, length: int) -> bytes:
        """Return the start of a file."""
        descriptor = self._at(path, _open)
        try:
            return _read_at(descriptor, 0, length)
        finally:
            os.close(descriptor)

    def _at(self, path: str, use: Callable[[str, _Descriptor | None], _Result]) -> _Result:
        """Call for a path, such that no link leads out of the folder.

        Whatever is put into the place of a file or a folder after it was listed, each step from
        the top is made from an open folder and follows no link. A link that is met is resolved,
        and where it stays inside, the steps are made to what it stands for.

        Args:
            path: of a file.
            use: takes a name and the folder that has it; none, where links may be followed.
        """
        if self._follow_links:
            return use(self.where(path), None)
        folder, _, name = path.rpartition("/")
        try:
            return use(name, self._folders.get(folder, self._walk))
        except OSError as error:
            if error.errno not in _LOOK_CLOSER:
                raise
        self._folders.forget(folder)
        target = Path(os.path.realpath(self.where(path)))
        if not target.is_relative_to(self._root):
            raise OutsideError("it is a link that leaves the release")
        folder, _, name = target.relative_to(self._root).as_posix().rpartition("/")
        return use(name, self._walk(folder))

    def _walk(self, folder: str) -> _Descriptor:
        opened = _Descriptor(os.open(self._root, _AS_FOLDER))
        for name in folder.split("/") if folder else ():
            step = os.open(name, _AS_FOLDER | os.O_NOFOLLOW, dir_fd=opened.number)
            opened = _Descriptor(step)
        return opened


class _Descriptor:
    """An open file or folder, closed when nobody holds it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)

    def read_at(self, offset: int, length: int) -> bytes:
        return _read_at(self.number, offset, length)


def _open(name: str, folder: _Descriptor | None) -> int:
    if folder is None:
        return os.open(name, os.O_RDONLY)
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder.number)


def _stat(name: str, folder: _Descriptor | None) -> os.stat_result:
    if folder is None:
        return Path(name).stat()
    found = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return found


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset, length = offset + len(piece), length - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
