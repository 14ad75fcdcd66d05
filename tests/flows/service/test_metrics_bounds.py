"""What clients write makes no new series: the page of metrics has the same names and labels after a flood of them."""

import re

import httpx

from flows.service.live import LiveService

BODY = {"task": "digit", "inputs": {"text": "siete"}}


def series(client: httpx.Client) -> set[str]:
    """Names with labels, without values and without the moments at which they began."""
    lines = re.findall(r"^([a-z]\S*) \S+$", client.get("/metrics").text, re.MULTILINE)
    return {line for line in lines if "_created" not in line}


def test_ten_thousand_label_values_make_no_series(service: tuple[httpx.Client, LiveService]) -> None:
    client, _ = service

    def one(word: str) -> None:
        own = {"domain": f"shop-{word}", "source": f"till-{word}", "key": word, "item": word, "instruction": word}
        client.post("/v1/predict", json={**BODY, **own}, headers={"X-Request-ID": word})
        client.post("/v1/predict", json={**BODY, "task": f"task-{word}"})
        client.post("/v1/predict", json={**BODY, "inputs": {f"sense-{word}": "x"}})
        client.get(f"/v1/versions/{len(word)}")
        client.get(f"/nowhere/{word}")
        client.request(f"VERB{word}", "/v1/predict")

    one("first")
    series(client)  # counts itself
    before = series(client)
    for number in range(60):
        one(f"word{number}")
    assert series(client) == before
    assert len(before) < 300


def test_a_batch_of_many_domains_makes_no_series(service: tuple[httpx.Client, LiveService]) -> None:
    client, live = service
    samples = [{**BODY, "domain": f"shop {number}"} for number in range(live.config.max_samples)]
    client.post("/v1/predict/batch", json={"samples": samples[:1]})
    series(client)
    before = series(client)
    assert client.post("/v1/predict/batch", json={"samples": samples}).status_code == 200
    assert series(client) == before
