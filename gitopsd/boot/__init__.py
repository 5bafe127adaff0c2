"""Boot assessment and the golden generation: begin, verify, bless, and the record that they share.

It works without the daemon, and what `begin` needs of it is the standard library only: it runs before most of the
system is up, and its time is time of every boot.
"""
