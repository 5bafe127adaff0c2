"""Secrets stay out of git: the gate before every commit and push, and how what is in there already moves to SOPS.

- `keys` and `rules`: what a secret looks like; pure.
- `views`: the texts that are in a file, archives and UTF-16 too; pure.
- `gate`: `ports.Gate`, the scanner and our own rules together, with what a person allowed.
- `held`: what the gate stopped stays in the working copy and out of jj's.
"""
