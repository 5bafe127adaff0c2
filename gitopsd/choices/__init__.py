"""What a person decides about their dotfiles on this host, outside of any cycle.

`conflicts` lists and settles what is parked, `contact` is the first meeting of a host or a file with the repository,
and `person` makes one port of both that takes turns with the cycle's steps. Whatever is decided here is published or
committed here, and the next sync carries it to the homes.
"""
