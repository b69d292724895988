"""Sign-in: passwords, tokens, guards."""
