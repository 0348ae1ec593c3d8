"""A long day: thousands of rounds and hundreds of looks at the page cost no descriptors and no memory that grows."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .in_process import Server, ask

THINGS = ("red jacket", "blue coat", "black trousers", "white shirt", "green skirt", "grey hat")
ROUNDS_OF_ONE = 490
"""An inquiry has at most 500."""


def held() -> tuple[int, int]:
    """Descriptors, and bytes of memory that are not of files."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return len(os.listdir("/proc/self/fd")), 1024 * int(lines["RssAnon"].split()[0])


def look(client: Any) -> None:
    """What the page asks for when somebody looks at it: a list of items and their pictures."""
    base = "/api/v1/galleries/gallery/items"
    for row in client.get(base, params={"limit": 24}).json()["items"][:24]:
        assert client.get(f"{base}/{row['id']}/thumb").status_code == 200


def soak(server: Server, client: Any, rounds: int, looks: int, settled: int) -> dict[str, Any]:
    """Rounds in inquiries one after the other, with looks spread over them; what was held after `settled` rounds and
    in the end.
    """
    made = seen = 0
    inquiry, first = "", (0, 0)
    while made < rounds:
        if made % ROUNDS_OF_ONE == 0:
            inquiry = client.post("/api/v1/inquiries", json={"name": f"day {made}"}).json()["id"]
        server.now += 3.0
        ask(client, inquiry, THINGS[made % 6], f"-{THINGS[(made + 1) % 6]}")
        made += 1
        if made * looks >= (seen + 1) * rounds:
            look(client)
            seen += 1
        if made == settled:
            first = held()
    last = held()
    return {"rounds": made, "looks": seen, "first": first, "last": last}


@pytest.mark.parametrize(
    ("rounds", "looks", "settled"), [(60, 6, 40), pytest.param(10_000, 500, 1_000, marks=pytest.mark.long)]
)
def test_a_long_day_costs_nothing_that_stays(folder, monkeypatch, capsys, rounds, looks, settled) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no list of descriptors here")
    # as after a pause: no idle thread is kept
    monkeypatch.setattr("anyio._backends._asyncio.WorkerThread.MAX_IDLE_TIME", 0)
    server = Server(folder, burst=20_000)  # the pace of many days
    with server.client():
        server.desk.warm()
        found = soak(server, server.client(Authorization=f"Bearer {server.token}"), rounds, looks, settled)
    server.gallery.close()
    if rounds > 1_000:
        with capsys.disabled():
            print(f"\n{found}")
        assert found["last"][1] <= 1.05 * found["first"][1], found
    assert found["last"][0] <= found["first"][0] + 2, found
