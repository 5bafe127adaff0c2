"""One person's dotfiles on this host: their repository and their home together, in a cycle."""
