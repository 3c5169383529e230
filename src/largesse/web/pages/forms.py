"""What pages say to people: refusals, with the field they are about, and the names of things."""

from typing import Any

from litestar import Response

from largesse.errors import Rejected
from largesse.web import reply
from largesse.web.pages import frame
from largesse.web.pages.frame import Visitor

WHOLE = "form"
"""Where a refusal stands that is about no field."""

FIELDS = {
    "login_malformed": "login",
    "login_taken": "login",
    "email_malformed": "email",
    "email_taken": "email",
    "password_too_short": "password",
    "password_too_long": "password",
    "password_malformed": "password",
    "password_too_obvious": "password",
    "password_wrong": "current",
    "birth_date_malformed": "birth_date",
    "too_young": "birth_date",
    "country_unknown": "country",
    "nickname_invalid": "nickname",
}
"""The field that a refusal is about, by the name it has in our forms."""


def errors(found: Visitor, refusal: Rejected) -> dict[str, str]:
    """What a template shows beside the field that was refused, or above the form."""
    return {FIELDS.get(refusal.code, WHOLE): words(found, refusal)}


def words(found: Visitor, refusal: Rejected) -> str:
    """A refusal as one says it to a person; the table's own sentence where that will do."""
    match refusal.code:
        case "rate_limited":
            return found.say(
                "That was too often in a short time. Try again in %(seconds)s seconds.",
                seconds=refusal.facts["retry_after_seconds"],
            )
        case "login_malformed":
            return found.say(
                "Write %(minimum)s to %(maximum)s of the letters a to z, digits, dots, dashes or "
                "underscores.",
                **refusal.facts,
            )
        case "country_unknown":
            return found.say("Choose the country you live in.")
        case "birth_date_malformed":
            return found.say("This is not a birth date: write year, month and day.")
        case "too_young":
            return found.say(
                "You must be %(age)s or older to have an account.",
                age=refusal.facts["minimum_age"],
            )
        case "adults_only":
            return found.say(
                "Only people of %(age)s or older may buy coins.", age=refusal.facts["minimum_age"]
            )
        case "password_wrong":
            return found.say("This is not your current password.")
        case "reset_token_invalid":
            return found.say("This link was used already, or is too old. Ask for a new one.")
        case "provider_unavailable":
            return found.say(
                "The payment provider does not answer. Nothing was charged; try again shortly."
            )
        case _:
            return frame.refusal_text(found, refusal)


def refused(found: Visitor, template: str, refusal: Rejected, **context: Any) -> Response[str]:
    """The page with its form again, saying what was refused."""
    status = reply.REFUSALS[refusal.code].status
    said = errors(found, refusal)
    return frame.page(found, template, status=status, errors=said, **context)


def method_name(found: Visitor, provider: str) -> str:
    """A way to pay as people know it."""
    match provider:
        case "sandbox":
            return found.say("Test payment")
        case "stripe":
            return found.say("Card")
        case "paypal":
            return "PayPal"
        case "app_store":
            return "App Store"
        case "google_play":
            return "Google Play"
        case _:
            return provider
