"""
Mail: by SMTP, or printed where no server is set, as in the demo.

`send` only takes a mail on. That keeps a slow server from slowing down a request, and from telling
by the time it takes whether there was somebody to write to.
"""

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from typing import Protocol

WAITING_MAX = 1_000
"""Mails that may wait for the server; one more is dropped, and that is logged."""
SERVER_SECONDS = 20
"""How long the server may take for one step."""

log = logging.getLogger(__name__)


class Mailer(Protocol):
    """Whatever takes our mail."""

    async def send(self, to: str, subject: str, text: str) -> None:
        """Take on a mail; nothing is said here about whether it arrives."""
        ...


class PrintedMailer:
    """Prints every mail instead of sending it, and keeps the last."""

    def __init__(self, write: Callable[[str], object] = print) -> None:
        self.last: EmailMessage | None = None
        self._write = write

    async def send(self, to: str, subject: str, text: str) -> None:
        """Print a mail."""
        self.last = _message("largesse@localhost", to, subject, text)
        self._write(f"Mail to {to}: {subject}\n\n{text}")


class SmtpMailer:
    """Sends mail by an SMTP server, one at a time, in the order taken on."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str = "",
        password: str = "",
        starttls: bool = True,
        sender: str,
    ) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._starttls = starttls
        self._sender = sender
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mail")
        self._waiting: set[asyncio.Future[None]] = set()

    async def send(self, to: str, subject: str, text: str) -> None:
        """Take on a mail. A failure is logged, without what the mail says."""
        if len(self._waiting) >= WAITING_MAX:
            log.error("Too many mails are waiting; one was dropped.")
            return
        message = _message(self._sender, to, subject, text)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, partial(self._deliver, message))
        self._waiting.add(future)
        future.add_done_callback(self._done)

    async def close(self) -> None:
        """Wait for the mails that were taken on."""
        await asyncio.gather(*self._waiting, return_exceptions=True)
        self._thread.shutdown(wait=False)

    def _deliver(self, message: EmailMessage) -> None:
        with smtplib.SMTP(self._host, self._port, timeout=SERVER_SECONDS) as server:
            if self._starttls:
                server.starttls(context=ssl.create_default_context())
            if self._username:
                server.login(self._username, self._password)
            server.send_message(message)

    def _done(self, future: asyncio.Future[None]) -> None:
        self._waiting.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("A mail was not sent: %s: %s", type(error).__name__, error)


def _message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("<> ") or "localhost")
    message.set_content(text)
    return message
