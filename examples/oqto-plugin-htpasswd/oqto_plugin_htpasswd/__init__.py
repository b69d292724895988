"""Signs people in from an Apache htpasswd file."""
