"""What the daemon says and takes on its socket, and who may ask.

`wire` is the shape that clients see, `interfaces` the Varlink methods, `access` who may call them and `privacy` what
is left out for whom, `connection` one client within its `limits`, `server` all of them. `client` is the other end, for
the command line.
"""
