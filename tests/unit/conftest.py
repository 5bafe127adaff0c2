"""What every unit test needs."""

import signal

# A shell that runs us in the background has Ctrl-C ignored, and what we start would inherit that: tests that send it
# would wait for ever. A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
