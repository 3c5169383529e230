"""`largesse catalog`: the price list in force, and whether another one works."""

from typing import Annotated

from cyclopts import Parameter

from largesse.cli.start import settings_in_force

ANY_COUNTRY = "*"


def show(
    *,
    channel: Annotated[str, Parameter(help="web, ios or android.")] = "web",
    country: Annotated[str, Parameter(help="Two letters, such as US.")] = ANY_COUNTRY,
) -> None:
    """Show the packages of one channel and country, and all gift items."""
    from rich.console import Console
    from rich.table import Table

    from largesse import money
    from largesse.app import read_catalog

    catalog = read_catalog(settings_in_force())
    packages = Table(title=f"Packages ({channel}, {country})", title_justify="left")
    for name in ("package", "coins", "bonus", "price", "tax inside"):
        packages.add_column(name, justify="left" if name == "package" else "right")
    for package in catalog.packages(channel, country):
        price = package.price
        packages.add_row(
            package.id,
            f"{package.coins:,}",
            f"{package.bonus_coins:,}",
            f"{money.decimal(price.amount, price.currency)} {price.currency}",
            f"{money.decimal(package.tax_rate_bps, 'USD')}%",
        )
    items = Table(title="Gift items", title_justify="left")
    for name in ("number", "id", "name", "coins", "marks"):
        items.add_column(name, justify="right" if name in ("number", "coins") else "left")
    for item in catalog.gift_items:
        marks = [name for name in ("streakable", "exclusive") if getattr(item, name)]
        marks += [item.season] if item.season else []
        marks += [] if item.enabled else ["not on offer"]
        items.add_row(str(item.number), item.id, item.name, f"{item.coins:,}", ", ".join(marks))
    console = Console()
    console.print(packages)
    console.print(items)


def check(
    folder: Annotated[str, Parameter(help="With packages.toml and gift-items.toml.")], /
) -> int:
    """Say whether a folder holds a price list that works: exit status 0, or 1 and every problem."""
    from largesse import catalog
    from largesse.app import catalog_files
    from largesse.cli import EXIT_DONE, EXIT_FOUND

    problems = catalog.problems(*catalog_files(folder))
    for problem in problems:
        print(f"{problem.where}: {problem.what}")
    if problems:
        print(f"{len(problems)} to mend.")
        return EXIT_FOUND
    print(f"{folder} is a price list that works.")
    return EXIT_DONE
