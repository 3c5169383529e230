"""`largesse settings`: what is in force, where it came from, what it means."""

import os

from rich.console import Console
from rich.table import Table

from largesse import settings as words
from largesse.cli.start import settings_file


def settings() -> None:
    """Show every setting: its name in the environment, its value, where that came from, its help."""
    toml = settings_file()
    in_force = words.load(os.environ, toml)
    sources = words.sources(os.environ, toml)
    table = Table(title="Settings", title_justify="left", show_lines=False)
    table.add_column("environment", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", no_wrap=True)
    table.add_column("help")
    for setting in words.SETTINGS:
        value = words.shown(setting, getattr(in_force, setting.name))
        source = sources[setting.name]
        table.add_row(
            setting.variable,
            value,
            "environment" if source == setting.variable else source,
            setting.help,
            style=None if source == "default" else "bold",
        )
    Console().print(table)
    Console().print(
        f"In {words.FILE} the names are those after {words.PREFIX}, in lower case.", style="dim"
    )
