"""
Faults that need minutes, root or a whole database: `python -m bench.faults --help`.

Each script says what it does, counts what was asked and answered, holds every answer against the
ledger, and ends with `largesse check`. `docs/operating/faults.md` says what a person would see.
"""
