"""
`largesse` without the rates of people: `python -m bench.open_limits serve`.

A viewer may send twenty gifts a second; a measurement of 64 sockets wants to know what the server can.
Every rate is still counted, it is only high.
"""

import sys

from largesse import cli, limits
from largesse.clock import SECOND

TIMES = 1_000_000


def main() -> int:
    """The command line with high rates."""
    for name in limits.RATES:
        limits.RATES[name] = limits.Rate(TIMES, SECOND, TIMES)
    return cli.run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
