"""What the figures were measured on and with: without it they say nothing."""

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from rich.table import Table

SERVER_CORE = 0
LOAD_CORE = 1
FDATASYNC_ROUNDS = 300


def pinned(core: int) -> tuple[str, ...]:
    """The words before a command that keep it on one core; none where that cannot be done."""
    if shutil.which("taskset") is None or (os.cpu_count() or 1) < 2:
        return ()
    return ("taskset", "-c", str(core))


def fdatasync_seconds(folder: Path) -> float:
    """What one fdatasync costs on the disk of this folder: the floor under every durable answer."""
    path = folder / "fdatasync-probe"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        started = time.perf_counter()
        for n in range(FDATASYNC_ROUNDS):
            os.pwrite(descriptor, bytes(4096), (n % 64) * 4096)
            os.fdatasync(descriptor)
        return (time.perf_counter() - started) / FDATASYNC_ROUNDS
    finally:
        os.close(descriptor)
        path.unlink()


def description(folder: Path, *, rounds: int) -> Table:
    """The machine, the versions, the disk and the load of others, as a table of two columns."""
    table = Table(title="Measured on", show_header=False, title_justify="left")
    pins = (
        f"server on core {SERVER_CORE}, load on core {LOAD_CORE} (taskset)"
        if pinned(SERVER_CORE)
        else "none"
    )
    rows = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{_turn_nanoseconds():.0f} ns for a turn of an empty loop",
        "sqlite": sqlite3.sqlite_version,
        "disk": f"one fdatasync {fdatasync_seconds(folder) * 1000:.2f} ms",
        "load of others": "{:.2f} over one minute, {:.2f} over five".format(*os.getloadavg()[:2]),
        "pinning of the HTTP part": pins,
        "generator of the HTTP part": _first_line("wrk", "-v"),
        "rounds": f"{rounds}; median (smallest..largest)",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def resident_mib(pid: int) -> float:
    """The memory of a process that is really there, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def _turn_nanoseconds() -> float:
    """One turn of an empty loop: tells a slow build of Python, or a machine that others use too."""
    turns = 2_000_000
    started = time.perf_counter()
    for _ in range(turns):
        pass
    return (time.perf_counter() - started) / turns * 1e9


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not here"
    done = subprocess.run(  # noqa: S603 - A command of our own.
        command, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).splitlines()[0].partition(" Copyright")[0]
