"""
The books: which transfers each business event makes, and what the ledger's totals mean.

One sign convention. Every account has a side (`chart.is_debit_account`): a credit account holds
credits less debits (a wallet, earnings, what we owe), a debit account holds debits less credits
(what was issued, what others owe us, costs); a statement shows an amount as positive where it
raises that balance. To add a posting: name its accounts and transfer codes in `chart.py` (with the
two kinds of account each code moves between), write one pure function in `postings.py` with Dr/Cr
lines in its docstring and asserts on its arguments, say in `checks.py` what must stay true, let
`tests/books/test_postings.py` write its golden T-accounts, read them, and add the lines to
`docs/reference/chart-of-accounts.md`. If there is no posting for it, money does not move.
"""
