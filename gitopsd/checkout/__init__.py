"""A person's checkout of the configuration: whose it is, and how it follows the trunk.

What is deployed never comes from here but from the daemon's own mirror, so nothing here can hold an upgrade up.
"""
