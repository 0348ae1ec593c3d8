"""What is certified is what was seen: files that changed are not shown, marks go to the round that was looked at."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest
from PIL import Image

import descry
from descry import cli, safe_files
from descry.errors import ImageRejected, ModelRefused
from descry.gallery import Gallery
from descry.gallery.reading import as_indexed
from served import make_gallery, toy_model

from .in_process import Server, ask

ITEMS = "/api/v1/galleries/gallery/items"


@pytest.fixture
def own(tmp_path):
    """A gallery over crops of its own, which a test may change."""
    make_gallery(tmp_path).close()
    server = Server(tmp_path / "gallery")
    with server.client(Authorization=f"Bearer {server.token}") as client:
        server.desk.warm()
        server.http = client
        yield server
    server.gallery.close()


def replaced(path: str) -> None:
    """Another picture under the same name, of the same size in bytes and with the same time."""
    found, data = Path(path).stat(), Path(path).read_bytes()
    Path(path).write_bytes(data[:-3] + bytes(3))
    import os

    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_file_that_was_replaced_is_neither_shown_nor_certified(own, tmp_path, capsys, monkeypatch) -> None:
    client = own.http
    inquiry = client.post("/api/v1/inquiries", json={"name": "x"}).json()["id"]
    lead = ask(client, inquiry, "hat")["results"]["leads"][0]["item"]["id"]
    before = client.put(f"/api/v1/inquiries/{inquiry}/findings/{lead}", json={"verdict": "worth following"})
    assert before.json()["changed"] is False
    assert client.get(f"{ITEMS}/{lead}/thumb").status_code == 200
    replaced(own.gallery.items([lead])[0].path)
    for answer in (
        client.get(f"{ITEMS}/{lead}/thumb"),
        client.get(f"{ITEMS}/{lead}/image"),
        client.post(f"{ITEMS}/{lead}/asset"),
        client.put(f"/api/v1/inquiries/{inquiry}/findings/{lead}", json={"verdict": "worth following"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "changed")
        assert str(tmp_path) not in answer.text
    assert client.get(f"/api/v1/inquiries/{inquiry}/findings").json()["findings"][0]["changed"] is True
    found = own.gallery.search("hat", k=72)
    rank = found.ids.index(lead) + 1
    from descry.cli.search import copy_pictures

    copy_pictures(tmp_path / "copies", found, own.gallery.path)
    assert len(list((tmp_path / "copies").iterdir())) == 71
    assert f"rank {rank} is not copied" in capsys.readouterr().err
    assert not list((tmp_path / "copies").glob(f"{rank:04d}_*"))


@pytest.mark.parametrize("kind", ["secret", "picture", "link", "device", "folder"])
def test_a_row_that_names_a_file_elsewhere_shows_nothing(own, tmp_path, capsys, kind) -> None:
    """A foreign gallery may name anything, with the right hash."""
    place = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    place.mkdir()
    target = place / "id_rsa"
    if kind == "secret":
        target.write_bytes(b"secret")
    elif kind in ("picture", "link"):
        Image.new("RGB", (40, 80), "red").save(target, "PNG")
    data = target.read_bytes() if target.exists() else b""
    path = str(target)
    if kind == "link":
        crops = Path(own.gallery.items([1])[0].path).parent
        (crops / "harmless.png").symlink_to(target)
        path = str(crops / "harmless.png")
    path = {"device": "/dev/zero", "folder": "/"}.get(kind, path)
    item = own.gallery.items([1])[0]
    from dataclasses import replace

    forged = replace(item, path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    with pytest.raises(ImageRejected) as caught:
        as_indexed(forged)
    assert caught.value.reason == "outside"
    safe_files.allow(place)
    if kind == "picture":
        assert as_indexed(forged) == data


def test_a_picture_outside_is_shown_once_its_folder_is_allowed(tmp_path, monkeypatch, capsys) -> None:
    make_gallery(tmp_path).close()
    monkeypatch.setenv("DESCRY_ROOTS", str(tmp_path / "nothing named yet"))
    monkeypatch.setattr(safe_files, "_allowed", set())
    with Gallery.open(tmp_path / "gallery", toy_model()) as gallery:
        item = gallery.items([1])[0]
        with pytest.raises(ImageRejected, match="descry gallery allow"):
            as_indexed(item)
        assert cli.main(["gallery", "allow", str(Path(item.path).parent)]) == 0
        monkeypatch.setattr(safe_files, "_allowed", set())
        assert hashlib.sha256(as_indexed(item)).hexdigest() == item.sha256
        assert not safe_files.allowed(tmp_path / "gallery")
    assert cli.main(["gallery", "allow", str(tmp_path / "absent")]) == 2


def test_a_model_that_only_a_gallery_names_is_not_opened(folder, tmp_path, monkeypatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr("descry.embed.load", lambda *a, **k: pytest.fail("it was opened"))
    monkeypatch.setattr(safe_files, "_allowed", set())
    monkeypatch.setenv("DESCRY_ROOTS", str(tmp_path / "none"))
    with Gallery.open(folder, load=lambda source: pytest.fail("it was opened")) as gallery:
        from dataclasses import replace

        gallery.binding = replace(gallery.binding, source=str(run))
        with pytest.raises(ModelRefused, match="--model"):
            _ = gallery.model


def test_every_reader_of_an_items_file_compares_it_with_what_was_indexed() -> None:
    """No call reads `….path` of an item or a lead as a picture, opens or copies it, but `as_indexed`."""
    product = Path(descry.__file__).parent
    readers = {"open_regular", "read", "open", "load", "copyfile", "copy", "read_bytes"}
    calls = []
    for path in product.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in readers and ast.unparse(node.args[0]) in ("item.path", "lead.path", "found.path", "source"):
                calls.append((path.relative_to(product).as_posix(), ast.unparse(node)))
    assert [c for c in calls if "item.path" in c[1] or "lead.path" in c[1]] == [
        ("gallery/reading.py", "safe_files.open_regular(item.path)")
    ]


# ---------------------------------------------------------------------- rounds


def test_marks_closest_and_answers_go_to_the_round_that_was_looked_at(client, inquiry) -> None:
    """Two tabs: one shows round 1, the other made round 2."""
    at = f"/api/v1/inquiries/{inquiry}"
    first = ask(client, inquiry, "red jacket")
    item = first["results"]["leads"][0]["item"]["id"]
    key = client.get(f"{at}/question").json()["question"]["key"]
    ways = [
        lambda: client.put(f"{at}/marks/{item}", json={"mark": "like", "parent": 1}),
        lambda: client.post(f"{at}/marks", json={"like": [item], "parent": 1}),
        lambda: client.delete(f"{at}/marks/{item}", params={"parent": 1}),
        lambda: client.post(f"{at}/closest", json={"item": item, "parent": 1}),
        lambda: client.post(f"{at}/answers", json={"key": key, "answer": "yes", "parent": 1}),
    ]
    for way in ways:
        other = client.post(f"{at}/rounds", json={"phrases": [{"text": "green skirt"}], "parent": 1}).json()
        assert client.get(at).json()["head"] == other["number"]
        made = way().json()
        assert made["parent"] == 1, made
        assert "green skirt" not in str(made["query"])
    gone = client.put(f"{at}/marks/{item}", json={"mark": "like", "parent": 999})
    assert gone.status_code == 404


def test_a_key_stands_for_one_request(client, inquiry) -> None:
    def post(text, key="k"):
        body = {"phrases": [{"text": text}]}
        return client.post(f"/api/v1/inquiries/{inquiry}/rounds", json=body, headers={"Idempotency-Key": key})

    assert post("red").status_code == 201
    again = post("red")
    assert (again.json()["number"], again.headers["idempotency-replayed"]) == (1, "true")
    other = post("blue")
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert post("blue", "k2").json()["number"] == 2
