"""Wait for something, but not for ever."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, act: Callable[[], T]) -> T:
    """Return what a function returns, or raise what it raises, or TimeoutError.

    httpx has a time-out for each step of an exchange. A server that sends a little now and then never meets one, and
    finding its address has none. What takes too long is left to a thread that nobody waits for.
    """
    future: Future[T] = Future()

    def tell() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            future.set_exception(error)

    Thread(target=tell, daemon=True).start()
    return future.result(timeout=seconds)
