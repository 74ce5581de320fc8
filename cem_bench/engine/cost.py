"""What the checks cost: seconds on the clock, and of the processor, which other jobs on the machine hardly change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """Time spent so far.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of the processor, over all threads of this process.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what runs inside, whatever comes of it."""
        clock, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - clock
            self.cpu_seconds += time.process_time() - cpu
