"""Others on the same machine: nothing leaves it, a browser keeps nothing, connections and descriptors are bounded."""

from __future__ import annotations

import ast
import http.server
import os
import re
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from starlette.formparsers import MultiPartParser

import descry
from descry import cli
from descry.client import Client, ServerRefused
from descry.errors import UsageError
from descry.web.app import ROUTERS
from descry.web.desk import WorkQueue
from descry.web.limits import Limits
from descry.web.safety import FILE, Tokens
from descry.web.serving import bounded
from served import toy_model

from .in_process import HOST, ask, png, upload
from .test_safety import filled, operations

WEB = Path(descry.__file__).parent / "web"


def login(server, code: str):
    return server.client(Origin=f"http://{HOST}").post("/api/v1/login", json={"token": code})


def test_a_link_opens_once(server) -> None:
    code = server.tokens.code()
    assert login(server, code).status_code == 204
    assert login(server, code).status_code == 401
    assert server.client(Authorization=f"Bearer {code}").get("/api/v1/inquiries").status_code == 401
    late = server.tokens.code()
    server.now += 12 * 3600 + 1
    assert login(server, late).status_code == 401


def test_a_cookie_is_no_bearer_and_holds_for_its_own_port(server) -> None:
    name, _, value = login(server, server.tokens.code()).headers["set-cookie"].split(";")[0].partition("=")
    for method, path in operations(server):
        if path.startswith("/api") and not path.endswith("/login"):
            answer = server.client(Authorization=f"Bearer {value}").request(method, filled(path))
            assert (answer.status_code, answer.json()["code"]) == (401, "token_wrong"), (method, path)
    assert server.client(Cookie=f"{name}={value}").get("/api/v1/inquiries").status_code == 200
    assert server.tokens.check(value, "descry_9000") == "wrong"
    assert server.tokens.check(value) == "wrong"


def test_no_answer_is_kept_by_a_browser(client, server, inquiry) -> None:
    """Every route, whatever it answers."""
    made = ask(client, inquiry, "hat", sketches=[{"asset": upload(client)}])
    item = made["results"]["leads"][0]["item"]["id"]
    pictures = [f"/api/v1/galleries/gallery/items/{item}/{kind}" for kind in ("thumb", "image", "still", "video")]
    tried = [client.get(path) for path in (*pictures, f"/api/v1/inquiries/{inquiry}", "/api/openapi.json")]
    tried += [client.request(method, filled(path)) for method, path in operations(server) if path.startswith("/api")]
    assert sum(answer.status_code == 200 for answer in tried) > 5
    for answer in tried:
        assert "no-store" in answer.headers["cache-control"], answer.request.url
        assert "max-age" not in answer.headers["cache-control"]


def test_every_get_route_of_the_app_forbids_keeping_or_is_known_to_be_impersonal(client, server) -> None:
    """By the routes themselves, also those that the API's description leaves out."""
    own = [r for r in server.app.app.routes if hasattr(r, "path")]
    inner = [r for router in ROUTERS for r in router.routes]
    paths = {r.path for r in [*own, *inner] if "GET" in (getattr(r, "methods", None) or ())}
    assert {path for method, path in operations(server) if method == "GET"} <= paths
    for path in sorted(paths - {"/", "/healthz", "/readyz"}):
        assert "no-store" in client.get(filled(path)).headers["cache-control"], path
    mounted = [r.path for r in own if getattr(r, "methods", None) is None]
    assert mounted == ["/static"], "what is mounted beside /api sends no no-store"


def test_long_headers_are_refused_before_they_are_parsed(server) -> None:
    for name in ("Cookie", "X-Anything", "Authorization"):
        answer = server.client(**{name: 'descry_8642="' + "\\" * 60_000}).get("/api/v1/inquiries")
        assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_long")
    odd = server.client(Cookie='a="; descry_8642 = x; =; ;;descry_8642').get("/api/v1/inquiries")
    assert odd.status_code == 401


@pytest.mark.parametrize("how", ["rights", "future", "copied", "short"])
def test_a_secret_that_somebody_else_may_know_is_not_used(tmp_path, how) -> None:
    (tmp_path / "a").mkdir()
    known = Tokens.beside(tmp_path / "a")
    token, path = known.make(), tmp_path / "a" / FILE
    if how == "rights":
        path.chmod(0o644)
    elif how == "future":
        os.utime(path, (time.time() + 86_400,) * 2)
    elif how == "short":
        path.write_bytes(path.read_bytes()[:32])
    else:
        data = path.read_bytes()
        (tmp_path / "other").write_bytes(data)
        path.unlink()
        path.write_bytes(data)
        (tmp_path / "other").replace(path)
        path.chmod(0o600)
    again = Tokens.beside(tmp_path / "a")
    assert again.check(token) == "wrong"
    assert again.check(again.make()) == "ok"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_from_the_future_does_not_hold() -> None:
    now = 1_800_000_000.0
    tokens = Tokens(b"k" * 32, clock=lambda: now)
    token = tokens.make()
    now -= 86_400
    assert tokens.check(token) == "expired"


# ---------------------------------------------------------------------- the client


class _Spy(http.server.BaseHTTPRequestHandler):
    seen: list[str] = []  # noqa: RUF012 - shared on purpose
    elsewhere = ""

    def do_POST(self) -> None:
        self.seen.append(self.path)
        self.send_response(307 if self.elsewhere else 200)
        self.send_header("Location", self.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *args) -> None:
        pass


def _spy(elsewhere: str = ""):
    kind = type("Spy", (_Spy,), {"seen": [], "elsewhere": elsewhere})
    made = http.server.HTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made, kind.seen, f"http://127.0.0.1:{made.server_port}"


def test_the_client_asks_no_proxy_and_follows_no_redirect(monkeypatch) -> None:
    proxy, through, address = _spy()
    target, reached, elsewhere = _spy()
    server, asked, link = _spy(f"{elsewhere}/taken")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("no_proxy", raising=False)
    try:
        with pytest.raises(ServerRefused, match="sends elsewhere"):
            Client(f"{link}/#token=abc").gallery()
    finally:
        for one in (proxy, target, server):
            one.shutdown()
            one.server_close()
    assert (through, reached) == ([], [])
    assert len(asked) == 1


STRANGE = {
    "deep": b"[" * 200_000, "cut": b"{", "a list": b"[1]", "a text": b'"x"', "null": b"null", "NaN": b"NaN",
    "number": b"7",
    "no UTF-8": b"\xff\xfe", "digits": b"9" * 10_000, "too large a number": b"1e999", "an object": b"{}",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("status", [200, 204, 400, 500])
@pytest.mark.parametrize("what", STRANGE)
def test_a_program_at_that_port_that_is_no_server_of_ours_is_refused(what, status) -> None:
    class Other(_Spy):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))  # what is left unread ends in a reset
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(STRANGE[what])))
            self.end_headers()
            self.wfile.write(STRANGE[what])

        do_GET = do_POST

    server = http.server.HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ServerRefused, match="none of descry serve"):
            Client(f"http://127.0.0.1:{server.server_port}/#token=abc").gallery()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("link", [
    "http://[/#token=a", "http://evil.com/#token=a", "https://127.0.0.1:1/#token=a", "http://127.0.0.1@evil.com/#token=a",
    "http://127.0.0.1.evil.com/#token=a", "http://0.0.0.0:1/#token=a", "http://10.0.0.1/#token=a",
    "http://[::1]:1/#token=a", "http://127.0.0.1:99999/#token=a",
])  # fmt: skip
def test_the_client_speaks_to_this_machine_alone(link, monkeypatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("a connection was tried"))
    with pytest.raises(UsageError, match="server of this machine"):
        Client(link)


def test_no_module_uses_a_client_that_asks_proxies() -> None:
    """`urllib.request` and `requests` read HTTP_PROXY; only the hub's own package may, for a download that was asked
    for."""
    for path in WEB.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"urllib.request", "requests", "httpx", "aiohttp"} & set(names), path


# ---------------------------------------------------------------------- connections, threads, descriptors


@pytest.fixture
def live(server):
    """The app on a real port with few connections."""
    limits = Limits(connections=16, idle_seconds=1.0)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    server.app.hosts = lambda: frozenset({f"127.0.0.1:{server.port}"})
    config = uvicorn.Config(
        server.app, log_level="error", log_config=None, ws="none", http=bounded(limits), lifespan="off"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield server
    running.should_exit = True
    thread.join(10)
    listener.close()


def alive(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_connections_that_ask_nothing_make_room_and_are_closed(live, begun) -> None:
    held = [socket.create_connection(("127.0.0.1", live.port), timeout=20) for _ in range(200)]
    for one in held:
        try:
            one.sendall(begun)
        except OSError:
            continue
    assert alive(live.port).endswith(b"alive")
    for one in held:  # each comes to its end by itself
        try:
            while one.recv(4096):
                pass
        except ConnectionError:
            pass
        one.close()
    assert alive(live.port).endswith(b"alive")


def test_looking_at_the_page_costs_no_descriptors(client, server, monkeypatch) -> None:
    """Threads that are renewed after a pause once left a connection to the database behind each."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no list of descriptors here")
    monkeypatch.setattr("anyio._backends._asyncio.WorkerThread.MAX_IDLE_TIME", 0)
    items = [row["id"] for row in client.get("/api/v1/galleries/gallery/items").json()["items"]][:24]

    def look() -> int:
        for item in items:
            assert client.get(f"/api/v1/galleries/gallery/items/{item}/thumb").status_code == 200
            assert client.get(f"/api/v1/galleries/gallery/items/{item}").status_code == 200
        assert client.get("/api/v1/audit").status_code == 200
        return len(os.listdir("/proc/self/fd"))

    queues = [kept for kept in vars(server.desk).values() if isinstance(kept, WorkQueue)]
    assert server.desk.lookups in queues
    for workers in (queue._workers for queue in queues):  # each thread has its connection before anything is counted
        everyone = threading.Barrier(workers._max_workers)

        def begin(everyone=everyone) -> None:
            server.gallery.store.database.connection().execute("SELECT * FROM state").fetchall()
            everyone.wait(20)

        for started in [workers.submit(begin) for _ in range(everyone.parties)]:
            started.result()
    look()
    first = look()
    assert [look() for _ in range(6)] == [first] * 6
    assert len(server.desk.lookups._workers._threads) <= server.desk.limits.lookups


def test_nothing_of_the_server_runs_in_threads_that_are_renewed() -> None:
    for path in WEB.rglob("*.py"):
        text = path.read_text("utf-8")
        assert "run_in_threadpool" not in text, path
        assert "to_thread" not in text or path.name == "app.py", path
        for name in re.findall(r"Depends\((\w+)\)", text):
            assert f"async def {name}(" in text, f"{name} of {path} would run in a thread of its own"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                over = [ast.unparse(d) for d in node.decorator_list]
                if any(re.match(r"(\w*router|app|made)\.", d) for d in over):
                    assert over[-1].startswith("queued("), f"{node.name} of {path} would run in a thread of its own"


def test_an_upload_is_not_written_to_a_file(client, monkeypatch) -> None:
    monkeypatch.setattr("tempfile._TemporaryFileWrapper.__init__", lambda *a, **k: pytest.fail("a file was made"))
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda *a, **k: pytest.fail("a file was made"))
    assert upload(client, png() + bytes(5_000_000))
    assert MultiPartParser.spool_max_size > Limits().upload_bytes


# ---------------------------------------------------------------------- files


def test_what_a_command_writes_is_the_owners_alone(folder, tmp_path, monkeypatch, capsys) -> None:
    """Gallery, caches, sheets, tables, reports: whatever the umask of the shell."""
    monkeypatch.setattr("descry.embed.load", lambda *args, **kwargs: toy_model())
    before = os.umask(0)
    try:
        out = tmp_path / "out"
        out.mkdir()
        files = ["--sheet", f"{out}/a.png", "--csv", f"{out}/a.csv", "--copy-to", f"{out}/copies"]
        assert cli.main(["search", str(folder), "red", *files]) == 0
        assert cli.main(["inquiry", "new", str(folder), "x", "--text", "red"]) == 0
        assert cli.main(["report", "x", "--gallery", str(folder), "-o", f"{out}/x.html"]) == 0
        assert cli.main(["audit", "export", str(folder), "--out", f"{out}/account.jsonl"]) == 0
    finally:
        assert os.umask(before) == 0
    made = [
        p for p in (*out.rglob("*"), folder / "gallery.db", folder / "head", folder / "vectors.cache") if p.exists()
    ]
    assert len(made) > 6
    assert not [p.name for p in made if p.stat().st_mode & 0o077]


def test_who_sends_too_much_reads_why(live) -> None:
    """A client that does not wait for "100 Continue" sends all of its body before it reads."""
    size = live.desk.limits.upload_bytes + 3_000_000
    head = (
        f"POST /api/v1/assets HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nAuthorization: Bearer {live.token}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as line:
        line.sendall(head.encode() + b"\0" * size)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413"), answer[:80]
    assert b"too_many_bytes" in answer
