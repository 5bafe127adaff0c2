"""`gitopsctl`: asks the daemon over its socket and shows the answer.

`status` is typed when something is wrong and the machine is slow, so nothing heavy is imported at start-up: no msgspec,
no asyncio, no typing. `verbs` does, `render` turns what came from the socket into lines, `terminal` and `pager` know
where the lines go.
"""
