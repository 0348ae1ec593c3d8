"""Every operation against its own description: no server error, nothing that the description does not say.

The quick form asks a few hundred requests; `make test-long` asks thousands, and follows links between operations.
"""

from __future__ import annotations

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .in_process import HOST, Server, ask  # noqa: E402

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def without_lifespan(app):
    """Schemathesis begins and ends the app with every request; the server of the test stays."""

    async def asked(scope, receive, send):
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})

    return asked


def fuzzed(server: Server, examples: int) -> int:
    """Every operation with valid and invalid requests; how many were sent."""
    schema = schemathesis.openapi.from_dict(server.app.app.openapi())
    schema.app = without_lifespan(server.app)
    server.desk.warm()
    client = server.client(Authorization=f"Bearer {server.token}")
    inquiry = client.post("/api/v1/inquiries", json={"name": "fuzz"}).json()["id"]
    ask(client, inquiry, "red jacket")
    sent = 0
    client.put(f"/api/v1/inquiries/{inquiry}/findings/5", json={"verdict": "set aside"})
    place = client.get("/api/v1/galleries/gallery/folders").json()["folders"][0]["id"]
    jobs = "/api/v1/galleries/gallery/index-jobs"
    job = client.post(jobs, json={"folder": place, "dry": True}).json()["id"]
    known = {"gallery": "gallery", "inquiry": inquiry, "number": 1, "item": 5, "job": job}
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in ("/api/v1/login", "/readyz") or (operation.method, operation.path) == (
            "delete",
            "/api/v1/inquiries/{inquiry}",
        ):
            continue
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
            def one(case, real):
                nonlocal sent
                if real and case.path_parameters:
                    case.path_parameters.update({k: v for k, v in known.items() if k in case.path_parameters})
                    if isinstance(case.body, dict) and "folder" in case.body:
                        case.body["folder"] = place
                server.desk._tokens = 100.0
                headers = {"Authorization": f"Bearer {server.token}", "Host": HOST}
                answer = case.call(base_url=f"http://{HOST}", session=client, headers=headers)
                case.validate_response(answer, checks=CHECKS)
                sent += 1

            try:
                one()
            except Exception as error:
                if "Unsatisfiable" not in type(error).__name__ and "impossible" not in str(error):
                    raise
    return sent


@pytest.fixture
def server(folder, drawn):
    made = Server(folder, folders=[drawn / "crops"])
    with made.client():
        yield made
    made.gallery.close()


def test_every_operation_keeps_to_its_description(server):
    assert fuzzed(server, 4) > 100


@pytest.mark.long
def test_every_operation_keeps_to_its_description_for_long(server):
    assert fuzzed(server, 150) > 3000
