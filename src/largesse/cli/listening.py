"""The socket that a server listens on, taken before anything else is opened."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import msgspec

from largesse.errors import Rejected
from largesse.settings import Settings, address

BACKLOG_MAX = 2_048
"""Connections the system may hold for us that we have not accepted yet."""


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """
    The socket of these settings, listening at once: a second server is refused now, not after it opened its stores.

    Who connects before the app is open waits for its answer that long.
    """
    where = {"host": settings.host, "port": settings.port}
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise Rejected("address_unusable", **where, problem=error.strerror) from error
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.listen(BACKLOG_MAX)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                other = settings.port + 1 if settings.port < 65_535 else 0
                raise Rejected("address_in_use", **where, other=other) from error
            raise Rejected("address_unusable", **where, problem=error.strerror) from error
        yield listener


def at_its_port(settings: Settings, listener: socket.socket) -> Settings:
    """The settings with the port that the socket got, where they asked for any free one."""
    if settings.port:
        return settings
    host, port = listener.getsockname()[:2]
    public_url = settings.public_url.replace(address(settings.host, 0), address(host, port))
    return msgspec.structs.replace(settings, port=port, public_url=public_url)
