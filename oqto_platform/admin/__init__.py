"""What an admin sees and does."""
