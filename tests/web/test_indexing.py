"""Indexing from the page: what may be chosen, how it is read, and a job that is watched, paused and gone on with."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from descry.errors import DataError, UsageError
from descry.gallery.account import Audit
from descry.gallery.sources import Sources
from descry.web.api.jobs import expression
from descry.web.folders import Folders

from .in_process import Server

BASE = "/api/v1/galleries/gallery"


def crops(folder: Path, count: int, first: int = 0) -> Path:
    """Pictures that differ, named CAMERA/DATE_TIME_NUMBER.jpg."""
    rng = np.random.default_rng(first)
    for i in range(first, first + count):
        path = folder / f"cam{i % 2 + 1}" / f"20260302_0800{i % 60:02d}_{i:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 8, 3), dtype=np.uint8)).resize((32, 64)).save(path)
        os.utime(path, (1.7e9, 1.7e9))  # a file as new as its reading is read twice
    return folder


@pytest.fixture
def export(tmp_path):
    """What the server may index: a folder of crops with a table, beside one that it may not."""
    folder = crops(tmp_path / "allowed" / "export", 6)
    (folder / "seen.csv").write_text("path,camera,time\n20260302_080000_0000.jpg,north gate,2026-03-02T07:59:00\n")
    crops(tmp_path / "secret", 2, first=900)
    return folder


@pytest.fixture
def indexer(folder, export):
    made = Server(folder, folders=[export.parent])
    with made.client(Authorization=f"Bearer {made.token}") as client:
        made.desk.warm()
        yield made, client
    made.gallery.close()


def chosen(client: Any, *names: str) -> dict:
    """What is listed within allowed/NAME/…"""
    found = client.get(f"{BASE}/folders").json()
    for name in ("allowed", *names):
        row = next(f for f in found["folders"] if f["name"].rsplit("/")[-1] == name)
        found = client.get(f"{BASE}/folders", params={"within": row["id"]}).json()
    return found


def begun(client: Any, folder: str, **body: Any) -> dict:
    answer = client.post(f"{BASE}/index-jobs", json={"folder": folder} | body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/index-jobs/{answer.json()['id']}"
    return answer.json()


def ended(client: Any, job: dict, *states: str) -> dict:
    wanted = states or ("done", "stopped", "failed")
    until = time.monotonic() + 30
    while (job := client.get(f"/api/v1/index-jobs/{job['id']}").json())["state"] not in wanted:
        assert time.monotonic() < until, job
        time.sleep(0.02)
    return job


def test_only_what_lies_below_an_allowed_folder_is_listed(indexer, export):
    _, client = indexer
    (export / ".hidden").mkdir()
    (export / "way out").symlink_to(export.parent.parent / "secret")
    (export / "table.csv").symlink_to(export.parent.parent / "x.csv")
    top = client.get(f"{BASE}/folders").json()
    assert [f["name"] for f in top["folders"]] == ["allowed"]
    assert top["here"] is None
    here = chosen(client, "export")
    assert [f["name"] for f in here["folders"]] == ["allowed/export/cam1", "allowed/export/cam2"]
    assert [t["name"] for t in here["tables"]] == ["allowed/export/seen.csv"]
    assert [p["name"] for p in here["above"]] == ["allowed"]
    assert str(export.parent.parent) not in json.dumps([top, here]), "no path of the server is told"
    assert chosen(client, "export", "cam1")["pictures"] == 3


def test_folders_go_by_ids_and_never_by_paths(indexer, export):
    _, client = indexer
    for way in ("..", str(export), "/etc", "../secret", "%2e%2e", "a" * 24, "0" * 23, "A" * 24, "allowed"):
        assert client.get(f"{BASE}/folders", params={"within": way}).status_code in (404, 422), way
        for path in ("index-preview", "index-jobs"):
            assert client.post(f"{BASE}/{path}", json={"folder": way}).status_code in (404, 422), way
            table = {"folder": way, "mapping": {"time": "csv", "table": way}}
            assert client.post(f"{BASE}/{path}", json=table).status_code in (404, 422), way
    assert client.get("/api/v1/index-jobs").json() == {"jobs": []}


def test_a_folder_that_became_a_link_is_not_followed(indexer, export):
    _, client = indexer
    here = chosen(client, "export")
    cam1 = here["folders"][0]["id"]
    shutil.rmtree(export / "cam1")
    (export / "cam1").symlink_to(export.parent.parent / "secret" / "cam1")
    for answer in (
        client.get(f"{BASE}/folders", params={"within": cam1}),
        client.post(f"{BASE}/index-preview", json={"folder": cam1}),
        client.post(f"{BASE}/index-jobs", json={"folder": cam1}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_links_to_files_outside_are_left_out_and_counted(indexer, export):
    server, client = indexer
    outside = next((export.parent.parent / "secret").rglob("*.jpg"))
    (export / "out[1].jpg").symlink_to(outside)
    (export / "within.jpg").symlink_to(next((export / "cam1").iterdir()))
    here = chosen(client, "export")["here"]["id"]
    job = ended(client, begun(client, here))
    assert (job["state"], job["links"], job["counts"]["added"]) == ("done", 1, 7)
    assert not any(item.path.endswith("out[1].jpg") for item in server.gallery.listed())


def test_a_dry_run_counts_and_writes_nothing(indexer, export):
    server, client = indexer
    before = server.gallery.snapshot().generation
    job = ended(client, begun(client, chosen(client, "export")["here"]["id"], dry=True))
    assert (job["state"], job["dry"]) == ("done", True)
    assert job["counts"] == {"added": 6, "changed": 0, "moved": 0, "removed": 0, "unchanged": 0, "skipped": 0}
    assert server.gallery.snapshot().generation == before


def test_a_mapping_is_previewed_and_used(indexer, export):
    server, client = indexer
    here = chosen(client, "export")
    mapping = {"camera": "pattern", "time": "pattern", "pattern": "{camera}/{time}_*"}
    body = {"folder": here["here"]["id"], "mapping": mapping}
    seen = client.post(f"{BASE}/index-preview", json=body).json()
    assert seen["looked_at"] == 6
    assert seen["rows"][0] == {
        "path": "cam1/20260302_080000_0000.jpg", "camera": "cam1", "time": "2026-03-02T08:00:00", "track": "",
    }  # fmt: skip
    mapping = {"camera": "csv", "time": "csv", "table": here["tables"][0]["id"]}
    body = {"folder": here["here"]["id"], "mapping": mapping}
    rows = client.post(f"{BASE}/index-preview", json=body).json()["rows"]
    assert [r["camera"] for r in rows] == ["north gate"] + [""] * 5
    ended(client, begun(client, here["here"]["id"], mapping=mapping))
    item = next(i for i in server.gallery.listed() if i.path.endswith("080000_0000.jpg"))
    assert (item.camera, item.time.isoformat()) == ("north gate", "2026-03-02T07:59:00")


def test_exif_is_previewed(indexer, export):
    _, client = indexer
    picture = Image.new("RGB", (32, 64), (90, 20, 20))
    exif = picture.getexif()
    exif[272], exif[306] = "Gate 4", "2026:03:02 09:30:00"
    picture.save(export / "a.jpg", exif=exif)
    body = {"folder": chosen(client, "export")["here"]["id"], "mapping": {"camera": "exif", "time": "exif"}}
    row = client.post(f"{BASE}/index-preview", json=body).json()["rows"][0]
    assert (row["camera"], row["time"]) == ("Gate 4", "2026-03-02T09:30:00")


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"camera": "pattern"}, "needs {camera}"),
        ({"camera": "pattern", "pattern": "{time}_*"}, "no {camera}"),
        ({"camera": "pattern", "pattern": "{camra}_*"}, "camera"),
        ({"camera": "pattern", "pattern": "{camera}{time}"}, "touch"),
        ({"camera": "pattern", "pattern": "{camera}_}"}, "brace"),
        ({"time": "csv"}, "no table was chosen"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused_with_the_reason(indexer, mapping, said):
    _, client = indexer
    here = chosen(client, "export")["here"]["id"]
    body = {"folder": here, "mapping": mapping}
    seen = client.post(f"{BASE}/index-preview", json=body)
    assert (seen.status_code, seen.json()["rows"]) == (200, [])
    assert said in seen.json()["problem"]
    answer = client.post(f"{BASE}/index-jobs", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_table_that_is_none_is_named_without_its_path(indexer, export):
    _, client = indexer
    (export / "bad.csv").write_text("a,b\n1,2\n")
    here = chosen(client, "export")
    table = next(t["id"] for t in here["tables"] if t["name"].endswith("bad.csv"))
    body = {"folder": here["here"]["id"], "mapping": {"time": "csv", "table": table}}
    answer = client.post(f"{BASE}/index-jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "table")
    assert client.post(f"{BASE}/index-preview", json=body).json()["problem"] == answer.json()["detail"]
    assert "allowed/export/bad.csv has the columns" in answer.json()["detail"]
    assert str(export.parent.parent) not in answer.text


def test_bad_files_are_listed_with_reasons_by_pages(indexer, export):
    _, client = indexer
    for i in range(5):
        (export / f"bad_{i}.jpg").write_bytes(b"no picture")
    good = io.BytesIO()
    Image.new("RGB", (64, 64)).save(good, "JPEG")
    (export / "cut.jpg").write_bytes(good.getvalue()[:200])
    job = ended(client, begun(client, chosen(client, "export")["here"]["id"]))
    assert (job["counts"]["added"], job["counts"]["skipped"]) == (6, 6)
    first = client.get(f"{BASE}/skipped", params={"limit": 4}).json()
    assert (first["total"], first["reasons"]) == (6, {"corrupt": 1, "format": 5})
    assert first["rows"][0]["path"] == "allowed/export/bad_0.jpg"
    assert "is in no format that descry reads" in first["rows"][0]["detail"]
    rest = client.get(f"{BASE}/skipped", params={"limit": 4, "cursor": first["cursor"]}).json()
    assert [r["path"].rsplit("/")[-1] for r in rest["rows"]] == ["bad_4.jpg", "cut.jpg"]
    assert rest["cursor"] == ""


class Gate:
    """A model that waits before each batch until it is let through."""

    def __init__(self, model: Any, monkeypatch: Any):
        import threading

        self.turn, self.batches, self.real = threading.Semaphore(0), 0, model.embed_pixels
        monkeypatch.setattr(model, "embed_pixels", self.embed)

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        assert self.turn.acquire(timeout=30)
        self.batches += 1
        return self.real(pixels)


def test_a_job_pauses_with_a_commit_and_goes_on_to_the_same_gallery(indexer, export, monkeypatch):
    server, client = indexer
    crops(export, 90, first=10)
    before = len(server.gallery)
    gate = Gate(server.gallery.model, monkeypatch)
    job = begun(client, chosen(client, "export")["here"]["id"])
    again = client.post(f"{BASE}/index-jobs", json={"folder": "0" * 24})
    assert again.status_code == 404
    second = client.post(f"{BASE}/index-jobs", json={"folder": chosen(client)["here"]["id"]})
    assert (second.status_code, second.json()["code"]) == (409, "indexing")
    assert client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "paused"}).json()["state"] == "pausing"
    gate.turn.release()
    paused = ended(client, job, "paused")
    assert 0 < paused["done"] < paused["total"] == 96
    assert len(server.gallery) == before + paused["counts"]["added"] > before, "what was read is there"
    server.gallery.delete([])  # the lock is free
    server.gallery.store.release()
    assert client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "running"}).json()["state"] == "running"
    for _ in range(10):
        gate.turn.release()
    done = ended(client, job)
    assert (done["state"], done["done"], done["total"]) == ("done", 96, 96)
    assert done["counts"] == {"added": 96, "changed": 0, "moved": 0, "removed": 0, "unchanged": 0, "skipped": 0}
    assert len(server.gallery) == before + 96
    late = client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "paused"})
    assert (late.status_code, late.json()["code"]) == (409, "ended")


def test_a_stopped_job_keeps_what_was_committed_and_frees_the_place(indexer, export, monkeypatch):
    server, client = indexer
    crops(export, 90, first=10)
    gate = Gate(server.gallery.model, monkeypatch)
    here = chosen(client, "export")["here"]["id"]
    job = begun(client, here)
    assert client.delete(f"/api/v1/index-jobs/{job['id']}").json()["state"] == "stopping"
    gate.turn.release()
    stopped = ended(client, job)
    assert stopped["state"] == "stopped"
    assert stopped["counts"]["added"] > 0
    for _ in range(10):
        gate.turn.release()
    rest = ended(client, begun(client, here))
    assert rest["counts"]["added"] + stopped["counts"]["added"] == 96
    assert rest["counts"]["unchanged"] == stopped["counts"]["added"]


def test_a_paused_job_can_be_stopped_and_a_server_ends_with_one(folder, export, monkeypatch):
    server = Server(folder, folders=[export.parent])
    crops(export, 40, first=10)
    with server.client(Authorization=f"Bearer {server.token}") as client:
        server.desk.warm()
        gate = Gate(server.gallery.model, monkeypatch)
        job = begun(client, chosen(client, "export")["here"]["id"])
        client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "paused"})
        gate.turn.release()
        ended(client, job, "paused")
    assert server.desk.indexing.jobs[job["id"]].state == "stopped"
    server.gallery.close()


def test_the_same_key_gives_the_same_job(indexer, export):
    _, client = indexer
    here = chosen(client, "export")["here"]["id"]
    sent = [
        client.post(f"{BASE}/index-jobs", json={"folder": here}, headers={"Idempotency-Key": "one"}).json()["id"]
        for _ in range(2)
    ]
    assert sent[0] == sent[1]
    other = client.post(f"{BASE}/index-jobs", json={"folder": here, "dry": True}, headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    ended(client, {"id": sent[0]})
    assert len(client.get("/api/v1/index-jobs").json()["jobs"]) == 1


def test_events_tell_every_change_until_the_end(indexer, export):
    _, client = indexer
    job = begun(client, chosen(client, "export")["here"]["id"])
    answer = client.get(f"/api/v1/index-jobs/{job['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.split("\n\n") if block]
    told = [json.loads(e["data"]) for e in events if e.get("event") == "job"]
    assert [int(e["id"]) for e in events] == sorted({int(e["id"]) for e in events})
    assert (told[-1]["state"], told[-1]["done"], told[-1]["total"]) == ("done", 6, 6)


def test_a_folder_without_pictures_fails_with_the_reason(indexer, export):
    _, client = indexer
    (export / "empty").mkdir()
    job = ended(client, begun(client, chosen(client, "export", "empty")["here"]["id"]))
    assert job["state"] == "failed"
    assert "allowed/export/empty holds no picture files" in job["trouble"]
    assert str(export.parent.parent) not in json.dumps(job)


def test_a_gallery_written_by_another_process_is_said(indexer, export):
    from descry.lock import WriterLock

    server, client = indexer
    lock = WriterLock(server.gallery.path)
    job = ended(client, begun(client, chosen(client, "export")["here"]["id"]))
    lock.release()
    assert (job["state"], job["trouble"]) == (
        "failed",
        "another process is writing to the gallery; try again in a moment",
    )


def test_without_allowed_folders_nothing_can_be_chosen(client):
    assert client.get(f"{BASE}/folders").json()["folders"] == []
    assert client.post(f"{BASE}/index-jobs", json={"folder": "0" * 24}).status_code == 404


def test_nothing_new_is_done_at_once(indexer, export):
    _, client = indexer
    here = chosen(client, "export")["here"]["id"]
    ended(client, begun(client, here))
    job = ended(client, begun(client, here))
    assert (job["state"], job["total"], job["counts"]["unchanged"]) == ("done", 0, 6)


def test_every_run_that_writes_has_a_line_in_the_account(indexer, export, monkeypatch):
    server, client = indexer
    crops(export, 90, first=10)
    gate = Gate(server.gallery.model, monkeypatch)
    here = chosen(client, "export")["here"]["id"]
    ended(client, begun(client, here, dry=True))
    job = begun(client, here)
    client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "paused"})
    gate.turn.release()
    ended(client, job, "paused")
    client.put(f"/api/v1/index-jobs/{job['id']}/state", json={"state": "running"})
    for _ in range(10):
        gate.turn.release()
    ended(client, job)
    lines = [json.loads(line) for line in Audit(server.gallery.path).read().splitlines()]
    assert [line["what"] for line in lines].count("index") == 3, "the gallery's first run, and two of the page"
    assert client.get("/api/v1/audit").json()["ok"]


def test_roots_are_named_apart_and_must_exist(tmp_path):
    assert Folders(["/"]).roots[0].name == "root"
    for way in ("a/photos", "b/photos"):
        (tmp_path / way).mkdir(parents=True)
    made = Folders([tmp_path / "a/photos", tmp_path / "b/photos", tmp_path / "a/../a/photos"])
    assert [r.name for r in made.roots] == ["photos", "photos 2"]
    assert made.within(str(tmp_path / "b/photos/x.jpg")) == "photos 2/x.jpg"
    assert made.within("/elsewhere/x.jpg") == "x.jpg"
    with pytest.raises(DataError):
        Folders([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{camera}/{time}_*", "/x/cam3/20260302_080000_0001.jpg", ("cam3", "2026-03-02T08:00:00")),
        ("{camera}_{time}*", "/x/gate-4_2026-03-02T080000.jpg", ("gate-4", "2026-03-02T08:00:00")),
        ("{camera}_c{time}.jpg", "/x/north_c20260302080000.jpg", ("north", "2026-03-02T08:00:00")),
        ("{camera}/*/{time}.png", "/a/b c/d/20260302_080000.png", ("b c", "2026-03-02T08:00:00")),
        ("{camera}_{time}.jpg", "/x/a_b_20260302080000.jpg", ("", None)),
    ],
)
def test_a_path_pattern_reads_the_end_of_a_path(pattern, path, found):
    path = path.replace("/", os.sep)
    made = Sources(camera=expression(pattern), time=expression(pattern)).fields(path, 0)
    assert (made["camera"], made["time"].isoformat() if made["time"] else None) == found


def test_a_hostile_pattern_ends_at_once():
    """Placeholders never try again what they took: one pass, though the path nearly fits a great many ways."""
    made = Sources(camera=expression("*a" * 60 + "{camera}!"))
    assert made.fields("/x/" + "a" * 4000, 0)["camera"] == ""


def test_a_pattern_is_no_regular_expression():
    made = Sources(camera=expression("{camera}.(*)"))
    assert made.fields("/x/gate.(1)", 0)["camera"] == "gate"
    with pytest.raises(UsageError, match="at most once"):
        expression("{camera}/{camera}")
