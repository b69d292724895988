"""
What an admin wants to know before asking somebody: is this machine able to run the server, and if not, why.

Every check looks and changes nothing. A failing one names what repairs it.
"""
