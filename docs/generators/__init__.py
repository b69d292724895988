"""What each generated page of the reference is made from. Every module has one function `blocks`."""
