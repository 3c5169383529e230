"""
The command line: one table of commands, each in a file of its own that is imported when asked for.

Exit status: 0 done, 1 done and something was found wrong (`check`), 2 refused or not understood.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

EXIT_DONE = 0
EXIT_FOUND = 1
EXIT_REFUSED = 2


class StoppedEarly(Exception):
    """A server was told to stop before it answered; nothing is wrong."""


_ABOUT = "Coins, recharge and live gifting: a self-hosted wallet, exact to the coin."
_AFTER = (
    "Settings come from the environment (LARGESSE_*) and from largesse.toml in the current "
    "folder; `largesse settings` shows those in force."
)

COMMANDS = (
    (
        "demo",
        "largesse.cli.demo:demo",
        """Run a living economy on this machine, in test money.

        It makes its data folder, prints four logins, and lets an audience recharge and gift over the
        same API as everyone. Ctrl-C ends it; every coin is kept.""",
    ),
    (
        "serve",
        "largesse.cli.serve:serve",
        """Serve the API from a data folder.

        The folder is made by `largesse migrate --environment live` (or `test`), or here with
        `--create`. With `--workers` several processes answer on one port. SIGINT or SIGTERM
        finishes what was begun, then ends; a second one does not wait.""",
    ),
    (
        "worker",
        "largesse.cli.worker:worker",
        """Run only the periodic jobs, without the API.

        An embedded installation does not need it: `largesse serve` runs the jobs itself. Where
        records and ledger are on servers it may run beside any number of them.""",
    ),
    (
        "migrate",
        "largesse.cli.migrate:migrate",
        """Make a data folder, or bring one up to date.

        What a folder is, live money or test money, is decided when it is made, and for ever. Records
        and ledger on servers are brought up to date too; two who do it at once are no harm.""",
    ),
    (
        "check",
        "largesse.cli.check:check",
        """Recompute every invariant of an installation.

        Every chain against the books' rules, every order against its chain; with `--deep` first the
        ledger's store itself, batch by batch. A folder with SQLite in it may be used by no other
        process; a running server answers at GET /v1/operator/check. Exit status: 0 all hold, 1 one
        does not, 2 it could not be told.""",
    ),
    ("bench", "largesse.cli.bench:bench", "Measure the ledger on this machine."),
    (
        "simulate",
        "largesse.cli.simulate:simulate",
        """Play an audience against a server, by HTTP and sockets.

        Its accounts come as the first line of standard input, for a command line is seen by
        everybody: {"viewers": [{"login": ..., "password": ...}], "creators": [...]}. Only where the
        server has the sandbox provider.""",
    ),
    (
        "settings",
        "largesse.cli.settings:settings",
        "Show the settings in force, where each came from, and what it means.",
    ),
)
GROUPS = (
    (
        "ledger",
        "Move the ledger to another engine.",
        (
            (
                "copy",
                "largesse.cli.ledger:copy",
                """Copy a ledger, and prove that the copy is the same.

                From SQLite to PostgreSQL or back, batch by batch, or to TigerBeetle. Killed at any
                moment, it goes on when it is run again. See docs/operating/moving-up.md.""",
            ),
        ),
    ),
    (
        "records",
        "Move users, orders and rooms to another database.",
        (
            (
                "copy",
                "largesse.cli.records:copy",
                """Copy the records, in one transaction, and compare every table.

                From SQLite to PostgreSQL or back. See docs/operating/moving-up.md.""",
            ),
        ),
    ),
    (
        "user",
        "Add users, give roles, list them; beside a running server or without one.",
        (
            (
                "add",
                "largesse.cli.user:add",
                """Add a user, such as the first operator.

                The password is asked for, or read as the first line of standard input.""",
            ),
            (
                "role",
                "largesse.cli.user:role",
                """Give a user one more role.

                A running server knows of it within half a minute.""",
            ),
            ("list", "largesse.cli.user:list_users", "List the users, newest first."),
        ),
    ),
    (
        "catalog",
        "Show or check a price list.",
        (
            (
                "show",
                "largesse.cli.catalog:show",
                "Show the price list in force: the packages of one channel and country, and all "
                "gift items.",
            ),
            (
                "check",
                "largesse.cli.catalog:check",
                """Say whether a folder holds a price list that works.

                Exit status: 0 it does, 1 it does not, and every problem is listed.""",
            ),
        ),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, and end the process with its exit status."""
    if not __debug__:
        print(
            "largesse: python_optimised: started with -O or PYTHONOPTIMIZE, which takes out the "
            "assertions that guard the books. Start it without.",
            file=sys.stderr,
        )
        sys.exit(EXIT_REFUSED)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def build() -> "App":
    """The commands with their help; none of them is imported before it is asked for."""
    from cyclopts import App

    from largesse import __version__

    app = App(
        name="largesse",
        help=_ABOUT,
        help_epilogue=_AFTER,
        version=f"largesse {__version__}",
        exit_on_error=False,
        result_action="return_value",
    )
    for name, target, help in COMMANDS:
        app.command(target, name=name, help=help)
    for name, about, commands in GROUPS:
        group = App(name=name, help=about)
        for each, target, help in commands:
            group.command(target, name=each, help=help)
        app.command(group)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit status."""
    from cyclopts import CycloptsError

    from largesse.cli.refusal import print_refusal
    from largesse.errors import Rejected

    try:
        status = build()(arguments)
    except CycloptsError:  # It has printed what it did not understand.
        return EXIT_REFUSED
    except Rejected as rejected:
        print_refusal(rejected)
        return EXIT_REFUSED
    except (KeyboardInterrupt, StoppedEarly):
        return EXIT_DONE
    return status if isinstance(status, int) else EXIT_DONE
