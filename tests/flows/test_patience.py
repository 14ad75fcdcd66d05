"""A receiver that never comes to an end holds nobody: real sockets that send a byte now and then."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.repository import notifications, outbox
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.notifying import deliver
from flows.workspace import Workspace, open_workspace
from monitoring.notices import NotDelivered, Notice
from monitoring.patience import InTime
from tests.flows import homes
from tests.flows.receivers import Hook

KEY = "a signing key of enough bytes"


class Trickle:
    """Answers whoever connects with the same bytes, one every 50 ms, until it is stopped."""

    def __init__(self, first: bytes) -> None:
        self.num_connections = 0
        self._first, self._stop = first, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.num_connections += 1
            self._threads.append(threading.Thread(target=self._send, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _send(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(self._first)
                while not self._stop.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return

    def stop(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def trickling(first: bytes) -> Iterator[Trickle]:
    found = Trickle(first)
    try:
        yield found
    finally:
        found.stop()
        deadline = time.monotonic() + 10
        while any(thread.name.startswith("notice to") for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "an attempt outlives the receiver that held it"
            time.sleep(0.02)


def tell(ws: Workspace, key: str, receiver: str) -> None:
    with ws.database.write() as session:
        notifications.tell(
            session, key=key, group_key="g", receiver=receiver, reason="firing", payload={"title": key}, now=ws.clock()
        )


@pytest.mark.parametrize(("scheme", "first"), [("hook+http", b"HTTP/1.1 200 OK\r\nX-Long: "), ("mailto", b"220-")])
def test_a_receiver_that_trickles_bytes_fails_in_time_and_others_are_served(
    small: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, first: bytes
) -> None:
    hook, clock = Hook(), homes.Clock()
    hook.start()
    with trickling(first) as slow:
        query = "?from=loop@example.org&to=ops@example.org" if scheme == "mailto" else ""
        addresses = {"slow": f"{scheme}://127.0.0.1:{slow.port}/{query}", "pager": hook.address}
        monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", json.dumps(addresses))
        for name, value in {"SIGNING_KEY": KEY, "ALLOW_PRIVATE": "true", "TIMEOUT_S": "5", "TOTAL_S": "1"}.items():
            monkeypatch.setenv(f"OMNI_NOTIFY__{name}", value)
        ws = open_workspace(Settings.load(), SILENT).with_(clock=clock)
        for number in range(3):
            tell(ws, f"slow-{number}", "slow")
        tell(ws, "one", "pager")
        began = time.monotonic()
        assert deliver(ws) == 1
        assert time.monotonic() - began < 4
        assert hook.keys() == ["one"]
        assert slow.num_connections == 1, "no second attempt is made beside the one that hangs"
        clock.wait(seconds=700)
        tell(ws, "two", "pager")
        assert deliver(ws) == 1
        assert slow.num_connections == 1
        with ws.database.read() as session:
            errors = {message.last_error for message in outbox.waiting(session)} - {None}
        assert any("not ended the attempt before" in str(error) for error in errors)
        ws.database.close()
    hook.stop()


def test_what_the_notifier_raises_is_raised() -> None:
    class Refusing:
        def send(self, notice: Notice) -> None:
            raise NotDelivered(f"{notice.key}: no", is_final=True)

    with pytest.raises(NotDelivered, match="k: no") as caught:
        InTime("ops", Refusing(), 5).send(Notice(key="k", title="", text=""))
    assert caught.value.is_final
