"""Shows what an agent edits as a diff, in the chat."""
