"""The way out in mode `proxy`: one HTTP proxy per session, outside, behind a Unix socket."""
