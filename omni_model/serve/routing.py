"""Which version answers a request, and which one shall answer it too: decided as it is decoded."""

from __future__ import annotations

import logging
from collections.abc import Callable

from omni_model.serve.budget import Allowance
from omni_model.serve.cache import FeatureCache
from omni_model.serve.errors import NothingServed
from omni_model.serve.exchange import Prepared, Request
from omni_model.serve.preparing import prepare
from omni_model.serve.trial import SHADOW
from omni_model.serve.versions import Standing

logger = logging.getLogger(__name__)


def routed(
    now: Standing,
    request: Request,
    cache: FeatureCache,
    allowance: Allowance,
    *,
    may_try: bool,
    on_trial_failure: Callable[[], None],
) -> Prepared:
    """A request decoded for the version that shall answer it. Without `may_try` that is the one in service.

    What the version on trial does not take goes to the version in service. Raises what `prepare` raises for that one,
    and :class:`NothingServed`.
    """
    if now.in_service is None:
        raise NothingServed
    trial = now.trial
    if not may_try or trial is None or not trial.takes(request):
        return prepare(now.in_service, request, cache, allowance)
    if trial.mode == SHADOW:
        row = prepare(now.in_service, request, cache, allowance)
        row.mirror = trial.served.version
        return row
    try:
        row = prepare(trial.served, request, cache, allowance)
    except Exception as error:  # noqa: BLE001  if the request is at fault, the version in service says so too
        row = prepare(now.in_service, request, cache, allowance)
        logger.warning("v%d on trial does not take %s: %s", trial.served.version, request.id, error)
        on_trial_failure()
        return row
    row.target, row.mirror = trial.served.version, now.in_service.version
    return row
