"""
Acknowledged means durable: the disk is asked between a gift's request and its 201.

The system calls of a serving process are read with strace while viewers gift over HTTP.
"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bench.serving import Server
from tests.faults import house, town
from tests.faults.town import Gift

SENDERS = 8
GIFTS_EACH = 12
CALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync"
ATTACH_SECONDS_MAX = 10

_RECEIVED = re.compile(r"(?:read|recvfrom)\((\d+), \"POST /v1/rooms/")
_RECEIVED_LATER = re.compile(r"<\.\.\. (?:read|recvfrom) resumed>\"POST /v1/rooms/")
_RECEIVING = re.compile(r"(?:read|recvfrom)\((\d+),? *<unfinished")
_ANSWERED = re.compile(r"(?:write|writev|sendto|sendmsg)\((\d+), .*HTTP/1\.1 201")
_SYNCED = re.compile(r"(?:fsync|fdatasync)\(\d+\) += 0|<\.\.\. (?:fsync|fdatasync) resumed>.*= 0")


class Answered(msgspec.Struct, frozen=True):
    """A 201: the lines of the trace on which its request came and it left."""

    request: int
    answer: int


async def test_every_gift_is_on_the_disk_before_it_is_answered(tmp_path: Path) -> None:
    """Between a request and its 201 the process was told by the disk that its data is there."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    server = house.start(house.found(tmp_path))
    try:
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=SENDERS, seed=1)
            for viewer in range(SENDERS):
                order = town.Order(viewer, town.new_key(people))
                await town.recharge(client, people, order)
                await town.credited(client, people, order)

            async def send(viewer: int) -> None:
                for _ in range(GIFTS_EACH):
                    gift = Gift(viewer, town.new_key(people), 1)
                    assert (await town.send(client, people, gift)).status_code == 201

            trace = tmp_path / "trace"
            with _traced(server, trace):
                await asyncio.gather(*(send(viewer) for viewer in range(SENDERS)))
    finally:
        house.kill(server)

    answered, syncs = _read(trace.read_text(errors="replace").splitlines())
    assert len(answered) == SENDERS * GIFTS_EACH
    for gift in answered:
        assert any(gift.request < sync < gift.answer for sync in syncs), "answered before the disk"
    # One sync serves many gifts: that is the group commit.
    assert len(syncs) >= GIFTS_EACH


@contextmanager
def _traced(server: Server, trace: Path) -> Iterator[None]:
    """The system calls of the process and all of its threads, in their order, go to the file."""
    command = ["strace", "-f", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace)]
    strace = subprocess.Popen(
        [*command, "-p", str(server.process.pid)], stderr=subprocess.PIPE, text=True
    )
    assert strace.stderr is not None
    # It says "attached" on a line of its own, or why it may not.
    line = strace.stderr.readline()
    if "attached" not in line:
        strace.kill()
        strace.communicate()
        pytest.skip(f"strace may not attach to a process here: {line.strip()}")
    try:
        yield
    finally:
        strace.terminate()
        strace.communicate(timeout=ATTACH_SECONDS_MAX)


def _read(lines: list[str]) -> tuple[list[Answered], list[int]]:
    """Requests with their answers, by the descriptor of the connection; and the syncs that ended."""
    begun: dict[str, int] = {}
    waiting: dict[str, str] = {}
    answered: list[Answered] = []
    syncs: list[int] = []
    for number, line in enumerate(lines):
        thread = line.split(maxsplit=1)[0]
        if found := _RECEIVED.search(line):
            begun[found[1]] = number
        elif found := _RECEIVING.search(line):
            waiting[thread] = found[1]
        elif _RECEIVED_LATER.search(line):
            begun[waiting[thread]] = number
        elif found := _ANSWERED.search(line):
            answered.append(Answered(begun.pop(found[1]), number))
        elif _SYNCED.search(line):
            syncs.append(number)
    return answered, syncs
