"""
Measures Largesse beside its baselines, on this machine, in one run: `python -m bench --help`.

Nothing here fails on a time. Only the books can fail a run: after each measurement they are checked.
"""
