"""One file per state, in the order of the cycle.

A step takes the cycle and a reporter, does its work through the ports it was built with, and returns a `StepResult`:
an event for the machine and the facts it learned. It never calls the next step.
"""

from collections.abc import Awaitable, Callable

from gitopsd.ports import Reporter
from gitopsd.types import Cycle, StepResult

Step = Callable[[Cycle, Reporter], Awaitable[StepResult]]
