"""One thread that owns one SQLite connection; the event loop hands it work and is never blocked."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from largesse.ledger import LedgerUnavailable

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]


class FileThread:
    """Runs what it is given, in order. `db` may only be used from inside it."""

    db: sqlite3.Connection

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._open = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Make the connection that this thread owns."""

        def keep() -> None:
            self.db = connect()
            self._open = True

        await self.call(keep)

    def submit(self, function: Callable[[], Any], done: Done) -> None:
        """Run it in the thread; then `done(result, problem)` on the loop."""
        self._jobs.put((function, done))

    async def call(self, function: Callable[[], T]) -> T:
        """
        Run it in the thread and wait for its result.

        Raises:
            LedgerUnavailable: SQLite said no.
        """
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Any, problem: BaseException | None) -> None:
            if future.done():
                return
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)

        self.submit(function, done)
        return await future

    async def close(self) -> None:
        """Finish what was handed over, close the connection, end the thread."""
        if not self._thread.is_alive():
            return
        if self._open:
            await self.call(self.db.close)
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, done = job
            result: Any = None
            problem: BaseException | None = None
            try:
                result = function()
            except sqlite3.Error as error:
                problem = LedgerUnavailable(f"{type(error).__name__}: {error}")
                problem.__cause__ = error
            except BaseException as error:
                problem = error
            self._loop.call_soon_threadsafe(done, result, problem)
            # Nothing of this job is kept alive while the next one is waited for.
            del job, function, done, result, problem
