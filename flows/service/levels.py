"""What engine and log hold at the moment of the question, as numbers for Prometheus."""

from collections.abc import Iterator

from flows.service.metrics import Level
from flows.service.prediction_log import LogCounts
from omni_model.serve.engine import Engine


def levels(engine: Engine, log: LogCounts) -> Iterator[Level]:
    """Queue, cache, log, versions and trial."""
    for name, help_, value in totals(engine, log):
        yield Level(name=name, help=help_, value=value, is_total=True)
    counts, served, trial = engine.counts(), engine.served, engine.trial
    for name, help_, value in (
        ("omniloop_open_rows", "Requests taken and not answered yet.", counts.num_open),
        ("omniloop_queued_rows", "Requests that wait for a batch.", counts.num_queued),
        ("omniloop_cache_bytes", "Memory that the cache takes.", counts.cache.num_bytes),
        ("omniloop_log_waiting_rows", "Answers on their way into the log.", log.num_waiting),
        ("omniloop_mirrors_waiting_rows", "Requests that wait for a second answer.", counts.num_mirrors_waiting),
        ("omniloop_version", "Version that answers; 0 for none.", served.version if served else 0),
        ("omniloop_generation", "Generation of that version.", served.generation if served else 0),
        ("omniloop_trial_version", "Version on trial; 0 for none.", trial.version if trial else 0),
        ("omniloop_trial_share", "Share of the requests that both versions answer.", trial.share if trial else 0),
    ):
        yield Level(name=name, help=help_, value=value)
    yield from of_devices(engine)
    for mode in ("canary", "shadow"):
        value = 1 if trial is not None and trial.mode == mode else 0
        yield Level(name=f"omniloop_trial_{mode}", help=f"Whether the trial is a {mode}.", value=value)


def totals(engine: Engine, log: LogCounts) -> Iterator[tuple[str, str, float]]:
    """Numbers that only ever grow."""
    counts = engine.counts()
    yield "omniloop_cache_hits", "Encoder outputs found in the cache.", counts.cache.num_hits
    yield "omniloop_cache_misses", "Encoder outputs that were computed.", counts.cache.num_misses
    yield "omniloop_cache_saved_bytes", "Encoder outputs not computed again.", counts.cache.bytes_saved
    yield "omniloop_log_written", "Answers logged.", log.num_written
    yield "omniloop_log_dropped", "Answers not logged: the buffer was full.", log.num_dropped
    yield "omniloop_log_failed", "Answers not logged: they could not be.", log.num_failed
    yield "omniloop_log_lost", "Answers not logged: the service was killed before.", log.num_lost
    yield "omniloop_log_sampled_out", "Answers not logged: not of the share that is.", log.num_sampled_out
    yield "omniloop_mirrors_logged", "Second answers logged.", log.num_mirrors_written
    yield "omniloop_mirrors_lost", "Second answers not logged.", log.num_mirrors_lost
    yield "omniloop_mirrored", "Second answers computed.", counts.num_mirrored
    yield "omniloop_mirrors_dropped", "Second answers not computed: no room or no time.", counts.num_mirrors_dropped
    yield "omniloop_mirrors_failed", "Second answers tried in vain.", counts.num_mirrors_failed
    yield "omniloop_trial_failures", "Requests that only the version on trial failed at.", counts.num_trial_failures


def of_devices(engine: Engine) -> Iterator[Level]:
    """What waits for each device's encoders, and what they did."""
    for device, counts in engine.counts().devices.items():
        for name, help_, value, is_total in (
            ("omniloop_device_waiting_values", "Values that wait for their encoder.", counts.num_waiting, False),
            ("omniloop_device_encoded_values", "Values encoded.", counts.num_encoded, True),
            ("omniloop_device_busy_seconds", "Time spent encoding.", counts.busy_s, True),
        ):
            yield Level(name=name, help=help_, value=value, is_total=is_total, device=device)
