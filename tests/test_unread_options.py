"""Nothing that is asked for is left unread: an option that another one makes idle is refused by name."""

from __future__ import annotations

import pytest

from descry.cli import main
from descry.cli.machine import Machine
from descry.cli.train import Changes, change
from descry.errors import UsageError
from descry.methods import presets

PEOPLE = ["--photos 2", "--sketches 1", "--captions 1", "--val 1", "--test 1", "--width 64", "--height 64"]
BESIDE: dict[str, list[str]] = {
    "people OUT --videos 2": [*PEOPLE, "--processes 1", "--oracle", "--benchmark-version 2", "--benchmark test"],
    "people OUT --benchmark test": [*PEOPLE, "--identities 7", "--seed 1", "--world 1", "--first 3", "--train X"],
    "people OUT": ["--benchmark-version 2", "--oracle", "--train X"],
    "evaluate --benchmark FILE --write-order OUT": [
        "--csv OUT2",
        "--slices",
        "--image-size 64 32",
        "--leaks X",
        "--scores X",
    ],
    "evaluate --benchmark FILE --scores X": ["--image-size 64 32", "--leaks X", "--split val"],
    "data leaks table X table X": ["--least-cosine 0.5"],
    "data list --json": ["--markdown"],
    "finding X notes --item 1 --remove": ["--note why", "--verdict aside"],
    "finding X notes": ["--note why", "--verdict aside", "--remove"],
    "gallery delete X --item 1": ["--confirm X"],
    "gallery delete X --everything --confirm X": ["--item 1", "--path *", "--until 2026-01-01"],
    "sketch compose --list": ["--set top=jacket", "--out OUT.png", "--width 64", "--height 64"],
    "sketch compose --set top=jacket": ["--width 64", "--height 64"],
    "search X red": ["--as-drawn"],
    "search X --sketch X": ["--verbatim"],
    "crop X --start 2026-01-31": ["--time-from (.*)"],
    "plot losses X --out OUT": [
        "--data X",
        "--benchmark text",
        "--table t",
        "--measure mAP",
        "--probes 1",
        "--people 3",
    ],
    "plot cmc X --out OUT": ["--data X", "--most 3"],
    "keep X": ["--until 2026-01-31"],
}


@pytest.mark.parametrize("command", BESIDE)
def test_an_option_that_would_not_be_read_is_refused(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("role,pid\nquery,1\nphoto,1\n")
    before = sorted(tmp_path.iterdir())
    for option in BESIDE[command]:
        status = main([*command.split(), *option.split()])
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), (option, err)
        asked = ("nothing to be", "no item was named", "name an inquiry")  # what the option lacks is said instead
        assert option.split()[0] in err or any(words in err for words in asked), err
        assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("texts", [("epochs=2", "epochs=3"), ("lr=0.1", "lr=0.2"), ("epochs=9",)])
def test_a_field_that_is_set_twice_is_refused(texts) -> None:
    config = presets("baseline")["recommended"]
    with pytest.raises(UsageError, match="is given twice"):
        change(Changes(epochs=3, lr=0.5, set=texts), Machine())(config)


def test_finishing_a_purge_is_never_a_rehearsal(tmp_path, monkeypatch, capsys) -> None:
    """--dry-run removes nothing, also where an interrupted purge waits to be finished."""
    import contextlib
    from types import SimpleNamespace

    from descry import purge as removing

    @contextlib.contextmanager
    def kept(gallery):
        yield SimpleNamespace(path=tmp_path), None

    monkeypatch.setattr("descry.cli.purge.kept", kept)
    monkeypatch.setattr(removing, "pending", lambda path: True)
    monkeypatch.setattr(removing, "finish", lambda *a: pytest.fail("finished"))
    for option in ("--dry-run", "--keep-crops"):
        assert main(["purge", str(tmp_path), option]) == 2
        assert option in capsys.readouterr().err
