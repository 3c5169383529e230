"""Where a fault happens: processes on the same stores, a crowd before them, the account at the end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import msgspec

from bench import audience, serving
from bench.faults.crowd import Crowd, held_against_ledger
from bench.http_gifts import HOLDS, checked
from bench.sockets import OPEN_LARGESSE

VIEWERS = 32
ASKED_AGAIN = 200


class Scene(msgspec.Struct):
    """`servers[n]` listens on `ports[n]`, again and again; `crowd` knows all of them."""

    environ: Mapping[str, str]
    folder: Path
    ports: Sequence[int]
    servers: list[serving.Server]
    crowd: Crowd

    def start(self, number: int) -> None:
        """Start that process (again) and wait until it answers."""
        self.servers[number] = _start(self.environ, self.folder, self.ports[number])
        serving.ready(self.servers[number])

    def kill(self, number: int) -> None:
        """`kill -9`, and wait until the process is gone."""
        serving.stop(self.servers[number], signal.SIGKILL)


@asynccontextmanager
async def scene(
    environ: Mapping[str, str], folder: Path, *, processes: int, seed: int
) -> AsyncIterator[Scene]:
    """
    So many processes, and a crowd that gifts while the block runs.

    At the end everybody is answered, and the books are held against the answers.

    Raises:
        AssertionError: an answer was not kept, or the books do not hold.
    """
    data = Path(environ["LARGESSE_DATA"])
    made = await audience.seat(data, viewers=VIEWERS, url=environ["LARGESSE_LEDGER_URL"])
    ports = [serving.free_port() for _ in range(processes)]
    urls = [f"http://{serving.HOST}:{port}" for port in ports]
    limits = httpx.Limits(max_connections=VIEWERS * 2)
    with ExitStack() as running:
        async with httpx.AsyncClient(limits=limits) as client:
            crowd = Crowd(client, made, urls, seed)
            servers = [_start(environ, folder, port) for port in ports]
            here = Scene(environ, folder, ports, servers, crowd)
            running.callback(lambda: [serving.stop(each) for each in here.servers])
            for server in servers:
                serving.ready(server)
            crowd.begin()
            yield here
            await crowd.stop()
            await crowd.ask_again(ASKED_AGAIN)
    await _account(here, made)


async def _account(here: Scene, made: audience.Audience) -> None:
    """Print what was asked, answered and found."""
    crowd = here.crowd
    print(
        f"{len(crowd.gifts):,} gifts, every one answered; the slowest after {crowd.seconds_max:.1f} s."
    )
    for what, count in crowd.unanswered.most_common():
        print(f"  asked again after: {what}, {count:,} times")
    print(
        f"{min(ASKED_AGAIN, len(crowd.gifts))} of them were asked for once more: the same answers."
    )
    wrong = await held_against_ledger(crowd, made, here.environ)
    assert not wrong, wrong
    print("In the ledger: every answered gift, once; the coins spent are the gifts answered.")
    words = await asyncio.to_thread(checked, here.environ)
    print(words)
    assert words == HOLDS, words


def _start(environ: Mapping[str, str], folder: Path, port: int) -> serving.Server:
    return serving.start(
        [*OPEN_LARGESSE, "serve"],
        port=port,
        log=folder / f"serve-{port}.log",
        environ={**environ, "LARGESSE_PORT": str(port)},
    )
