"""The call of docs/api.md, as a script makes it."""

from __future__ import annotations

import shlex
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_call_of_the_documentation_is_answered(server) -> None:
    line = next(x for x in PAGE.read_text("utf-8").splitlines() if x.startswith("$ curl "))
    _, _, option, header, address = shlex.split(line)
    name, _, value = header.partition(": ")
    path = address.removeprefix("http://127.0.0.1:8642")
    assert option == "-H"
    with server.client() as client:
        assert client.get(path).status_code == 401
        found = client.get(path, headers={name: value.replace("TOKEN", server.token)})
    assert found.status_code == 200
    assert found.json()["galleries"]
