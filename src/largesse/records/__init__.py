"""
Records: everything that is not money. Who the people are, what was ordered, which rooms there are.

One file per noun, functions on frozen structs, one transaction per function (those that take `tx`
join the caller's). Lists come newest first; `before` is the (instant, id) of the last row seen.
What the ledger knows better is not kept here, but for the projections, which can be rebuilt.
"""
