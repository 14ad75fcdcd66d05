"""A time for the whole of a delivery: looking up the name, connecting, sending, and all of the answer.

Time-outs of sockets begin anew with every byte, so a receiver that sends one now and then could hold its sender for
days. The delivery goes on in a thread of its own, and whoever waits for it waits no longer than the limit. The thread
is left to end by itself; until it does, its receiver gets nothing else, so there is one such thread a receiver.
"""

from __future__ import annotations

import threading

from monitoring.notices import NotDelivered, Notice, Notifier


class InTime:
    """Takes notices to one receiver through another notifier, within a limit."""

    def __init__(self, receiver: str, notifier: Notifier, limit_s: float) -> None:
        self._thread = f"notice to {receiver}"
        self._notifier, self._limit_s = notifier, limit_s

    def send(self, notice: Notice) -> None:
        """Deliver, or raise what the notifier raises; `NotDelivered` when the time is over.

        It may arrive after that all the same: the next attempt has the same key.
        """
        if any(thread.name == self._thread for thread in threading.enumerate()):
            raise NotDelivered("It has not ended the attempt before, and gets no second one beside it.")
        failed: list[BaseException] = []

        def attempt() -> None:
            try:
                self._notifier.send(notice)
            except BaseException as error:  # noqa: BLE001  it is raised again below
                failed.append(error)

        thread = threading.Thread(target=attempt, name=self._thread, daemon=True)
        thread.start()
        thread.join(self._limit_s)
        if thread.is_alive():
            raise NotDelivered(f"It did not take the notice within {self._limit_s:g} s (notify.total_s).")
        if failed:
            raise failed[0]
