"""
The one exception a caller handles.

Refused is `Rejected`; expected is a value (an `Outcome`); impossible is an `assert`. Codes are
public, stable and documented in `docs/reference/errors.md`; `web/reply.py` maps each to a status.
"""


class Rejected(Exception):
    """
    A request we understood and refuse.

    `code` is a sentence in snake_case that programs may hold on to; `facts` say what a person needs
    to mend it (a limit, what is missing), with values that JSON can carry.
    """

    def __init__(self, code: str, **facts: object) -> None:
        assert code.isidentifier()
        super().__init__(code)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return f"{self.code} ({facts})" if facts else self.code
