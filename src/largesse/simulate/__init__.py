"""
An audience made of dice: viewers arrive, watch, chat, recharge in the sandbox and gift, by the
public HTTP API and the sockets of rooms.

It knows the server as a stranger does, by its address and by logins, and imports nothing of ours
but itself. `plan` decides everything beforehand from a seed and is pure; `audience` carries it out
against the clock. The distributions are assumptions of ours, not measurements
(`docs/guides/simulate.md`): the shapes are those that live audiences are known for, the figures are
round.
"""

from largesse.simulate.audience import play
from largesse.simulate.stage import Login, Report

__all__ = ["Login", "Report", "play"]
