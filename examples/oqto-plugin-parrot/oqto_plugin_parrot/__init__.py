"""An agent of sixty lines that repeats what it hears."""
