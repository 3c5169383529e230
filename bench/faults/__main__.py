"""The command: `python -m bench.faults NAME`."""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.faults.scripts import FAULTS

SEED = "LARGESSE_FAULT_SEED"


def main(arguments: Sequence[str]) -> int:
    """Let it break, and say what came of it; the exit status is 1 where something was not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description="Break something under load, again and again, and look at the books.",
        epilog="\n".join(f"{name:20} {fault.what}" for name, fault in FAULTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="one or more of those below")
    parser.add_argument(
        "--rounds", type=int, help="how often it happens (each has its own default)"
    )
    asked = parser.parse_args(arguments)
    names = asked.names or list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    seed = int(os.environ.get(SEED, "0")) or random.SystemRandom().getrandbits(32)
    failed = []
    for name in names:
        fault = FAULTS[name]
        rounds = asked.rounds or fault.rounds
        print(f"== {name}: {fault.what} ({rounds} rounds, {SEED}={seed})", flush=True)
        with tempfile.TemporaryDirectory(prefix="largesse-faults-") as place:
            try:
                asyncio.run(fault.run(Path(place), rounds, seed))
            except AssertionError as error:
                print(f"NOT KEPT: {error}")
                failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
