"""Folders that agents work in."""
