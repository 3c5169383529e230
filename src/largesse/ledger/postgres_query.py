"""
Searches in a PostgreSQL by what stands in its rows, without an index that every gift would pay.

It may read a whole table, so it is done on a connection of its own and takes the time it takes.
"""

from largesse import ids
from largesse.ledger import QueryFilter, postgres_rows
from largesse.ledger.model import Account, Posted
from largesse.ledger.postgres_server import Connection

_FIELDS = ("user_data_128", "user_data_64", "user_data_32", "ledger", "code")
_SECONDS_MAX = 3_600


async def transfers(connection: Connection, filter: QueryFilter) -> list[Posted]:
    """See `Ledger.query_transfers`."""
    rows = await _rows(connection, postgres_rows.SELECT_TRANSFERS, filter)
    return [postgres_rows.posted(row) for row in rows]


async def accounts(connection: Connection, filter: QueryFilter) -> list[Account]:
    """See `Ledger.query_accounts`."""
    rows = await _rows(connection, postgres_rows.SELECT_ACCOUNTS, filter)
    return [postgres_rows.account(row) for row in rows]


async def _rows(
    connection: Connection, select: str, filter: QueryFilter
) -> list[tuple[object, ...]]:
    assert filter.limit > 0
    conditions = ["true"]
    values: list[int | bytes] = [filter.limit]

    def keep(column: str, comparison: str, value: int | bytes) -> None:
        if value not in (0, ids.ZERO):
            values.append(value)
            conditions.append(f"{column} {comparison} ${len(values)}")

    for field in _FIELDS:
        keep(field, "=", getattr(filter, field))
    keep('"timestamp"', ">=", filter.timestamp_min)
    keep('"timestamp"', "<=", filter.timestamp_max)
    direction = "DESC" if filter.newest_first else "ASC"
    rows: list[tuple[object, ...]] = await connection.fetch(
        f'{select} WHERE {" AND ".join(conditions)} ORDER BY "timestamp" {direction} LIMIT $1',
        *values,
        timeout=_SECONDS_MAX,
    )
    return rows
