"""The versions in memory: the one in service, the one before it, and one on trial. They change in one assignment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from omni_model.msn.choice import Selector
from omni_model.protocol import LoopModel
from omni_model.serve.errors import VersionRefused
from omni_model.serve.exchange import Request
from omni_model.serve.golden import check
from omni_model.serve.placement import Placement
from omni_model.serve.served import Served, served
from omni_model.serve.trial import Running, check_terms

Load = Callable[[], LoopModel]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which versions answer, as of one moment. Never changed, only replaced."""

    in_service: Served | None = None
    warm: tuple[Served, ...] = field(default=())
    """The version in service and the one before it."""
    trial: Running | None = None

    def find(self, version: int) -> Served | None:
        """A version in memory."""
        if self.trial is not None and self.trial.served.version == version:
            return self.trial.served
        return next((each for each in self.warm if each.version == version), None)


class Versions:
    """Loads and checks versions beside those that answer; `now` is read without a lock."""

    def __init__(self, placement: Placement, fallback: Selector | None = None) -> None:
        self._placement, self._fallback = placement, fallback
        self._changing = threading.Lock()
        self.now = Standing()

    def put_in_service(
        self, version: int, generation: int, load: Load, golden: Sequence[Request], selector: Selector | None
    ) -> None:
        """See `Engine.put_in_service`. A trial of that version ends, and its model is the one that serves."""
        with self._changing:
            fresh = self._in_memory(version, generation, load, golden, selector)
            now = self.now
            trial = None if now.trial is not None and now.trial.served.version == version else now.trial
            others = [each for each in (*now.warm, now.in_service) if each is not None and each.version != version]
            self.now = Standing(in_service=fresh, warm=(*others[-1:], fresh), trial=trial)

    def start_trial(
        self,
        version: int,
        load: Load,
        mode: str,
        share: float,
        golden: Sequence[Request],
        selector: Selector | None,
        salt: bytes,
    ) -> None:
        """See `Engine.start_trial`."""
        with self._changing:
            in_service = self.now.in_service
            check_terms(version, mode, share, None if in_service is None else in_service.version)
            fresh = self._in_memory(version, 0, load, golden, selector)
            self.now = replace(self.now, trial=Running(served=fresh, mode=mode, share=share, salt=salt))

    def end_trial(self) -> None:
        """The version in service answers alone again; the other one leaves the memory."""
        with self._changing:
            self.now = replace(self.now, trial=None)

    def set_selector(self, version: int, selector: Selector | None) -> None:
        """Give a version in memory another selector; one that is not in memory is left alone."""

        def changed(each: Served) -> Served:
            return replace(each, selector=selector) if each.version == version else each

        with self._changing:
            now = self.now
            self.now = Standing(
                in_service=None if now.in_service is None else changed(now.in_service),
                warm=tuple(map(changed, now.warm)),
                trial=None if now.trial is None else replace(now.trial, served=changed(now.trial.served)),
            )

    def withdraw(self) -> None:
        """Serve nothing any more; what was in service stays warm."""
        with self._changing:
            self.now = replace(self.now, in_service=None)

    def _in_memory(
        self, version: int, generation: int, load: Load, golden: Sequence[Request], selector: Selector | None
    ) -> Served:
        """A version ready to answer: the one that is in memory, else loaded and checked."""
        known = self.now.find(version)
        if known is not None:
            return replace(known, generation=generation, selector=selector or known.selector)
        try:
            model = load()
            fresh = served(version, generation, model, selector)
            check(fresh, golden, lambda: model.place(self._placement.of, self._placement.fuse))
        except Exception as error:
            raise VersionRefused(version, str(error) or type(error).__name__) from error
        return replace(fresh, fallback=self._fallback)
