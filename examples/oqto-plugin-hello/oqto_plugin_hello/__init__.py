"""Greets whoever starts a session, on both sides."""
