"""Refuses a session when an account has started enough of them today."""
