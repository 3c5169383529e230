"""Largesse: coins, recharge and live gifting, exact to the coin."""

__version__ = "0.1.0"
