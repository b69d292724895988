"""A panel beside the conversation that keeps notes for each session."""
