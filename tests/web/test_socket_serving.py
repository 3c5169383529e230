"""Sockets of a server as it is really started: its files, its end, and who never finishes a request."""

import asyncio
import resource
from types import SimpleNamespace

import httpx
from websockets.asyncio.client import connect

from largesse.books.chart import Environment
from largesse.cli import serving
from largesse.settings import Settings

SECONDS = 10


def started(tmp_path, **settings):
    return serving.serving(
        Settings(data=str(tmp_path / "data"), port=0, public_url="http://127.0.0.1:0", **settings),
        create=Environment.TEST,
    )


async def test_who_never_finishes_his_first_request_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.5)
    async with started(tmp_path) as running:
        host, port = httpx.URL(running.url).host, httpx.URL(running.url).port
        half = b"GET /v1/me/live HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upg"
        silent, slow, quick = [await asyncio.open_connection(host, port) for _ in range(3)]
        slow[1].write(half)
        quick[1].write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await quick[0].readuntil(b"}")).startswith(b"HTTP/1.1 200")
        async with connect(running.url.replace("http", "ws") + "/v1/me/live") as socket:
            for reader, _ in (silent, slow):
                assert await asyncio.wait_for(_rest(reader), SECONDS) == b""
            await socket.send("{}")
            assert "frame_invalid" in await socket.recv()
        quick[1].write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await quick[0].readuntil(b"}")).startswith(b"HTTP/1.1 200")
        for _, writer in (silent, slow, quick):
            writer.close()


async def _rest(reader):
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_the_end_of_the_server_is_told_to_everybody_at_once(tmp_path):
    async with started(tmp_path) as running:
        url = running.url.replace("http", "ws") + "/v1/me/live"
        sockets = [await connect(url) for _ in range(20)]
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < SECONDS / 2
    for socket in sockets:
        await socket.wait_closed()
        assert socket.close_code == 1001


async def test_a_server_asks_for_the_files_that_its_sockets_need(monkeypatch):
    infinite = resource.RLIM_INFINITY
    limits = [(1_024, 20_000), (1_024, infinite), (20_000, 20_000), (infinite, infinite)]
    asked = []
    fake = SimpleNamespace(
        RLIMIT_NOFILE=resource.RLIMIT_NOFILE,
        RLIM_INFINITY=resource.RLIM_INFINITY,
        getrlimit=lambda _: limits.pop(0),
        setrlimit=lambda _, wanted: asked.append(wanted),
    )
    monkeypatch.setattr(serving, "resource", fake)
    while limits:
        serving._allow_files()
    assert asked == [(20_000, 20_000), (serving.FILES_MAX, infinite)]
