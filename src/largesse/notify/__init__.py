"""Telling people something: by mail."""
