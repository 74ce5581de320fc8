"""What stops a run from outside: Ctrl-C, a scheduler, a closed terminal. State is kept, one line is printed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

# not on every system has each
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; on its way up everything that waits is written."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def catch_signals() -> None:
    """Turn the signals that stop a run into `Stopped`, in the main thread; a second one is not heard."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)  # what waits is being written: that takes a moment and must not be cut
    raise Stopped(number)


def guarded(run: Callable[[], int]) -> int:
    """Run a command; return its exit code, 128 + the signal's number where one stopped it (130, 143, 129)."""
    catch_signals()
    try:
        return run()
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        name = signal.Signals(number).name
        sys.stderr.write(
            f"cem_bench: stopped by {name}; everything measured so far is kept: the same command goes on from there\n"
        )
        return 128 + number
