"""`gitopsctl doctor`: checks the whole chain from the configuration to the remotes, and says what to do about each finding.

It works without the daemon, since a daemon that does not start is what most newcomers have: whoever types it runs it. Root
sees everything; a person sees what is theirs and public, and is told what was left out. It changes nothing.
"""
