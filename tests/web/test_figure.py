"""The figure that dresses itself, over HTTP."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def drawn(answer: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["picture"]))).convert("L"))


def test_every_part_and_value_can_be_drawn(client):
    parts = client.get("/api/v1/figure").json()["parts"]
    assert {"person", "hair", "headwear", "glasses", "beard", "top", "over", "bottom", "shoes", "bag"} <= {
        p["name"] for p in parts
    }
    for part in parts:
        for attribute in part["attributes"]:
            value = attribute["values"][-1]
            answer = client.post("/api/v1/figure", json={"known": {attribute["name"]: value}})
            assert answer.status_code == 200, (attribute["name"], value, answer.text)
            assert all(p["part"] == part["name"] for p in answer.json()["phrases"]), answer.json()["phrases"]


def test_phrases_know_their_part_and_the_drawing_follows(client):
    nothing = client.post("/api/v1/figure", json={}).json()
    assert (nothing["phrases"], nothing["blank"], nothing["known"]) == ([], True, {})
    known = {"over": "jacket", "over.colour": "red", "hair": "long", "bag": ""}
    made = client.post("/api/v1/figure", json={"known": known}).json()
    assert {(p["text"], p["part"]) for p in made["phrases"]} == {("a red jacket", "over"), ("long hair", "hair")}
    assert made["known"] == {"over": "jacket", "over.colour": "red", "hair": "long"}
    assert not made["blank"]
    assert (drawn(made) != drawn(nothing)).any()


def test_what_does_not_exist_is_refused_with_what_does(client):
    for known in ({"hat": "cap"}, {"top": "jaket"}, {"top": "dress", "bottom": "jeans"}):
        answer = client.post("/api/v1/figure", json={"known": known})
        assert answer.status_code == 422, answer.text
        assert "; " in answer.json()["detail"]
