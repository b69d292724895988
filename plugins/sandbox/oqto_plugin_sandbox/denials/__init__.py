"""What the sandbox kept an agent from, in sentences for the chat: never a part of what holds, only its voice."""
