"""The steps that turn a fresh clone into a running Oqto."""
