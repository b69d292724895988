"""Tells another system when a session has ended."""
