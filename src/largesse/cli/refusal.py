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
    """The facts of a refusal; one that is not known reads as a question mark."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        super().__init__(facts)

    def __missing__(self, name: str) -> str:
        return "?"
