"""
The composition root: the one place where parts are named, made and put together.

Only this file says which engine, which provider and which mailer; everyone else sees a protocol.
Parts that the settings do not ask for are not imported. What opens here is closed here, in the
reverse order.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import blake2b
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from largesse import catalog as catalogs
from largesse import clock as clocks
from largesse import folder as folders
from largesse.books import chart
from largesse.books.chart import Environment
from largesse.catalog import Catalog
from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.folder import Folder
from largesse.identity.sessions import Sessions
from largesse.ledger import Ledger, LedgerUnavailable, Problem, Total
from largesse.limits import RateLimiter
from largesse.notify.mail import Mailer
from largesse.payments import Provider
from largesse.records import database, installation, price_lists
from largesse.records.database import Database, RecordsUnavailable
from largesse.records.installation import Installation
from largesse.rooms.bus import Bus, open_bus
from largesse.rooms.live import LiveRooms
from largesse.settings import (
    POSTGRES,
    PREFIX,
    TIGERBEETLE,
    Settings,
    address,
    are_stores_shared,
    scheme_of,
    without_password,
)

if TYPE_CHECKING:
    from largesse.payments.sandbox_service import SandboxService
    from largesse.reconcile import Verdict

RECORDS_FILE = "records.sqlite"
LEDGER_FILE = "ledger.sqlite"
SANDBOX_FILE = "sandbox.sqlite"
SANDBOX_SECRET = "sandbox"  # noqa: S105 - The name of the secret, not the secret.
SANDBOX_SECRET_BYTES = 32
WEB_SECRET = "web"  # noqa: S105 - The name of the secret, not the secret.
WEB_SECRET_BYTES = 32

Entropy = Callable[[int], bytes]

_STORE_REFUSALS = {
    "records_not_migrated": ("data_folder_older", "its records are of an older version"),
    "records_newer": ("data_folder_newer", "its records are of a newer version"),
    "records_not_ours": ("data_folder_not_ours", "its records are somebody else's database"),
    "ledger_newer": ("data_folder_newer", "its ledger is of a newer version"),
    "ledger_not_ours": ("data_folder_not_ours", "its ledger is somebody else's file"),
}
"""What is said of a file in the data folder, in the words of the folder."""
_UNAVAILABLE = {
    "disk_full": "disk_full",
    "read_only": "data_folder_read_only",
    "cannot_open": "data_folder_read_only",
}


class Stores(msgspec.Struct, frozen=True):
    """
    An open data folder with its two stores, and nothing that acts by itself.

    `secret` signs what leaves us and comes back; every host of an installation has the same.
    """

    folder: Folder
    secret: bytes
    db: Database
    ledger: Ledger


class JobState(msgspec.Struct):
    """How a job of the worker is doing. `failures_in_a_row` is 0 while it is well."""

    runs: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    problem: str = ""
    run_at: int = 0


class Health(msgspec.Struct):
    """
    What this process knows of itself, for operators; a restart forgets it.

    `jobs` says how each job of the worker is doing, where the worker runs in this process; `verdict`
    is the newest one on the books.
    """

    jobs: dict[str, JobState] = {}
    verdict: "Verdict | None" = None


class App(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything that a running installation consists of.

    `worker_wake` is set by whoever has given the worker something to do at once. `secret` signs what
    leaves us and comes back (forms, tickets); each use names its purpose in what it signs.
    `process_id` is another one for every start; `is_shared` says that other processes may be at the
    same stores.
    """

    settings: Settings
    process_id: str
    is_shared: bool
    clock: Clock
    entropy: Entropy
    environment: Environment
    folder: Folder
    secret: bytes
    db: Database
    ledger: Ledger
    catalog: Catalog
    price_list_version: int
    sessions: Sessions
    rooms: LiveRooms
    limiter: RateLimiter
    mailer: Mailer
    providers: dict[str, Provider]
    sandbox: "SandboxService | None"
    worker_wake: asyncio.Event
    health: Health
    opened: contextlib.AsyncExitStack


async def open_app(
    settings: Settings,
    *,
    create: Environment | None = None,
    clock: Clock | None = None,
    entropy: Entropy = os.urandom,
) -> App:
    """
    Open the data folder of these settings and put everything together.

    With `create`, a folder that is not there yet is made, and one of an older version migrated.
    Close it with `close_app`.

    Raises:
        Rejected: what `open_stores` and `open_bus` raise; catalog_invalid, file_unreadable.
    """
    clock = clock or clocks.SystemClock()
    process_id = _process_id(entropy)
    async with contextlib.AsyncExitStack() as opened:
        stores = await opened.enter_async_context(
            open_stores(settings, create=create, clock=clock, entropy=entropy)
        )
        catalog = read_catalog(settings)
        providers, sandbox = await _payments(
            settings, stores.folder, opened, clock=clock, entropy=entropy
        )
        environment = stores.folder.environment
        house = chart.house_accounts(environment, _currencies(catalog), tuple(providers))
        await stores.ledger.create_accounts(house)
        rooms = LiveRooms(
            stores.db,
            stores.ledger,
            catalog,
            clock,
            environment,
            is_shared=are_stores_shared(settings),
            process_id=process_id if are_stores_shared(settings) else "",
            bus=await _bus(settings, process_id, opened),
        )
        await rooms.load()
        return App(
            settings=settings,
            process_id=process_id,
            is_shared=are_stores_shared(settings),
            clock=clock,
            entropy=entropy,
            environment=environment,
            folder=stores.folder,
            secret=stores.secret,
            db=stores.db,
            ledger=stores.ledger,
            catalog=catalog,
            price_list_version=await price_lists.current_version(
                stores.db, catalog.content, clock.now()
            ),
            sessions=Sessions(stores.db, seconds=settings.session_hours * 3_600),
            rooms=rooms,
            limiter=RateLimiter(),
            mailer=_mailer(settings, opened),
            providers=providers,
            sandbox=sandbox,
            worker_wake=asyncio.Event(),
            health=Health(),
            opened=opened.pop_all(),
        )


async def close_app(app: App) -> None:
    """Close everything in the reverse order of its opening; what was taken on is finished first."""
    await app.opened.aclose()


@contextlib.asynccontextmanager
async def open_stores(
    settings: Settings,
    *,
    create: Environment | None = None,
    is_secret_new: bool = False,
    clock: Clock,
    entropy: Entropy = os.urandom,
) -> AsyncIterator[Stores]:
    """
    Own the data folder, alone or with other processes of this host, and open records and ledger.

    With `is_secret_new` this host's secret becomes that of the whole installation.

    Raises:
        Rejected: what `folder.open_folder` raises; engine_unknown, engine_not_installed;
            data_folder_older (without `create`), data_folder_newer, data_folder_damaged; of a
            database the same as records_not_migrated, ledger_not_migrated, records_newer,
            ledger_newer, records_not_ours, ledger_not_ours, and database_unreachable,
            database_password_wrong, database_missing, database_too_old, database_unsafe,
            database_not_allowed, store_unavailable; of the installation
            database_other_environment, secret_differs, ledger_of_another_folder; of a cluster ledger_url_invalid,
            ledger_unreachable.
    """
    folder = folders.open_folder(
        Path(settings.data),
        create=create,
        shared=are_stores_shared(settings),
        now=clock.now(),
        entropy=entropy,
    )
    async with contextlib.AsyncExitStack() as opened:
        opened.callback(folders.close_folder, folder)
        with _named_refusals(folder.path, "database_url", settings.database_url):
            db = await _records(settings, create=create is not None)
            opened.push_async_callback(db.close)
            secret = _web_secret(settings, folder, entropy)
            if scheme_of(settings.database_url) in POSTGRES:
                await _join_installation(settings, db, folder, secret, is_secret_new)
        with _named_refusals(folder.path, "ledger_url", settings.ledger_url):
            ledger = await _ledger(settings, clock, create=create is not None)
            opened.push_async_callback(ledger.close)
        yield Stores(folder, secret, db, ledger)


def verify_ledger_file(settings: Settings) -> AsyncIterator[Problem | Total | int] | None:
    """
    `Ledger.verify` of a file that is too damaged to be opened as a ledger; None where the ledger is
    no file.
    """
    if scheme_of(settings.ledger_url) not in ("", "sqlite"):
        return None

    from largesse.ledger import sqlite_verify

    return sqlite_verify.verify(_ledger_file(settings), asyncio.get_running_loop())


async def open_records(settings: Settings) -> Database:
    """
    The records alone, for a command beside the process that owns the folder.

    Raises:
        Rejected: as `open_stores`.
    """
    with _named_refusals(Path(settings.data), "database_url", settings.database_url):
        return await _records(settings, create=False)


def records_url(settings: Settings) -> str:
    """Where the records of these settings are."""
    return settings.database_url or database.sqlite_url(Path(settings.data) / RECORDS_FILE)


def read_catalog(settings: Settings) -> Catalog:
    """
    The catalogue of these settings: their folder's, or the built-in one.

    Raises:
        Rejected: catalog_invalid, file_unreadable.
    """
    return catalogs.load(*catalog_files(settings.catalog))


def catalog_files(folder: str) -> tuple[bytes, bytes]:
    """The bytes of packages.toml and gift-items.toml of a folder; empty means the built-in ones."""
    place: Traversable
    place = Path(folder) if folder else resources.files("largesse") / "data" / "catalog"
    files = (place / "packages.toml", place / "gift-items.toml")
    try:
        packages, gift_items = (file.read_bytes() for file in files)
    except OSError as error:
        raise Rejected(
            "file_unreadable", path=str(error.filename), problem=error.strerror or str(error)
        ) from error
    return packages, gift_items


async def _records(settings: Settings, *, create: bool) -> Database:
    """The records; with `create` made, or brought up to date, first."""
    url = records_url(settings)
    scheme = scheme_of(url)
    if scheme not in ("sqlite", *POSTGRES) or "://" not in url:
        known = "sqlite://, postgresql://"
        setting = f"{PREFIX}DATABASE_URL"
        raise Rejected("engine_unknown", setting=setting, found=scheme, known=known)
    if create:
        await database.migrate(url)
    return await Database.open(url, allow_unsafe=settings.allow_losing_acknowledged_money)


async def _ledger(settings: Settings, clock: Clock, *, create: bool) -> Ledger:
    """The ledger engine that `ledger_url` names by its scheme; empty means the folder's file."""
    url, scheme = settings.ledger_url, scheme_of(settings.ledger_url)
    if scheme in POSTGRES:
        from largesse.ledger import postgres

        is_unsafe_allowed = settings.allow_losing_acknowledged_money
        if create:
            await postgres.migrate(url, allow_unsafe=is_unsafe_allowed)
        return await postgres.PostgresLedger.open(url, clock, allow_unsafe=is_unsafe_allowed)
    if scheme == TIGERBEETLE:
        from largesse.ledger.tigerbeetle import TigerBeetleLedger

        return await TigerBeetleLedger.open(url, clock)
    if scheme not in ("", "sqlite"):
        known = "sqlite://, postgresql://, tigerbeetle://"
        setting = f"{PREFIX}LEDGER_URL"
        raise Rejected("engine_unknown", setting=setting, found=scheme, known=known)

    from largesse.ledger.sqlite import SqliteLedger

    return await SqliteLedger.open(_ledger_file(settings), clock)


def _ledger_file(settings: Settings) -> Path:
    path = settings.ledger_url.partition("://")[2]
    return Path(path.removeprefix("/")) if path else Path(settings.data) / LEDGER_FILE


async def _join_installation(
    settings: Settings, db: Database, folder: Folder, secret: bytes, is_secret_new: bool
) -> None:
    """
    See that this host belongs to the installation whose records these are; the first host makes it.

    Raises:
        Rejected: database_other_environment, ledger_of_another_folder, secret_differs.
    """
    ours = Installation(
        id=folder.id,
        environment=folder.environment,
        created_at=folder.created_at,
        secret_fingerprint=blake2b(b"which web secret", key=secret, digest_size=32).digest(),
    )
    theirs = await installation.read(db) or await installation.write_once(db, ours)
    if theirs.environment != ours.environment:
        raise Rejected(
            "database_other_environment",
            path=str(folder.path),
            environment=str(ours.environment),
            found=theirs.environment,
        )
    if theirs.id != ours.id and not are_stores_shared(settings):
        # Its ledger would be another one, and coins of one installation would be in two.
        raise Rejected("ledger_of_another_folder", path=str(folder.path), id=theirs.id)
    if theirs.secret_fingerprint == ours.secret_fingerprint:
        return
    if not is_secret_new:
        raise Rejected("secret_differs", path=str(folder.path), file=f"{WEB_SECRET}.secret")
    await installation.replace_fingerprint(db, ours.secret_fingerprint)


def _process_id(entropy: Entropy) -> str:
    """This process, another one at every start, as a person can find it."""
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
    return f"{host[:40]}.{os.getpid()}.{entropy(4).hex()}"


async def _bus(
    settings: Settings, process_id: str, opened: contextlib.AsyncExitStack
) -> Bus | None:
    """How this process and the others wake one another; one process alone needs nobody."""
    if not are_stores_shared(settings):
        return None
    bus = await open_bus(settings.bus_url or settings.database_url, process_id)
    if bus is not None:
        opened.push_async_callback(bus.close)
    return bus


async def _payments(
    settings: Settings,
    folder: Folder,
    opened: contextlib.AsyncExitStack,
    *,
    clock: Clock,
    entropy: Entropy,
) -> "tuple[dict[str, Provider], SandboxService | None]":
    """The providers; the sandbox is there in a test folder only, for its money is test money."""
    if folder.environment is not Environment.TEST:
        return {}, None

    from largesse.payments.sandbox import NAME, SandboxProvider
    from largesse.payments.sandbox_service import SandboxService

    secret = _secret(folder, SANDBOX_SECRET, SANDBOX_SECRET_BYTES, entropy)
    here = address(settings.host, settings.port)
    sandbox = await SandboxService.open(
        folder.path / SANDBOX_FILE,
        clock,
        entropy,
        secret=secret,
        public_url=f"{settings.public_url}/sandbox",
        webhook_url=f"{here}/v1/webhooks/{NAME}",
    )
    opened.push_async_callback(sandbox.close)
    provider = SandboxProvider(
        base_url=f"{here}/sandbox",
        secret=secret,
        return_url=f"{settings.public_url}/orders/{{order_id}}",
    )
    opened.push_async_callback(provider.close)
    return {NAME: provider}, sandbox


def _web_secret(settings: Settings, folder: Folder, entropy: Entropy) -> bytes:
    """
    The secret of the settings, or the folder's own. What stands in the folder's file may be made the
    setting of the other hosts: it is the same secret then.
    """
    if not settings.secret:
        return _secret(folder, WEB_SECRET, WEB_SECRET_BYTES, entropy)
    with contextlib.suppress(ValueError):
        as_in_a_file = bytes.fromhex(settings.secret)
        if len(as_in_a_file) == WEB_SECRET_BYTES:
            return as_in_a_file
    return blake2b(settings.secret.encode(), digest_size=WEB_SECRET_BYTES).digest()


def _secret(folder: Folder, name: str, size: int, entropy: Entropy) -> bytes:
    """A secret of the folder, made the first time."""
    return bytes.fromhex(folders.secret(folder, name, lambda: entropy(size).hex()))


def _mailer(settings: Settings, opened: contextlib.AsyncExitStack) -> Mailer:
    from largesse.notify import mail

    if not settings.smtp_host:
        return mail.PrintedMailer()
    mailer = mail.SmtpMailer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_username,
        password=settings.smtp_password,
        starttls=settings.smtp_starttls,
        sender=settings.mail_from,
    )
    opened.push_async_callback(mailer.close)  # A mail that was taken on is still sent.
    return mailer


def _currencies(catalog: Catalog) -> tuple[str, ...]:
    return tuple(sorted({prices.currency for prices in catalog.price_lists}))


@contextlib.contextmanager
def _named_refusals(path: Path, setting: str, url: str) -> Iterator[None]:
    """
    What a store says when it cannot be opened: one in the data folder in the words of the folder,
    one elsewhere with the setting that says where.
    """
    is_elsewhere = scheme_of(url) not in ("", "sqlite")
    variable = PREFIX + setting.upper()
    where = {"setting": variable, "place": without_password(url)} if is_elsewhere else {}
    try:
        yield
    except Rejected as rejected:
        code, problem = _STORE_REFUSALS.get(rejected.code, ("", ""))
        if is_elsewhere or not code:
            raise Rejected(rejected.code, **{**where, **rejected.facts}) from rejected
        facts = {"path": str(path), "problem": problem, **rejected.facts}
        raise Rejected(code, **facts) from rejected
    except (RecordsUnavailable, LedgerUnavailable) as error:
        if is_elsewhere:
            problem = without_password(str(error))
            raise Rejected("store_unavailable", **where, problem=problem) from error
        if isinstance(error, LedgerUnavailable):
            raise _why_unavailable(path, error) from error
        code = _UNAVAILABLE.get(error.reason, "data_folder_damaged")
        raise Rejected(code, path=str(path), problem=str(error)) from error


def _why_unavailable(path: Path, error: LedgerUnavailable) -> Rejected:
    """SQLite names what happened on the exception that the ledger's came from."""
    name = getattr(error.__cause__, "sqlite_errorname", "")
    codes = {
        "SQLITE_FULL": "disk_full",
        "SQLITE_READONLY": "data_folder_read_only",
        "SQLITE_CANTOPEN": "data_folder_read_only",
        "SQLITE_PERM": "data_folder_read_only",
    }
    code = next((code for start, code in codes.items() if name.startswith(start)), None)
    return Rejected(code or "data_folder_damaged", path=str(path), problem=str(error))
