"""What coins are worth, for scripts that have to say it of a number that only they know."""

from largesse.catalog import Package
from largesse.web.pages.frame import Visitor


def rate(found: Visitor) -> Package:
    """The package whose coins are dearest: the rate of `Catalog.money_value`."""
    return found.app.catalog.dearest("web", found.country)
