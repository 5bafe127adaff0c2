"""What is measured: each module measures one thing on a `Place` and returns its figures."""

from __future__ import annotations
