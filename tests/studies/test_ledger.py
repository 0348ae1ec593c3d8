"""The ledger holds what was measured, tables hold what the ledger says, and a difference between them is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from descry.errors import DataError, UsageError
from descry.studies import ledger
from descry_lab.papers import TABLES
from descry_lab.tables import MARK, beside, documents, markdown, regenerate, table_of

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ledger.Entry(
    table="vfe-tps-6",
    row="both",
    scale="small",
    seed=0,
    figures={"text": {"R@1": 41.0, "R@5": 60.0, "R@10": 70.0, "mAP": 38.5}},
    intervals={"text": {"R@1": (38.0, 44.0)}},
    split="test",
    selection="last",
    data={"text": "0123456789abcdef"},
    command="python recipes/vfe_tps_table6.py --small",
    commit="abcdef0123456789",
    hardware="a processor",
    seconds=12.0,
)


def write(path, *entries):
    for entry in entries:
        ledger.append(path, entry)
    return path


def test_what_is_appended_is_read_and_the_last_of_a_key_counts(tmp_path):
    path = write(tmp_path / "l.jsonl", ENTRY, replace(ENTRY, seed=1), replace(ENTRY, seconds=99.0))
    held = ledger.read(path)
    assert len(held) == 3
    assert [(e.seed, e.seconds) for e in ledger.latest(held)] == [(0, 99.0), (1, 12.0)]
    assert held[0].figures == ENTRY.figures
    assert ledger.latest(held, scale="full") == []
    assert ledger.read(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scale": "medium"}, "medium"),
        ({"figures": {"text": {"R@1": float("nan")}}}, "finite"),
        ({"config": {"a": {1}}}, "plain"),
    ],
)
def test_what_a_ledger_cannot_hold_is_refused(tmp_path, change, text):
    with pytest.raises(UsageError, match=text):
        ledger.append(tmp_path / "l.jsonl", replace(ENTRY, **change))
    assert not (tmp_path / "l.jsonl").exists()


@pytest.mark.parametrize("line", ["{", "[]", '{"format": 1}', '{"format": 7}', '"x"'])
def test_a_broken_line_is_named(tmp_path, line):
    path = write(tmp_path / "l.jsonl", ENTRY)
    with open(path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="line 2"):
        ledger.read(path)


def test_a_table_shows_paper_and_ours_with_seeds_or_interval(tmp_path):
    one = markdown([ENTRY], "vfe-tps-6", "small")
    assert "| both | 72.47 · **41.00 [38.0, 44.0]** |" in one
    assert "| none | 70.61 |" in one
    assert "no evidence of accuracy on real people" in one
    assert "commit abcdef0123;" not in one.split("**Synthetic")[0]
    other = replace(ENTRY, seed=1, figures={"text": {"R@1": 43.0}})
    two = markdown([ENTRY, other], "vfe-tps-6", "small")
    assert "72.47 · **42.00 ± 1.41**" in two
    assert "seeds 0, 1" in two
    real = markdown([replace(ENTRY, scale="full", synthetic=False)], "vfe-tps-6", "full")
    assert "Synthetic" not in real
    assert "nothing was run" in markdown([], "vfe-tps-6", "full")
    with pytest.raises(UsageError, match="claims nothing"):
        markdown([], "vfe-tps-6", "smoke")
    with pytest.raises(UsageError, match="did you mean"):
        table_of("vfe-tps6")
    assert "72.47 → 41.00" in beside(TABLES["vfe-tps-6"], "both", dict(ENTRY.figures))


def test_a_table_of_our_own_holds_no_papers_figures():
    mine = replace(
        ENTRY, table="comparison-tests", row="a",
        figures={"text": {"R@1": 41.0}, "text − start": {"R@1": 2.0, "p": 0.003}},
        intervals={"text − start": {"R@1": (1.0, 3.0)}}, config={"seeds": [0, 1, 2]},
    )  # fmt: skip
    text = markdown([mine], "comparison-tests", "small")
    assert "| a | 41.00 | 2.00 [1.0, 3.0] | 0.0030 | – | – |" in text
    assert "seeds 0, 1, 2;" in text
    assert "paper" not in text.split("paired by person")[1]
    assert "Nothing was run" in markdown([], "comparison-tests", "small")


def test_documents_are_renewed_and_only_between_their_marks(tmp_path):
    path, page = write(tmp_path / "l.jsonl", ENTRY), tmp_path / "page.md"
    page.write_text("before\n<!-- ledger: vfe-tps-6 small -->\nold\n<!-- end -->\nafter\n")
    assert regenerate([page], path, write=False) == [page]
    assert "old" in page.read_text()
    assert regenerate([page], path) == [page]
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "41.00" in text
    assert regenerate([page], path) == []
    path.write_text("")  # the line is gone: the table no longer agrees
    assert regenerate([page], path, write=False) == [page]
    page.write_text("<!-- ledger: vfe-tps-6 small -->\nnot closed")
    with pytest.raises(DataError, match="not closed"):
        regenerate([page], path)


def test_the_tables_in_the_docs_are_what_the_ledger_says():
    held = [p for p in documents() if p.is_file()]
    assert any(MARK.search(p.read_text(encoding="utf-8")) for p in held)
    assert regenerate(held, ROOT / "results" / "ledger.jsonl", write=False) == []


def test_every_line_of_the_ledger_belongs_to_a_table_and_says_where_it_comes_from():
    for entry in ledger.read(ROOT / "results" / "ledger.jsonl"):
        assert table_of(entry.table)
        assert entry.scale != "smoke"
        assert all((entry.commit, entry.hardware, entry.command, entry.at, entry.data, entry.selection))
        assert str(ROOT) not in json.dumps(entry.config)


def test_the_papers_figures_fill_their_columns():
    for table in TABLES.values():
        assert all(len(figures) == len(table.columns) for figures in table.rows.values()), table.name


def test_the_commit_of_a_checkout(tmp_path):
    assert ledger.commit(tmp_path / "nowhere") == "" or (ROOT / ".git").exists()
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack\n1111 refs/heads/main\n")
    assert ledger.commit(tmp_path) == "1111"
    (git / "refs" / "heads" / "main").write_text("2222\n")
    assert ledger.commit(tmp_path) == "2222"
    (git / "HEAD").write_text("3333\n")
    assert ledger.commit(tmp_path) == "3333"


def test_the_commit_of_a_second_worktree(tmp_path):
    """There .git is a file, and branches stand in the first checkout; such runs were written down without a commit."""
    own = tmp_path / "first" / ".git" / "worktrees" / "second"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/other\n")
    (own / "commondir").write_text("../..\n")
    branches = tmp_path / "first" / ".git" / "refs" / "heads"
    branches.mkdir(parents=True)
    (branches / "other").write_text("4444\n")
    (tmp_path / "second" / "src").mkdir(parents=True)
    (tmp_path / "second" / ".git").write_text(f"gitdir: {own}\n")
    assert ledger.commit(tmp_path / "second" / "src") == "4444"
    (tmp_path / "second" / ".git").write_text("gitdir: ../first/.git/worktrees/second\n")
    assert ledger.commit(tmp_path / "second") == "4444"
