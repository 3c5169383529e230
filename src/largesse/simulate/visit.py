"""One visit, from the door to the good-bye; and the creator's side of it."""

import asyncio
import time
from collections.abc import Iterator

from largesse.simulate import api
from largesse.simulate.checkout import choose, packages_of, recharge
from largesse.simulate.choice import Item, item_for, package_for, quantity_for, sentence_for
from largesse.simulate.plan import Act, Answer, Follow, Likes, Line, Share, Wish
from largesse.simulate.rooms import ROOM_LOST, forget_room, open_room
from largesse.simulate.seat import Seat, seated
from largesse.simulate.stage import LATE_SECONDS_MAX, Guest, Stage, pause

RECHARGES_PER_GIFT_MAX = 5
SOCKET_TRIES_MAX = 3
UNSURE = ("internal_error", "ledger_unavailable", "ledger_busy", "records_unavailable")
"""Refusals that pass: the same gift is asked for again over HTTP, which knows how to wait."""


async def stay(guest: Guest) -> None:
    """One visit: perhaps a recharge, then everything at its time, until it is time to leave."""
    guest.player.is_visiting = True
    try:
        guest.stage.count(visits=1)
        begun = time.monotonic()
        async with seated(guest.stage, guest.player, guest.visit.creator) as seat:
            if guest.visit.recharge_draw is not None:
                packages = await packages_of(guest)
                if packages:
                    first = package_for(packages, guest.visit.kind, guest.visit.recharge_draw)
                    await recharge(guest, first)
            for act in guest.visit.acts:
                if await _is_time(guest.stage, begun + act.after_seconds):
                    await _do(guest, seat, act)
            await _is_time(guest.stage, begun + guest.visit.lasts_seconds)
    finally:
        guest.player.is_visiting = False


async def host(stage: Stage, creator: int, answers: Iterator[Answer]) -> None:
    """A creator in his own room, who says something now and then, until the play is over."""
    begun = time.monotonic()
    async with seated(stage, stage.creators[creator], creator) as seat:
        for answer in answers:
            if await _is_time(stage, begun + answer.at_seconds):
                heard, seat.heard = seat.heard, None
                await _say(stage, seat, sentence_for(answer, heard))


async def _is_time(stage: Stage, due: float) -> bool:
    """Wait for it; whether it is not too late."""
    await pause(stage, due - time.monotonic())
    return time.monotonic() - due <= LATE_SECONDS_MAX


async def _do(guest: Guest, seat: Seat, act: Act) -> None:
    match act:
        case Wish():
            await _give(guest, seat, act)
        case Line(text=text):
            await _say(guest.stage, seat, text)
        case Likes(count=count):
            if await seat.tell(op="like", count=count):
                guest.stage.count(likes=count)
        case Follow():
            if not seat.is_following and await seat.tell(op="follow", following=True):
                seat.is_following = True
                guest.stage.count(follows=1)
        case Share():
            if await seat.tell(op="share"):
                guest.stage.count(shares=1)


async def _say(stage: Stage, seat: Seat, text: str) -> None:
    """Say it once; who is told to slow down says it later, who is not in keeps it to himself."""
    key = api.new_key()
    frame = await seat.ask(key, op="chat", text=text)
    if frame is not None and frame.code == "rate_limited":
        stage.count(refusal=frame.code)
        await pause(stage, frame.retry_after_seconds)
        frame = await seat.ask(key, op="chat", text=text)
    if frame is not None:
        stage.count(refusal=frame.code or None, lines=frame.op == "ack")


async def _give(guest: Guest, seat: Seat, wish: Wish) -> None:
    """Send one gift, recharging where coins are missing. Every new attempt has a new key."""
    item = item_for(guest.stage.items, wish)
    if wish.repeats and not item.streakable:
        return
    quantity = quantity_for(item, wish, guest.visit.kind)
    for _ in range(RECHARGES_PER_GIFT_MAX + 1):
        await seat.until_in()
        room_id = await open_room(guest.stage, guest.visit.creator)
        if room_id is None:
            return
        answer = await _send(guest, seat, room_id, item, quantity)
        if isinstance(answer, api.Gift):
            guest.stage.count(gifts=1, coins_gifted=answer.coins)
            return
        if answer.code in ROOM_LOST:
            forget_room(guest.stage, guest.visit.creator, room_id)
            continue
        if answer.code != "insufficient_coins" or answer.package is None:
            return
        if not await recharge(guest, await choose(guest, wish, answer.package)):
            return


async def _send(
    guest: Guest, seat: Seat, room_id: str, item: Item, quantity: int
) -> api.Gift | api.Problem:
    """
    Ask for one gift under one key until there is an answer.

    Through the socket, also when it was lost and is back; over HTTP where it stays away, or knows
    another room by now.
    """
    key = api.new_key()
    body = {"item_id": item.id, "quantity": quantity}
    is_open = False  # Whether an earlier try may have been carried out.
    for _ in range(SOCKET_TRIES_MAX):
        if not seat.is_in or seat.room_id != room_id:
            break
        frame = await seat.ask(key, op="gift", **body)
        if frame is None:
            is_open = True
            guest.stage.count(errors=1)
            await seat.until_in()
        elif frame.gift is not None:
            guest.stage.count(gifts_by_socket=1)
            return frame.gift
        else:
            guest.stage.count(refusal=frame.code)
            if frame.code in UNSURE:
                is_open = True
                break
            if frame.code != "rate_limited":
                return api.Problem(frame.code, package=frame.package)
            if is_open:  # Even at the end one wants to know what became of it.
                await asyncio.sleep(frame.retry_after_seconds)
            else:
                await pause(guest.stage, frame.retry_after_seconds)
    path = f"/v1/rooms/{room_id}/gifts"
    answer = await api.call(
        guest.stage, guest.player, "POST", path, api.SentGift, body=body, key=key, is_open=is_open
    )
    return answer if isinstance(answer, api.Problem) else answer.gift
