"""The engine that parks, merges and publishes one repository; it knows no chezmoi."""
