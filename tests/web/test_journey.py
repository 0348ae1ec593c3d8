"""How many functions and files of the package a round over HTTP enters, as tests/test_journey.py counts them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from descry.web.desk import WorkQueue
from test_journey import entered

from .in_process import Server

FUNCTIONS, FILES = 189, 29


def test_a_round_enters_few_functions_and_files(server: Server) -> None:
    answers = []
    for line in vars(server.desk).values():
        if isinstance(line, WorkQueue):  # threads that run already are not counted
            line._workers = ThreadPoolExecutor(1)

    def ask() -> None:
        client = server.client(Authorization=f"Bearer {server.token}")
        inquiry = client.post("/api/v1/inquiries", json={"name": "counted"}).json()["id"]
        answers.append(client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"phrases": [{"text": "a red jacket"}]}))

    found = entered(ask)
    assert answers[0].status_code == 201, answers[0].text
    names = sorted(f"{file}: {name}" for file, functions in found.items() for name in functions)
    assert len(found) <= FILES, (len(found), len(names), names)
    assert len(names) <= FUNCTIONS, names
