"""What tests of Oqto and of its plugins lean on. Importing this package imports nothing else."""
