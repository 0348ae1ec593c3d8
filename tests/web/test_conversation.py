"""The conversation over HTTP: rounds, pages, marks, questions, the tree, uploads, pictures."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from descry.query import Query
from descry.ranking import FORMULA
from descry.search import TIE

from .in_process import Server, ask, png, upload


def test_a_round_ranks_everything_and_its_shares_add_up(client, inquiry):
    made = ask(client, inquiry, "red jacket", "-backpack")
    assert made["number"] == 1
    assert made["total"] == made["considered"] == 72
    leads = made["results"]["leads"]
    assert len(leads) == 50
    assert [lead["rank"] for lead in leads] == list(range(1, 51))
    scores = [lead["score"] for lead in leads]
    assert scores == sorted(scores, reverse=True)
    for lead in leads:
        assert abs(sum(lead["shares"]) - lead["score"]) < 1e-3
    assert {p["kind"] for p in made["results"]["parts"]} == {"text", "not"}
    assert made["change"] == "red jacket, NOT backpack"


def test_pages_follow_each_other_without_gap_or_repeat(client, inquiry):
    made = ask(client, inquiry, "blue coat")
    ids, cursor = [lead["item"]["id"] for lead in made["results"]["leads"]], made["results"]["cursor"]
    while cursor:
        page = client.get(f"/api/v1/inquiries/{inquiry}/rounds/1/results", params={"cursor": cursor, "limit": 7}).json()
        ids += [lead["item"]["id"] for lead in page["leads"]]
        cursor = page["cursor"]
    assert len(ids) == len(set(ids)) == 72


def test_a_filter_that_leaves_nothing_says_what_it_kept_out(client, inquiry):
    filters = {"cameras": ["north gate"], "since": "2027-01-01T00:00:00"}
    made = ask(client, inquiry, "hat", filters=filters)
    assert made["results"]["leads"] == []
    assert made["removed"] == {"cameras": 48, "since": 72}
    some = ask(client, inquiry, "hat", filters={"cameras": ["north gate"]})
    assert some["considered"] == 24
    assert {lead["item"]["camera"] for lead in some["results"]["leads"]} == {"north gate"}


def test_marks_undo_and_branches_come_back_to_the_same_list(client, inquiry):
    first = ask(client, inquiry, "red jacket")
    ids = [lead["item"]["id"] for lead in first["results"]["leads"]]
    base = f"/api/v1/inquiries/{inquiry}"
    liked = client.put(f"{base}/marks/{ids[5]}", json={"mark": "like"}).json()
    assert liked["results"]["leads"][0]["item"]["id"] == ids[5]
    assert liked["results"]["leads"][0]["mark"] == "like"
    both = client.post(f"{base}/marks", json={"unlike": ids[:2]}).json()
    assert both["query"]["unliked"] == ids[:2]
    back = client.put(f"{base}/head", json={"step": "undo"}).json()
    assert back["results"]["leads"] == liked["results"]["leads"]
    assert client.put(f"{base}/head", json={"round": 1}).json()["results"]["leads"] == first["results"]["leads"]
    branch = client.post(f"{base}/closest", json={"item": ids[3]}).json()
    assert branch["parent"] == 1
    tree = client.get(base).json()
    assert [(r["number"], r["parent"], r["depth"]) for r in tree["rounds"]] == [
        (1, 0, 0),
        (2, 1, 1),
        (3, 2, 2),
        (4, 1, 1),
    ]
    gone = client.delete(f"{base}/rounds/2").json()
    assert [r["number"] for r in gone["rounds"]] == [1, 4]


def test_drawing_replaces_the_round_it_made_before(client, inquiry):
    asset = upload(client)
    body = {"sketches": [{"asset": asset}]}
    one = ask(client, inquiry, **body)
    two = ask(client, inquiry, replace=one["number"], **(body | {"sketches": [{"asset": upload(client, png(3))}]}))
    tree = client.get(f"/api/v1/inquiries/{inquiry}").json()
    assert [r["number"] for r in tree["rounds"]] == [two["number"]]
    assert tree["head"] == two["number"]
    ask(client, inquiry, "hat", parent=two["number"])
    client.put(f"/api/v1/inquiries/{inquiry}/head", json={"round": two["number"]})
    ask(client, inquiry, "coat", replace=two["number"])
    assert len(client.get(f"/api/v1/inquiries/{inquiry}").json()["rounds"]) == 3, (
        "a round with children is never replaced"
    )


def test_a_round_says_what_was_done_to_its_sketch_and_can_be_read_as_drawn(client, inquiry):
    paper = Image.new("RGB", (300, 600), "white")
    pen = ImageDraw.Draw(paper)
    pen.ellipse((130, 100, 170, 145), outline=0, width=5)
    for line in ((150, 145, 150, 255), (150, 255, 120, 365), (150, 255, 182, 360), (150, 170, 110, 225)):
        pen.line(line, fill=0, width=5)
    pen.line((150, 170, 190, 230), fill=0, width=5)
    file = io.BytesIO()
    paper.save(file, "PNG")
    sketches = [{"asset": upload(client, file.getvalue())}]
    made = ask(client, inquiry, sketches=sketches)
    assert made["notes"][0].startswith("the sketch was cropped to its ink and fitted")
    assert "stick figures are not" in made["notes"][-1]
    assert not any("--" in note for note in made["notes"])
    assert client.get(f"/api/v1/inquiries/{inquiry}/rounds/{made['number']}").json()["notes"] == made["notes"]
    drawn = ask(client, inquiry, sketches=sketches, as_drawn=True)
    assert drawn["notes"] == []
    assert drawn["query"]["as_drawn"] is True
    assert ask(client, inquiry, "red jacket")["notes"] == []


def test_a_failed_round_leaves_everything_as_it_was(client, inquiry):
    made = ask(client, inquiry, "hat")
    answer = client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"replace": made["number"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "empty_query")
    assert client.get(f"/api/v1/inquiries/{inquiry}").json()["head"] == made["number"]
    answer = client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"liked": [10**9], "replace": made["number"]})
    assert answer.status_code == 422
    assert [r["number"] for r in client.get(f"/api/v1/inquiries/{inquiry}").json()["rounds"]] == [1]


def test_the_same_key_makes_one_round(client, inquiry):
    url, body = f"/api/v1/inquiries/{inquiry}/rounds", {"phrases": [{"text": "hat"}]}
    answers = [client.post(url, json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert len(client.get(f"/api/v1/inquiries/{inquiry}").json()["rounds"]) == 1
    other = client.post(url, json={"phrases": [{"text": "coat"}]}, headers={"Idempotency-Key": "once"})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


def test_chips_conflicts_and_words_never_seen(client):
    held = [{"text": "blue jacket"}]
    heard = client.post("/api/v1/chips", json={"text": "wearing a red jacket, no backpack", "held": held}).json()
    assert [(c["text"], c["wanted"]) for c in heard["chips"]] == [("red jacket", True), ("backpack", False)]
    assert heard["conflicts"][0]["old"]["text"] == "blue jacket"
    strange = client.post("/api/v1/chips", json={"text": "a zyx jacket"}).json()["chips"][0]
    assert "zyx" in strange["unknown"]


def test_questions_become_chips_and_are_not_asked_twice(client, inquiry):
    base = f"/api/v1/inquiries/{inquiry}"
    assert client.get(f"{base}/question").json() == {"question": None, "asked": {}, "why": ""}
    ask(client, inquiry, "red jacket")
    question = client.get(f"{base}/question").json()["question"]
    made = client.post(f"{base}/answers", json={"key": question["key"], "answer": "no"}).json()
    assert question["phrase"] in [row["text"] for row in made["query"]["unwanted"]]
    assert made["answers"] == {question["key"]: "no"}
    assert client.get(f"{base}/question").json()["question"]["key"] != question["key"]
    wrong = client.post(f"{base}/answers", json={"key": "backpak", "answer": "no"})
    assert "did you mean 'backpack'" in wrong.json()["detail"]
    wrong = client.post(f"{base}/answers", json={"key": "nonsense", "answer": "no"})
    assert wrong.status_code == 422
    assert "there is no question 'nonsense'; allowed: " in wrong.json()["detail"], "nothing is like it"


def test_absence_says_when_nothing_was_calibrated(client, inquiry):
    ask(client, inquiry, "hat")
    said = client.get(f"/api/v1/inquiries/{inquiry}/absence").json()
    assert said["calibrated"] is False
    assert "%" not in said["text"]


def test_contributions_explain_a_lead_beside_another(client, inquiry):
    made = ask(client, inquiry, "red jacket", "-hat")
    top, second = made["results"]["leads"][:2]
    url = f"/api/v1/inquiries/{inquiry}/rounds/1/contributions/{second['item']['id']}"
    why = client.get(url, params={"against": top["item"]["id"]}).json()
    assert why["rank"] == 2
    assert abs(sum(p["share"] for p in why["parts"]) - second["score"]) < 1e-3
    assert abs(sum(p["against"] for p in why["parts"]) - top["score"]) < 1e-3
    assert client.get(url.replace(str(second["item"]["id"]), "999999")).status_code == 404


def test_each_lead_says_which_phrases_it_fulfils(client, inquiry):
    made = ask(client, inquiry, "red jacket", "-red jacket", "hat")
    base = f"/api/v1/inquiries/{inquiry}/rounds/1"
    found = client.get(f"{base}/fits").json()
    assert [(p["text"], p["wanted"]) for p in found["phrases"]] == [
        ("red jacket", True),
        ("hat", True),
        ("red jacket", False),
    ]
    assert list(found["leads"]) == [str(lead["item"]["id"]) for lead in made["results"]["leads"]]
    signs = list(found["leads"].values())
    assert {s for row in signs for s in row} == {-1, 0, 1}
    assert all(row[0] == -row[2] for row in signs), "NOT turns the sign"
    rest = client.get(f"{base}/fits", params={"cursor": made["results"]["cursor"]}).json()
    assert len(rest["leads"]) == 22
    drawn = client.post(
        f"/api/v1/inquiries/{inquiry}/rounds", json={"liked": [made["results"]["leads"][0]["item"]["id"]]}
    )
    assert client.get(f"/api/v1/inquiries/{inquiry}/rounds/{drawn.json()['number']}/fits").json()["phrases"] == []


def test_uploads_keep_pixels_and_nothing_else(client):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8))
    note, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    note.add_text("Author", "somebody")
    image.save(buffer, "PNG", pnginfo=note)
    made = client.post(
        "/api/v1/assets", files={"file": ("../../etc/passwd.png", buffer.getvalue(), "image/png")}
    ).json()
    kept = client.get(f"/api/v1/assets/{made['id']}").content
    assert b"somebody" not in kept
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(kept))), np.asarray(image))


def test_pictures_of_items_are_small_fresh_and_answer_to_a_tag(client, server, drawn):
    base = "/api/v1/galleries/gallery/items"
    item = client.get(base, params={"limit": 1}).json()["items"][0]
    thumb = client.get(f"{base}/{item['id']}/thumb?h=96")
    assert Image.open(io.BytesIO(thumb.content)).height == 96
    assert thumb.headers["cache-control"] == "private, no-store"
    again = client.get(f"{base}/{item['id']}/thumb?h=96", headers={"If-None-Match": thumb.headers["etag"]})
    assert again.status_code == 304
    whole = Image.open(io.BytesIO(client.get(f"{base}/{item['id']}/image").content))
    with Image.open(drawn / "crops" / item["name"]) as original:
        assert whole.size == original.size
    assert str(drawn) not in client.get(f"{base}/{item['id']}").text


def test_a_file_that_is_gone_keeps_its_place(client, inquiry, drawn):
    made = ask(client, inquiry, "hat")
    item = made["results"]["leads"][2]["item"]
    path = drawn / "crops" / item["name"]
    aside = path.rename(path.with_suffix(".aside"))
    try:
        url = f"/api/v1/galleries/gallery/items/{item['id']}"
        assert client.get(url).json()["missing"] is True
        refused = client.get(f"{url}/image")
        assert (refused.status_code, refused.json()["code"]) == (410, "missing")
        assert str(drawn) not in refused.text
    finally:
        aside.rename(path)


def test_near_shows_the_same_camera_before_and_after(client):
    near = client.get("/api/v1/galleries/gallery/items/30/near").json()
    here = client.get("/api/v1/galleries/gallery/items/30").json()
    assert len(near["before"]) == len(near["after"]) == 4
    assert {i["camera"] for i in near["before"] + near["after"]} == {here["camera"]}
    assert [i["time"] for i in near["before"]] == sorted(i["time"] for i in near["before"])
    assert near["before"][-1]["time"] < here["time"] < near["after"][0]["time"]


def test_an_inquiry_outlives_the_server(client, inquiry, server, folder):
    asset = upload(client)
    made = ask(client, inquiry, "red jacket", sketches=[{"asset": asset}])
    other = Server(folder)
    with other.client(Authorization=f"Bearer {server.token}") as again:
        other.desk.warm()
        found = again.get(f"/api/v1/inquiries/{inquiry}/rounds/{made['number']}").json()
        assert found["results"]["leads"] == made["results"]["leads"]
        assert again.get(f"/api/v1/assets/{asset}").status_code == 200
    other.gallery.close()


def test_a_round_stays_as_it_was_while_the_gallery_grows(client, inquiry, server, tmp_path):
    made = ask(client, inquiry, "red jacket")
    more = tmp_path / "more"
    more.mkdir()
    Image.new("RGB", (40, 80), (250, 10, 10)).save(more / "new.png")
    server.gallery.index(more)
    again = client.get(f"/api/v1/inquiries/{inquiry}/rounds/1").json()
    assert again["results"]["leads"] == made["results"]["leads"]
    assert again["newer"] > 0
    ids, cursor = [], "0"
    while cursor:
        page = client.get(
            f"/api/v1/inquiries/{inquiry}/rounds/1/results", params={"cursor": cursor, "limit": 50}
        ).json()
        ids, cursor = ids + [lead["item"]["id"] for lead in page["leads"]], page["cursor"]
    assert len(ids) == 72
    assert ask(client, inquiry, "red jacket")["total"] == 73


def test_deleting_an_inquiry_deletes_its_pictures(client, inquiry, server):
    asset = upload(client, png(5))
    ask(client, inquiry, sketches=[{"asset": asset}])
    assert client.delete(f"/api/v1/inquiries/{inquiry}").json()["inquiries"] == 1
    assert client.get(f"/api/v1/inquiries/{inquiry}").status_code == 404
    kept = b"".join(path.read_bytes() for path in server.gallery.path.iterdir())
    assert asset.encode() not in kept


def test_never_the_words_that_would_name_a_person(server):
    """Neither the API's description nor the page's strings speak of matches, identities or percentages."""
    from descry.web.app import STATIC

    page = (STATIC / "strings.js").read_text("utf-8").lower()
    described = json.dumps(server.app.app.openapi()).lower()
    for text in (page, described):
        assert "match" not in text.replace("does not match", "")
        assert "identified" not in text
    assert "%" not in page


@pytest.mark.parametrize(
    "ids", ["[true]", '["1"]', "[1.0]", "[null]", "[1e400]", "[NaN]", "[-1]", "[99999999999999999999]"]
)
@pytest.mark.parametrize("name", ["liked", "unliked"])
def test_an_id_that_is_no_whole_number_is_refused(client, inquiry, name, ids):
    url = f"/api/v1/inquiries/{inquiry}/rounds"
    answer = client.post(url, content=f'{{"{name}": {ids}}}', headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


def test_an_item_is_liked_or_unliked_and_the_last_word_counts(client, inquiry):
    url = f"/api/v1/inquiries/{inquiry}/rounds"
    refused = client.post(url, json={"liked": [1], "unliked": [1]})
    assert (refused.status_code, "item 1 was liked and unliked" in refused.text) == (422, True)
    assert client.post(url, json={"liked": [1], "unliked": [2]}).status_code == 201
    query = client.post(url, json={"liked": [1, 2]}).json()["query"]
    assert (query["liked"], query["unliked"]) == ([1, 2], [])
    query = client.post(url, json={"unliked": [2, 3]}).json()["query"]
    assert (query["liked"], query["unliked"]) == ([1], [2, 3])


def scores_of(client, inquiry: str, made: dict) -> dict[int, float]:
    """Item → score, of the whole gallery."""
    leads, cursor = made["results"]["leads"], made["results"]["cursor"]
    while cursor:
        path = f"/api/v1/inquiries/{inquiry}/rounds/{made['number']}/results"
        page = client.get(path, params={"cursor": cursor, "limit": 50}).json()
        leads, cursor = leads + page["leads"], page["cursor"]
    return {lead["item"]["id"]: lead["score"] for lead in leads}


@pytest.mark.parametrize("seed", range(4))
def test_one_more_phrase_or_answer_puts_nobody_behind_the_stated_place(server, client, inquiry, seed):
    """Wanted after NOT and NOT after wanted, typed and answered, read well and never measured."""
    rng = np.random.default_rng(seed)
    things = ["hat", "backpack", "coat", "skirt", "black trousers", "long hair"]
    curves = {thing: (8.0, 0.0) for thing in things if rng.random() < 0.7}
    model = server.gallery.model
    model.ranking = replace(model.ranking, curves=curves)
    phrases = [{"text": "red jacket", "wanted": True}]
    before = scores_of(client, inquiry, ask(client, inquiry, "red jacket"))
    for thing in rng.permutation(things).tolist():
        weights = (0.125, 0.5, 1.0, 2.0) if thing in curves else (0.125, 0.5, 2.0)  # 1: joins the words of the prompt
        phrases.append({"text": thing, "wanted": bool(rng.random() < 0.5), "weight": float(rng.choice(weights))})
        made = client.post(f"/api/v1/inquiries/{inquiry}/rounds", json={"phrases": phrases}).json()
        after = scores_of(client, inquiry, made)
        for item, score in before.items():
            place = sum(other >= score for other in before.values())
            ahead = sum(other > after[item] + TIE for other in after.values())
            assert ahead < FORMULA.worst_place(place), (phrases, item)
        before = after
    order = [p["text"] for p in phrases]
    assert [p.value for p, _ in Query.from_json(made["query"]).phrases] == order
