"""What a command loads before it works: nothing heavy for help and wrong arguments, no transformers for a search."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "PIL", "numpy", "torch._dynamo", "sympy")


def loaded(*command: str, status: int | None = None) -> set[str]:
    """The heavy packages that a command has imported by its end. status: what it must exit with."""
    script = (
        "import sys\nfrom descry.cli import main\nstatus = main(sys.argv[1:])\n"
        f"print('LOADED', status, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    last = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert last, done.stderr
    _, ended, *names = last[0].split()
    assert status is None or int(ended) == status, done.stderr
    return set(names)


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("search", "--help"),
        ("search", "nowhere", "--sketsh", "a.png"),
        ("search", "nowhere", "red", "--device", "gpu"),
        ("train", "interactreid", "--epochs", "many"),
        ("train", "interactreid", "--device", "gpu"),
        ("inquiry", "shoow", "gallery"),
        ("serve", "gallery", "--port", "many"),
        ("evaluate", "--benchmark"),
        ("index", "--out"),
    ],
)
def test_arguments_are_checked_before_anything_heavy_is_loaded(command: tuple[str, ...]) -> None:
    assert loaded(*command) == set()


@pytest.mark.parametrize(
    "command",
    [
        ("inquiry", "list", "{gallery}"),
        ("inquiry", "show", "{gallery}"),
        ("inquiry", "undo", "{gallery}"),
        ("gallery", "info", "{gallery}"),
        ("gallery", "list", "{gallery}"),
        ("keep", "{gallery}"),
        ("audit", "verify", "{gallery}"),
        ("verify", "{gallery}"),
    ],
)
def test_what_needs_no_model_loads_no_torch(command: tuple[str, ...], gallery_folder: str) -> None:
    assert "torch" not in loaded(*(part.format(gallery=gallery_folder) for part in command), status=0)


def test_a_stored_round_is_shown_as_it_is_with_the_model(gallery_folder: str, capsys, monkeypatch) -> None:
    """The same leads, tree, notes and words that the model does not know, whether or not it is loaded."""
    from descry.cli import inquiry, main

    assert main(["inquiry", "refine", gallery_folder, "inquiry", "red xyzzy"]) == 0
    capsys.readouterr()
    assert main(["inquiry", "show", gallery_folder]) == 0
    quick = capsys.readouterr()
    monkeypatch.setattr(inquiry, "_card", lambda gallery: None)
    assert main(["inquiry", "show", gallery_folder]) == 0
    assert capsys.readouterr() == quick
    assert "xyzzy" in quick.err
    assert "a toy, no evidence of anything" in quick.err


def test_a_search_loads_torch_and_neither_transformers_nor_the_compiler(gallery_folder: str) -> None:
    assert loaded("search", gallery_folder, "red top", status=0) == {"torch", "PIL", "numpy"}


@pytest.fixture(scope="module")
def gallery_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve crops, indexed by a tiny model."""
    from account import crop
    from conftest import write_run
    from descry.gallery import Gallery
    from descry.query import Query

    root = tmp_path_factory.mktemp("start")
    for i in range(12):
        crop(root / "crops", i)
    with Gallery.create(root / "gallery", str(write_run(root / "run"))) as gallery:
        gallery.index(root / "crops")
        gallery.inquiry().ask(Query(wanted="red top"))
        gallery.inquiry().refine("no hat")
    return str(root / "gallery")
