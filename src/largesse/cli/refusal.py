"""What a command that is refused says: the code, one sentence, and how to mend it."""

import sys
from collections.abc import Mapping

from largesse.errors import Rejected

SENTENCES = {
    "settings_invalid": "The settings are not valid.",
    "data_folder_missing": "There is no data folder at {path}. Make one with `largesse migrate "
    "--environment live`, or `--environment test` for test money only.",
    "data_folder_not_ours": "{path} is not a data folder of ours: {problem}. Choose another folder "
    "with LARGESSE_DATA.",
    "data_folder_newer": "{path} was written by a newer version: {problem}. Install that version "
    "again, or restore a backup.",
    "data_folder_older": "{path} was written by an older version. Make a backup, then run "
    "`largesse migrate`.",
    "data_folder_read_only": "{path} may not be read and written by this user. Give it the "
    "folder's owner, or start as that user.",
    "data_folder_in_use": "{path} is in use by process {process}. Stop that process first, or "
    "choose another folder with LARGESSE_DATA.",
    "data_folder_other_environment": "{path} is a {environment} folder, for ever; {asked} needs a "
    "folder of its own. Choose another one with LARGESSE_DATA.",
    "data_folder_is_live": "{path} holds real money, which no command deletes.",
    "data_folder_damaged": "A file in {path} cannot be read: {problem}. Restore a backup.",
    "database_other_environment": "The records at {place} are those of {found} money, for ever, and "
    "{path} is a {environment} folder. Choose another folder with LARGESSE_DATA, or another database; "
    "a folder that was made by mistake just now holds nothing yet and may be deleted.",
    "secret_differs": "This host signs forms and tickets with another secret than the installation "
    "whose records are at {place}: its pages would be refused by the other hosts. Set LARGESSE_SECRET "
    "here to what the first host has: its own setting, or what stands in {file} in its data folder. Where "
    "this one is to be the new secret of all hosts, run `largesse migrate --new-secret` once.",
    "ledger_of_another_folder": "The records at {place} belong with the ledger in another data folder, "
    "whose id is {id}. Use that folder, or set LARGESSE_LEDGER_URL to a ledger that hosts share.",
    "database_unreachable": "No PostgreSQL answers at {host}, port {port} ({problem}). Start it, or "
    "correct {setting}.",
    "database_password_wrong": "The PostgreSQL at {host}, port {port} does not let us in: user or "
    "password of {setting} are wrong.",
    "database_missing": "The PostgreSQL at {host}, port {port} has no database {database}. Make one "
    "with `createdb {database}`, or correct {setting}.",
    "database_too_old": "The PostgreSQL at {host}, port {port} is version {found}; {needed} is the "
    "oldest that works.",
    "database_unsafe": "The PostgreSQL at {host}, port {port} may lose what it has confirmed, with "
    "{settings} off. Turn that on there. Only where losing money is no matter, set "
    "LARGESSE_ALLOW_LOSING_ACKNOWLEDGED_MONEY=true.",
    "database_not_allowed": "The user of {setting} may not do what is needed in database {database}: "
    "{problem}. Let that user own the database.",
    "records_not_migrated": "The records at {place} are not there yet, or of an older version. Make a "
    "backup, then run `largesse migrate`.",
    "records_newer": "The records at {place} are of a newer version. Install that version again, or "
    "restore a backup.",
    "records_not_ours": "The database at {place} holds tables of somebody else. Choose another "
    "database with LARGESSE_DATABASE_URL.",
    "ledger_not_migrated": "The ledger at {place} is not there yet, or of an older version. Make a "
    "backup, then run `largesse migrate`.",
    "ledger_newer": "The ledger at {place} is of a newer version. Install that version again, or "
    "restore a backup.",
    "ledger_not_ours": "The database at {place} has a schema `ledger` of somebody else. Choose another "
    "database with LARGESSE_LEDGER_URL.",
    "ledger_url_invalid": "LARGESSE_LEDGER_URL cannot be read: {problem}.",
    "ledger_unreachable": "No TigerBeetle cluster {cluster} answers at {address} ({problem}). Start its "
    "replicas, or correct {setting}.",
    "store_unavailable": "The store at {place} cannot be used: {problem}. Look at its server, or "
    "correct {setting}.",
    "bus_unreachable": "No bus answers at {address} ({problem}). Start it, or correct "
    "LARGESSE_BUS_URL; without that setting the records' PostgreSQL is the bus.",
    "engine_not_installed": "{engine} needs a package that is not installed here. Install it with "
    "`pip install 'largesse[{extra}]'`.",
    "workers_need_postgres": "{workers} workers need records and ledger that processes can share, and "
    "an SQLite file has one process that owns it. Set LARGESSE_DATABASE_URL and LARGESSE_LEDGER_URL to "
    "a PostgreSQL (or the ledger to TigerBeetle), or leave LARGESSE_WORKERS at 1.",
    "worker_kept_dying": "Worker processes end as soon as they are started ({times} times in a row); "
    "the last one with exit status {status}. What they said stands above.",
    "demo_reset_elsewhere": "The demo's records or ledger are not in its folder: {place}. It deletes no "
    "database; drop it yourself, or leave {setting} out.",
    "worker_inside_serve": "{path} is in use by process {process}, and an embedded installation "
    "is one process: `largesse serve` runs the jobs itself, so there is nothing to start.",
    "disk_full": "The disk of {path} is full. Free some room, then start again.",
    "address_in_use": "Something else listens on {host} port {port} already. Stop it, or choose "
    "another port, such as LARGESSE_PORT={other}.",
    "address_unusable": "This machine cannot listen on {host} port {port}: {problem}. Change "
    "LARGESSE_HOST or LARGESSE_PORT.",
    "demo_on_loopback_only": "The demo's logins are printed for all to see, so it listens on this "
    "machine only, not on {host}. Leave LARGESSE_HOST out, or use `largesse serve`.",
    "engine_unknown": "{setting} asks for an engine that is not there: `{found}`. Known are: "
    "{known}.",
    "copy_onto_itself": "Both ends of the copy are the same place.",
    "copy_from_cluster": "A ledger is not copied out of TigerBeetle: it keeps no batches, so the copy "
    "could not be proved by their hashes.",
    "ledger_copy_unfinished": "A copy into {file} was begun and not finished. Run `largesse ledger "
    "copy` again, and it goes on where it was.",
    "ledger_copy_differs": "The target is not how the source begins, so nothing more is copied: "
    "{difference}. Copy into an empty one.",
    "ledger_copy_source_damaged": "The source is not as its ledger wrote it: {where}. See what "
    "`largesse check --deep` says of it.",
    "ledger_copy_has_timeouts": "TigerBeetle takes no pending transfers with a timeout from elsewhere, "
    "and this ledger has some: {where}.",
    "records_copy_not_empty": "The target holds records already, in the table {table}. Copy into an "
    "empty database.",
    "records_copy_differs": "What arrived in the table {table} is not what was sent, so nothing is "
    "kept.",
    "catalog_invalid": "The price list cannot be used.",
    "file_unreadable": "{path} cannot be read: {problem}.",
    "password_missing": "No password came. Type it when asked, or send it as the first line of "
    "standard input.",
    "user_not_found": "There is no user with the login {login}.",
    "gifts_per_second_out_of_range": "Gifts per second must be more than 0, not {found}.",
    "logins_invalid": "Standard input holds no logins: {problem}.",
}
"""One sentence for every code that a command may end with, besides those of the API."""


def sentence(rejected: Rejected) -> str:
    """The refusal as a person reads it."""
    from largesse.web.reply import REFUSALS

    words = SENTENCES.get(rejected.code)
    if words is None and (refusal := REFUSALS.get(rejected.code)) is not None:
        words = refusal.detail or refusal.title
    if words is None:
        return str(rejected)
    return f"{rejected.code}: {words.format_map(_Facts(rejected.facts))}"


def print_refusal(rejected: Rejected) -> None:
    """The refusal on standard error, and each of its problems on a line."""
    print(f"largesse: {sentence(rejected)}", file=sys.stderr)
    problems = rejected.facts.get("problems", ())
    assert isinstance(problems, (list, tuple))
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)


class _Facts(dict[str, object]):
    """The facts of a refusal, lists as words; one that is not known reads as a question mark."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        super().__init__(
            (name, ", ".join(map(str, fact)) if isinstance(fact, (list, tuple)) else fact)
            for name, fact in facts.items()
        )

    def __missing__(self, name: str) -> str:
        return "?"
