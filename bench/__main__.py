"""The command: `python -m bench`, or `make bench`."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import growth, http_gifts, ledger, machine, sockets, startup
from largesse.cli.bench import settle

EXIT_STOPPED = 128 + signal.SIGTERM
COLUMNS = 160
"""Width of the tables where nobody watches."""
PARTS = ("ledger", "http", "sockets", "start")
LONG_PARTS = ("growth",)
"""Only when asked for: it fills the disk with gigabytes first."""


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for; the exit status is 1 only where books do not hold."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    parts = asked.parts or PARTS
    if unknown := set(parts) - {*PARTS, *LONG_PARTS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    rounds = asked.rounds or (1 if asked.quick else 5)
    # Told to stop, it still ends its servers and removes its folders on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_STOPPED))
    console = Console(width=None if sys.stdout.isatty() else COLUMNS)
    settle()
    held = True
    with tempfile.TemporaryDirectory(prefix="largesse-bench-", dir=asked.folder) as place:
        folder = Path(place)
        console.print(machine.description(folder, rounds=rounds))
        if "ledger" in parts:
            held &= ledger.run(
                console, folder, rounds=rounds, seconds=0.5 if asked.quick else asked.seconds
            )
        if "growth" in parts:
            held &= growth.run(
                console,
                folder,
                asked.scratch or folder / "scratch",
                transfers=asked.transfers,
                engines=asked.engines or growth.engines_here(),
                rounds=rounds,
                seconds=1 if asked.quick else asked.seconds,
                is_verified=not asked.quick,
            )
        used = folder / "none"
        if "http" in parts:
            used, holds = http_gifts.measure(
                console, folder, rounds=rounds, seconds=2 if asked.quick else 10
            )
            held &= holds
        if "sockets" in parts:
            held &= sockets.measure(
                console,
                folder,
                rounds=rounds,
                seconds=2 if asked.quick else 10,
                is_quick=asked.quick,
            )
        if "start" in parts:
            startup.measure(console, folder, used, rounds=rounds)
    return 0 if held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="part",
        help=f"of {', '.join(PARTS)} (default: all of these), {', '.join(LONG_PARTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="one short round, no full ledger")
    parser.add_argument("--rounds", type=int, help="rounds of everything (default: 5)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="of each ledger measurement (default: 3)"
    )
    parser.add_argument("--folder", type=Path, help="folder on the disk to measure")
    parser.add_argument(
        "--scratch", type=Path, help="folder that keeps the filled ledgers of growth between runs"
    )
    parser.add_argument(
        "--transfers", type=int, default=20_000_000, help="to fill for growth (default: 20000000)"
    )
    parser.add_argument(
        "--engine",
        dest="engines",
        action="append",
        choices=growth.ENGINES,
        help="of growth, may be given again (default: all that can be had)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
