import json
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from descry.errors import UsageError
from descry.query import Filters, Part, Query, digest


def test_plain_values_become_parts():
    q = Query(sketches="a.png", wanted=["red jacket", Part("hat", 0.5)], liked=[np.int64(3)])
    assert q.sketches == (Part("a.png"),)
    assert [p.weight for p in q.wanted] == [1.0, 0.5]
    assert q.liked == (3,)
    assert q.kind == "sketch+text"
    assert q.replace(sketches=(Part("a.png", on=False),)).kind == "text"
    assert Query().kind == ""
    assert Query(photos=np.zeros((8, 8, 3), np.uint8)).kind == "photo"


def test_a_query_is_a_value():
    assert Query(wanted="a") == Query(wanted=("a",))
    with pytest.raises(AttributeError):
        Query().wanted = ()


@pytest.mark.parametrize("bad", [{"wanted": ("",)}, {"unwanted": (3,)}])
def test_refusals(bad):
    with pytest.raises(UsageError):
        Query(**bad)


def test_weights_and_times_are_checked():
    with pytest.raises(UsageError, match="0 to 2"):
        Part("a", -0.1)
    with pytest.raises(UsageError, match="before it begins"):
        Filters(since=datetime(2024, 1, 2), until=datetime(2024, 1, 1))


def test_json_round_trip_keeps_digests_of_pictures(tmp_path):
    path = tmp_path / "secret name.png"
    Image.new("RGB", (8, 8), "red").save(path)
    q = Query(
        sketches=path, wanted=("red", Part("hat", 0.5, False)), unwanted="bag", liked=(1,), unliked=(2,), closest=(3,),
        filters=Filters(("2", "5"), datetime(2024, 1, 1), datetime(2024, 1, 2), "*.jpg", True),
    )  # fmt: skip
    data = json.loads(json.dumps(q.to_json()))
    assert "secret" not in json.dumps(data)
    assert Query.from_json(data, picture={digest(path): path}.__getitem__) == q
    with pytest.raises(UsageError, match="digests"):
        Query.from_json(data)
    with pytest.raises(UsageError, match="format"):
        Query.from_json(data | {"format": 99})


def test_digests_tell_pictures_apart():
    a = Image.new("RGB", (8, 8), "red")
    assert digest(a) == digest(a.copy()) != digest(Image.new("RGB", (8, 8), "blue"))
    assert digest(np.zeros((2, 8), np.uint8)) != digest(np.zeros((8, 2), np.uint8))
    with pytest.raises(UsageError):
        digest(7)
