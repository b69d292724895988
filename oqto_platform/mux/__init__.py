"""One WebSocket for everything live."""
