"""Where an account's runner is and how to talk to it."""
