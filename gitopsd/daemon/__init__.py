"""The process: composition root, loop, store, and what it tells systemd and the journal."""
