"""
The data folder: everything one installation keeps on a host, owned by one process at a time; where
its stores are on servers of their own it is shared by the processes of the host.

`folder.json` says that a folder is ours, which environment it belongs to (`live` or `test`, for
ever) and which format it has. Docs: `docs/operating/data-folder.md`.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from largesse import clock, ids
from largesse.books.chart import Environment
from largesse.errors import Rejected

FORMAT = 1
"""The format this version writes; a folder with a higher one is refused."""
FREE_BYTES_MIN = 4 * 1024 * 1024
"""Room that must be left on the disk at the start, so that the first writes cannot fail."""

_ABOUT = "folder.json"
_LOCK = "lock"
_NEW = ".new"
"""What a file that is being written is called until it is whole, with the process before it."""
_SUFFIX = ".secret"
_OURS = ("*.sqlite", "*.sqlite-wal", "*.sqlite-shm", "*" + _SUFFIX, "*" + _NEW, _LOCK, _ABOUT)
"""What we write there, in the order in which `remove` takes it away: the proof that it is ours last."""

_LOCK_BYTES_MAX = 4_096

_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What `folder.json` says: the installation's id, its environment, its age."""

    format: int
    id: str
    environment: Environment
    created_at: datetime


class Folder(msgspec.Struct, frozen=True):
    """
    An open data folder. While it is open this process owns it, alone or with others that share it,
    by a lock that ends with the process.

    `created_at` is in nanoseconds; `lock` is the descriptor that holds the lock.
    """

    path: Path
    id: str
    environment: Environment
    created_at: int
    lock: int


def open_folder(
    path: Path,
    *,
    create: Environment | None = None,
    shared: bool = False,
    now: int,
    entropy: Callable[[int], bytes],
) -> Folder:
    """
    Own the data folder; with `create`, make it first where there is none.

    `shared` lets others in who share it too, and nobody who does not.

    Raises:
        Rejected: data_folder_not_ours, data_folder_newer, data_folder_missing,
            data_folder_other_environment, data_folder_read_only, data_folder_in_use, disk_full;
            the first that applies, and then nothing was changed.
    """
    with _named_refusals(path):
        about = _read(path)
        if about is None and create is None:
            raise Rejected("data_folder_missing", path=str(path))
        _refuse_other_environment(path, about, create)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_unless_writable(path)
        lock = _take_lock(path, shared=shared)
        try:
            _refuse_full_disk(path)
            about = _read(path)  # Somebody may have made it meanwhile.
            if about is None:
                assert create is not None
                about = _write_about(path, create, now=now, entropy=entropy)
            _refuse_other_environment(path, about, create)
        except BaseException:
            os.close(lock)
            raise
    created_at = clock.from_datetime(about.created_at)
    return Folder(path, about.id, about.environment, created_at, lock)


def read_folder(path: Path) -> About:
    """
    What a data folder says of itself, without owning it: its process may be running.

    Raises:
        Rejected: data_folder_not_ours, data_folder_newer, data_folder_missing,
            data_folder_read_only.
    """
    with _named_refusals(path):
        about = _read(path)
    if about is None:
        raise Rejected("data_folder_missing", path=str(path))
    return about


def close_folder(folder: Folder) -> None:
    """Let go of the folder, so that another process may own it."""
    os.close(folder.lock)


def secret(folder: Folder, name: str, make: Callable[[], str]) -> str:
    """The secret of this name that the folder keeps, made once; only its owner may read the file."""
    file = folder.path / (name + _SUFFIX)
    with _named_refusals(folder.path):
        if not file.exists():
            text = make()
            assert text
            _write_once(file, text.encode(), mode=0o600)
        return file.read_text().strip()


def remove(folder: Folder) -> None:
    """
    Delete what we keep in an open test folder, and the folder itself where nothing else is in it.

    The lock is still held, so that nobody comes in meanwhile: close the folder afterwards.

    Raises:
        Rejected: data_folder_is_live. Real money is never deleted by a command.
    """
    if folder.environment is not Environment.TEST:
        raise Rejected("data_folder_is_live", path=str(folder.path))
    with _named_refusals(folder.path):
        for pattern in _OURS:
            for file in folder.path.glob(pattern):
                file.unlink()
        with contextlib.suppress(OSError):  # Something that is not ours is in it: it stays.
            folder.path.rmdir()


def _refuse_other_environment(path: Path, about: About | None, create: Environment | None) -> None:
    if about is not None and create not in (None, about.environment):
        raise Rejected(
            "data_folder_other_environment",
            path=str(path),
            environment=str(about.environment),
            asked=str(create),
        )


def _read(path: Path) -> About | None:
    """What the folder says of itself; None where there is none yet."""
    if not path.exists():
        return None
    if not path.is_dir():
        raise Rejected("data_folder_not_ours", path=str(path), problem="it is not a folder")
    file = path / _ABOUT
    # What a first start that was interrupted, or is under way, may have left there, of no value.
    others = {entry.name for entry in path.iterdir()} - {_LOCK, _ABOUT}
    is_begun = all(name.startswith(_ABOUT) and name.endswith(_NEW) for name in others)
    if not file.exists():
        if is_begun:
            return None
        problem = f"it holds other files and no {_ABOUT}"
        raise Rejected("data_folder_not_ours", path=str(path), problem=problem)
    try:
        found = msgspec.json.decode(file.read_bytes())
        format = msgspec.convert(found["format"], int)
        if format > FORMAT:
            problem = f"its format is {format}, this version knows {FORMAT}"
            raise Rejected("data_folder_newer", path=str(path), problem=problem)
        return msgspec.convert(found, About)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        problem = f"its {_ABOUT} cannot be read"
        raise Rejected("data_folder_not_ours", path=str(path), problem=problem) from error


def _write_about(
    path: Path, environment: Environment, *, now: int, entropy: Callable[[int], bytes]
) -> About:
    about = About(
        format=FORMAT,
        id=ids.text(ids.ordered(clock.milliseconds(now), entropy(9))),
        environment=environment,
        created_at=clock.to_datetime(now),
    )
    text = msgspec.json.format(msgspec.json.encode(about)) + b"\n"
    _write_once(path / _ABOUT, text, mode=0o644)
    made = _read(path)  # By us, or by another process a moment before.
    assert made is not None
    return made


def _write_once(file: Path, content: bytes, *, mode: int) -> None:
    """
    Write a file so that a crash leaves either nothing of it or all of it; one that is there stays.
    """
    new = file.with_name(f"{file.name}.{os.getpid()}{_NEW}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(new, file)
    new.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_unless_writable(path: Path) -> None:
    for file in (path, *path.glob("*.sqlite*"), *path.glob(_LOCK)):
        if not os.access(file, os.R_OK | os.W_OK):
            raise Rejected("data_folder_read_only", path=str(file))


def _take_lock(path: Path, *, shared: bool) -> int:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if not shared or os.fstat(lock).st_size > _LOCK_BYTES_MAX:
            os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        owner = ", ".join(_holders(lock))
        os.close(lock)
        raise Rejected("data_folder_in_use", path=str(path), process=owner) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _holders(lock: int) -> list[str]:
    """The processes that wrote themselves down in the lock and are still there, for a person to read."""
    written = os.pread(lock, _LOCK_BYTES_MAX, 0).decode(errors="replace").split()
    return [number for number in dict.fromkeys(written) if Path("/proc", number).exists()]


def _refuse_full_disk(path: Path) -> None:
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    if free < FREE_BYTES_MIN:
        raise Rejected("disk_full", path=str(path), free_bytes=free, needed_bytes=FREE_BYTES_MIN)


@contextlib.contextmanager
def _named_refusals(path: Path) -> Iterator[None]:
    """Turn what the system says about a folder we may not write, or a full disk, into our codes."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Rejected("disk_full", path=str(path)) from error
        if error.errno in _READ_ONLY:
            raise Rejected("data_folder_read_only", path=str(path)) from error
        raise
