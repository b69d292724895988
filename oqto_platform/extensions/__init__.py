"""What plugins add to the web side."""
