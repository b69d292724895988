"""The system-call filter: our own assembler, number tables for x86-64 and aarch64, and the rules."""
