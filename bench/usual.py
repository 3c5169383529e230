"""
The usual design, to hold ours against: FastAPI, SQLAlchemy async, PostgreSQL, a commit per gift.

One transaction per gift: lock the wallet's row, check, take the coins, insert the gift (the key is
unique), add to the creator. It has no sign-in and no limits, which flatters it; the bearer token is
the viewer's number. Started by bench/http.py with `USUAL_DATABASE_URL` set.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine

metadata = MetaData()
wallets = Table(
    "wallets",
    metadata,
    Column("viewer_id", Integer, primary_key=True),
    Column("coins", BigInteger, nullable=False),
)
creators = Table(
    "creators",
    metadata,
    Column("room_id", String(32), primary_key=True),
    Column("diamond_units", BigInteger, nullable=False),
)
gifts = Table(
    "gifts",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("viewer_id", ForeignKey("wallets.viewer_id"), nullable=False, index=True),
    Column("room_id", ForeignKey("creators.room_id"), nullable=False, index=True),
    Column("item_id", String(40), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("coins", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

PRICE_COINS = 1
SHARE_BPS = 5_000
CONNECTIONS = 32

COINS_EACH = 10**9
ROOM = "room"


async def fill(url: str, *, viewers: int) -> None:
    """Make the tables, viewers 1 to `viewers` with coins enough, and the one hot creator."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        rows = [{"viewer_id": n, "coins": COINS_EACH} for n in range(1, viewers + 1)]
        await connection.execute(insert(wallets), rows)
        await connection.execute(insert(creators).values(room_id=ROOM, diamond_units=0))
    await engine.dispose()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["USUAL_DATABASE_URL"]
    app.state.engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
    yield
    await app.state.engine.dispose()


app = FastAPI(lifespan=lifespan)


class GiftRequest(BaseModel):
    item_id: str
    quantity: int = Field(default=1, ge=1, le=9_999)


class SentGift(BaseModel):
    id: int
    coins: int
    room_id: str
    item_id: str
    quantity: int
    created_at: datetime


class GiftAnswer(BaseModel):
    gift: SentGift
    balance: int


@app.get("/readyz")
async def ready() -> dict[str, str]:
    async with app.state.engine.connect() as connection:
        await connection.execute(select(1))
    return {"status": "ready"}


@app.post("/v1/rooms/{room_id}/gifts", status_code=201)
async def send_gift(
    room_id: str,
    request: GiftRequest,
    authorization: Annotated[str, Header()],
    idempotency_key: Annotated[str, Header()],
) -> GiftAnswer:
    viewer_id = int(authorization.removeprefix("Bearer "))
    coins = PRICE_COINS * request.quantity
    now = datetime.now(UTC)
    async with app.state.engine.begin() as connection:
        held = await connection.scalar(
            select(wallets.c.coins).where(wallets.c.viewer_id == viewer_id).with_for_update()
        )
        if held is None or held < coins:
            raise HTTPException(402, "insufficient coins")
        await connection.execute(
            update(wallets)
            .where(wallets.c.viewer_id == viewer_id)
            .values(coins=wallets.c.coins - coins)
        )
        gift_id = await connection.scalar(
            insert(gifts)
            .values(
                key=idempotency_key,
                viewer_id=viewer_id,
                room_id=room_id,
                item_id=request.item_id,
                quantity=request.quantity,
                coins=coins,
                created_at=now,
            )
            .returning(gifts.c.id)
        )
        await connection.execute(
            update(creators)
            .where(creators.c.room_id == room_id)
            .values(diamond_units=creators.c.diamond_units + coins * SHARE_BPS)
        )
    assert gift_id is not None
    gift = SentGift(
        id=gift_id,
        coins=coins,
        room_id=room_id,
        item_id=request.item_id,
        quantity=request.quantity,
        created_at=now,
    )
    return GiftAnswer(gift=gift, balance=held - coins)
