"""What is found out about a toplevel after it was built and before anything is switched.

`toplevel` looks at what it is, `space` at what this machine has room for, `comparison` at how it differs from what runs,
and `inspection` makes one port of them, in order, with the person's own checks at the end.
"""
