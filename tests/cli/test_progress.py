"""How far a long reading is, said in plain lines where nobody watches."""

import io

from rich.console import Console

from largesse.cli.progress import LINE_SECONDS, Reading, reading


class StopWatch:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_lines_say_rate_and_time_left_now_and_then() -> None:
    """A quarter of four thousand took ten seconds; in between nothing is said."""
    out, clock = io.StringIO(), StopWatch()
    said = Reading(Console(file=out), None, clock=clock)
    said.begin("Recomputing the ledger", None)
    said.begin("Recomputing the ledger", 4_000)
    for done, seconds in ((100, 1), (1_000, LINE_SECONDS - 1), (1_100, 1), (4_000, LINE_SECONDS)):
        clock.seconds += seconds
        said.at(done)
    assert out.getvalue().splitlines() == [
        "Recomputing the ledger ...",
        "Recomputing the ledger: 1,000 of 4,000, 100/s, 30 s left",
        "Recomputing the ledger: 4,000 of 4,000, 190/s, 0 s left",
    ]


def test_without_a_total_a_line_says_how_many_were_read() -> None:
    out, clock = io.StringIO(), StopWatch()
    said = Reading(Console(file=out), None, clock=clock)
    said.begin("Reading the books", None)
    clock.seconds += LINE_SECONDS
    said.at(50)
    assert out.getvalue().splitlines()[-1] == "Reading the books: 50, 5/s"


def test_on_a_terminal_there_is_a_bar_for_each_reading() -> None:
    out = io.StringIO()
    with reading(Console(file=out, force_terminal=True, width=120)) as said:
        said.begin("Recomputing the ledger", 4_000)
        said.at(4_000)
        said.begin("Reading the books", None)
        said.at(50)
    assert "Recomputing the ledger" in out.getvalue()
    assert "4000/4000" in out.getvalue()
    assert "Reading the books" in out.getvalue()
