"""
Settings: one frozen struct, made from the environment and `largesse.toml`.

Nothing here reads a file or the process's environment: both come in as arguments. A setting is
`port` in `largesse.toml` and `LARGESSE_PORT` in the environment, and the environment wins. Add one
by adding a field: its default, its bounds and its line of help stand together.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Meta

from largesse.errors import Rejected

PREFIX = "LARGESSE_"
PREFIXES_OF_TESTS = ("LARGESSE_TEST_", "LARGESSE_FAULT_", "LARGESSE_BENCH_")
"""Variables of our own tests (as `LARGESSE_TEST_BROWSER`), which are no settings."""
FILE = "largesse.toml"

POSTGRES = ("postgresql", "postgres")
TIGERBEETLE = "tigerbeetle"
"""Schemes of the stores that are on servers of their own."""
WORKERS_MAX = 64
SECRET_LENGTH_MIN = 32

_SECRET = {"secret": True}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operator may decide, with its default. `load` makes one."""

    data: Annotated[
        str,
        Meta(
            min_length=1,
            description="Data folder; one process at a time owns it, except where all stores are "
            "elsewhere.",
        ),
    ] = "largesse-data"
    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port to listen on; 0 takes any free one.")
    ] = 8080
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+)?$",
            description="Address that people and payment providers reach the server by, "
            "without a path; empty means http://host:port.",
        ),
    ] = ""
    database_url: Annotated[
        str,
        Meta(
            description="Where the records are, as postgresql://user:password@host:port/database; "
            "empty means records.sqlite in the folder."
        ),
    ] = ""
    ledger_url: Annotated[
        str,
        Meta(
            description="Where the ledger is, as postgresql://user:password@host:port/database (may "
            "be that of the records) or tigerbeetle://host:port,host:port?cluster=0; empty means "
            "ledger.sqlite in the folder."
        ),
    ] = ""
    bus_url: Annotated[
        str,
        Meta(
            description="How processes wake one another: nats://host:port, or empty for the "
            "records' own PostgreSQL (and for nothing on SQLite, where there is one process)."
        ),
    ] = ""
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=WORKERS_MAX,
            description="Processes that `largesse serve` starts on its port; more than one needs "
            "the records and the ledger on servers that processes can share.",
        ),
    ] = 1
    secret: Annotated[
        str,
        Meta(
            description="What signs forms and tickets, the same on every host, of at least "
            f"{SECRET_LENGTH_MIN} characters; empty means the folder's own.",
            extra=_SECRET,
        ),
    ] = ""
    allow_losing_acknowledged_money: Annotated[
        bool,
        Meta(
            description="Start although PostgreSQL has fsync, full_page_writes or "
            "synchronous_commit off: after a crash of it, recharges and gifts that were answered "
            "may be gone."
        ),
    ] = False
    catalog: Annotated[
        str,
        Meta(
            description="Folder with packages.toml and gift-items.toml; empty means the built-in "
            "price list."
        ),
    ] = ""
    worker: Annotated[bool, Meta(description="Run the periodic jobs inside `largesse serve`.")] = (
        True
    )
    checks_minutes: Annotated[
        int, Meta(ge=1, le=1_440, description="Minutes between two checks of the books.")
    ] = 10
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks whose X-Forwarded-For is believed "
            "(a list; in the environment separated by commas)."
        ),
    ] = ()
    session_hours: Annotated[
        int, Meta(ge=1, le=8_760, description="Hours until a login ends by itself.")
    ] = 720
    creator_share_bps: Annotated[
        int, Meta(ge=0, le=10_000, description="The creator's share of a gift, in basis points.")
    ] = 5_000
    adult_age: Annotated[
        int, Meta(ge=18, le=99, description="Age from which one may buy, send and receive.")
    ] = 18
    demo_password: Annotated[
        str,
        Meta(
            description="Password of the demo's four logins; empty makes one up, once per folder.",
            extra=_SECRET,
        ),
    ] = ""
    smtp_host: Annotated[
        str, Meta(description="Mail server; empty prints mail on the terminal instead.")
    ] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65_535, description="Port of the mail server.")] = 587
    smtp_username: Annotated[
        str, Meta(description="Login at the mail server; empty sends without one.")
    ] = ""
    smtp_password: Annotated[
        str, Meta(description="Password at the mail server.", extra=_SECRET)
    ] = ""
    smtp_starttls: Annotated[
        bool, Meta(description="Encrypt the connection to the mail server by STARTTLS.")
    ] = True
    mail_from: Annotated[str, Meta(description="Sender of our mail; needed with smtp_host.")] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least level to log: debug, info, warning or error."),
    ] = "info"
    development: Annotated[
        bool,
        Meta(
            description="Show what only builders need: the page /styleguide and two pretend "
            "languages that make the texts longer or mirrored."
        ),
    ] = False
    access_log: Annotated[
        bool, Meta(description="Log every request (costs about 45 microseconds each).")
    ] = False


class Setting(msgspec.Struct, frozen=True):
    """One row of `SETTINGS`: what a person needs to know about one field of `Settings`."""

    name: str
    default: Any
    help: str
    secret: bool

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()


def _rows() -> tuple[Setting, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(Settings):
        [meta] = hints[field.name].__metadata__
        assert meta.description, field.name
        secret = bool(meta.extra and meta.extra.get("secret"))
        rows.append(Setting(field.name, field.default, meta.description, secret))
    return tuple(rows)


SETTINGS = _rows()
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def load(environ: Mapping[str, str], toml: bytes | None) -> Settings:
    """
    The settings in force: defaults, then the bytes of `largesse.toml`, then the environment.

    Raises:
        Rejected: settings_invalid, whose `problems` is a list of sentences that names every
            unknown name and every bad value at once, and never the value of a secret.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, value in _from_file(toml, problems).items():
        _take(values, problems, name, value, label=f"{FILE}: {name}", strict=True)
    for name, value in _from_environment(environ, problems).items():
        setting = _BY_NAME[name]
        _take(values, problems, name, _split(setting, value), label=setting.variable, strict=False)
    settings = Settings(**values)
    if not problems and settings.smtp_host and not settings.mail_from:
        problems.append("mail_from: needed when smtp_host is set")
    if 0 < len(settings.secret) < SECRET_LENGTH_MIN:
        problems.append(f"secret: needs {SECRET_LENGTH_MIN} characters at least")
    if problems:
        raise Rejected("settings_invalid", problems=problems)

    # After this point the settings are good.
    if settings.public_url:
        return settings
    return msgspec.structs.replace(settings, public_url=address(settings.host, settings.port))


def sources(environ: Mapping[str, str], toml: bytes | None) -> dict[str, str]:
    """Where each setting that is in force comes from: its variable, `largesse.toml`, `default`."""
    in_file = _from_file(toml, [])
    in_environment = _from_environment(environ, [])
    found = {}
    for setting in SETTINGS:
        if setting.name in in_environment:
            found[setting.name] = setting.variable
        elif setting.name in in_file:
            found[setting.name] = FILE
        else:
            found[setting.name] = "default"
    return found


def shown(setting: Setting, value: object) -> str:
    """The value as it may be printed: a secret only says that it is set, a URL hides a password."""
    if setting.secret:
        return "(set)" if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return without_password(str(value))


def without_password(text: str) -> str:
    """
    The text with the password of every URL in it hidden, also one with `@` or `/` in it.

    A name without a password is shown, but for NATS: there it is a token.
    """
    text = re.sub(r"(nats://)\S*@", r"\1***@", text)
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|passfile|sslpassword)=)[^&\s]*", r"\1***", text)


_SECRETS = r"([?&])(?:password|passfile|sslpassword)=[^&]*"


def database_facts(url: str) -> dict[str, object]:
    """Which database a URL names, as it may be shown: never with the password."""
    # Whatever stands before the last @ may be a password, also where the URL is not well made.
    shown = re.sub(_SECRETS, r"\1", url.partition("://")[2]).rpartition("@")[2]
    address, _, query = shown.partition("?")
    place, _, database = address.partition("/")
    place = place or parse_qs(query).get("host", ["localhost"])[0]
    host, colon, port = place.rpartition(":")
    if not (colon and port.isdecimal()) or "," in place:
        host, port = place, "5432"
    return {"host": host, "port": int(port), "database": unquote(database)}


def scheme_of(url: str) -> str:
    """What stands before the colon of a URL; empty where there is none."""
    return url.partition(":")[0]


def are_stores_shared(settings: Settings) -> bool:
    """Whether several processes and hosts may be at the stores of these settings at once."""
    are_records = scheme_of(settings.database_url) in POSTGRES
    return are_records and scheme_of(settings.ledger_url) in (*POSTGRES, TIGERBEETLE)


def address(host: str, port: int) -> str:
    """The web address of this machine's server as one can type it; any-address becomes loopback."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - Compared, not listened on.
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _from_file(toml: bytes | None, problems: list[str]) -> dict[str, Any]:
    if toml is None:
        return {}
    try:
        table = tomllib.loads(toml.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        problems.append(f"{FILE}: not TOML: {problem}")
        return {}
    for name in table.keys() - _BY_NAME.keys():
        problems.append(f"{FILE}: {name}: there is no such setting{_nearest(name, _BY_NAME)}")
    return {name: table[name] for name in _BY_NAME if name in table}


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    known = {setting.variable: setting.name for setting in SETTINGS}
    found = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable.startswith(PREFIXES_OF_TESTS):
            continue
        if variable in known:
            found[known[variable]] = environ[variable]
        else:
            problems.append(f"{variable}: there is no such setting{_nearest(variable, known)}")
    return found


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _split(setting: Setting, value: str) -> object:
    if setting.secret:
        return value
    if isinstance(setting.default, tuple):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value.strip()


def _take(
    values: dict[str, Any],
    problems: list[str],
    name: str,
    value: object,
    *,
    label: str,
    strict: bool,
) -> None:
    """Put one value among the good ones, or say what is wrong with it."""
    try:
        good = msgspec.convert(value, _TYPES[name], strict=strict)
        if name == "trusted_proxies":
            for part in good:
                ip_network(part)
    except ValueError as problem:  # msgspec.ValidationError is one too.
        found = "" if _BY_NAME[name].secret else f" (found {without_password(repr(value))})"
        problems.append(f"{label}: {problem}{found}")
        return
    values[name] = good
