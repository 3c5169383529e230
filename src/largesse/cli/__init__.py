"""
The command line: one table of commands, each in a file of its own that is imported when asked for.

Exit status: 0 done, 1 done and something was found wrong (`check`), 2 refused or not understood.
"""

import sys
from collections.abc import Sequence

EXIT_DONE = 0
EXIT_FOUND = 1
EXIT_REFUSED = 2

_ABOUT = "Coins, recharge and live gifting: a self-hosted wallet, exact to the coin."
_AFTER = (
    "Settings come from the environment (LARGESSE_*) and from largesse.toml in the current "
    "folder; `largesse settings` shows those in force."
)

COMMANDS = (
    ("demo", "largesse.cli.demo:demo", "Run a living economy on this machine, in test money."),
    ("serve", "largesse.cli.serve:serve", "Serve the API from a data folder."),
    ("worker", "largesse.cli.worker:worker", "Run only the periodic jobs, without the API."),
    ("migrate", "largesse.cli.migrate:migrate", "Make a data folder, or bring one up to date."),
    ("check", "largesse.cli.check:check", "Recompute every invariant of a data folder."),
    ("bench", "largesse.cli.bench:bench", "Measure the ledger on this machine."),
    ("simulate", "largesse.cli.simulate:simulate", "Play an audience against a server, by HTTP."),
    ("settings", "largesse.cli.settings:settings", "Show the settings in force, and their help."),
)
USER_COMMANDS = (
    ("add", "largesse.cli.user:add", "Add a user, such as the first operator."),
    ("role", "largesse.cli.user:role", "Give a user one more role."),
    ("list", "largesse.cli.user:list_users", "List the users."),
)
CATALOG_COMMANDS = (
    ("show", "largesse.cli.catalog:show", "Show the price list in force: packages and gift items."),
    ("check", "largesse.cli.catalog:check", "Say whether a folder holds a price list that works."),
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


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit status."""
    from cyclopts import App, CycloptsError

    from largesse import __version__
    from largesse.cli.refusal import print_refusal
    from largesse.errors import Rejected

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
    user = App(name="user", help="Add users, give roles, list them.")
    for name, target, help in USER_COMMANDS:
        user.command(target, name=name, help=help)
    app.command(user)
    catalog = App(name="catalog", help="Show or check a price list.")
    for name, target, help in CATALOG_COMMANDS:
        catalog.command(target, name=name, help=help)
    app.command(catalog)

    try:
        status = app(arguments)
    except CycloptsError:  # It has printed what it did not understand.
        return EXIT_REFUSED
    except Rejected as rejected:
        print_refusal(rejected)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return EXIT_DONE
    return status if isinstance(status, int) else EXIT_DONE
