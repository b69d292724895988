"""Panels and chat renderers of plugins: which there are, their files, and the frames around those nobody vouches for."""
