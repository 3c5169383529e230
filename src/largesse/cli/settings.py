"""`largesse settings`: what is in force, where it came from, what it means."""

import os

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from largesse import settings as words
from largesse.cli.start import settings_file


def settings() -> None:
    """Show every setting: its name in the environment, its value, where that came from, its help."""
    toml = settings_file()
    in_force = words.load(os.environ, toml)
    sources = words.sources(os.environ, toml)
    lines = Console()
    for setting in words.SETTINGS:
        value = words.shown(setting, getattr(in_force, setting.name))
        source = sources[setting.name]
        where = "environment" if source == setting.variable else source
        style = None if source == "default" else "bold"
        # A line of its own for the value, so that an address stays whole on a narrow terminal.
        said = f"{setting.variable} = {value or '(empty)'}  [{where}]"
        lines.print(said, style=style, markup=False, highlight=False, soft_wrap=True)
        lines.print(Padding(Text(setting.help, style="dim"), (0, 0, 0, 4)))
    lines.print(
        f"In {words.FILE} the names are those after {words.PREFIX}, in lower case.", style="dim"
    )
