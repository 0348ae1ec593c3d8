"""The tables of docs/conversation.md, from what recipes/conversation.py measured.

python recipes/conversation_page.py [results/conversation.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE, FOUND = ROOT / "docs" / "conversation.md", ROOT / "results" / "conversation.json"
MARKS = ("<!-- figures: recipes/conversation_page.py -->", "<!-- end of figures -->")
ROWS = {
    "whole, faithful": "faithful witness",
    "whole, 20 % wrong, 20 % don't know": '20 % wrong, 20 % "don\'t know"',
    "a third withheld, faithful": "a third of the attributes withheld, faithful",
    "a third withheld, 20 % wrong, 20 % don't know": 'a third withheld, 20 % wrong, 20 % "don\'t know"',
}


def questions(found: dict[str, Any]) -> str:
    """Five questions by gain, and what the same policy reaches with true attributes."""
    lines = [
        "| five questions by gain, from the sketch alone | R@1 start → end | ideal, same witness | share of its gain |"
        " ideal, faithful witness | share of its gain |",
        "|---|---|---|---|---|---|",
    ]
    for key, name in ROWS.items():
        row, same = found["questions"][key]["R@1"], found["questions"][key]["R@1, ideal with the same witness"]
        lines.append(
            f"| {name} | {row['start']:.1f} → {row['end']:.1f} | {same['ideal']:.1f} | {_share(same)} |"
            f" {row['ideal']:.1f} | {_share(row)} |"
        )
    return "\n".join(lines)


def _share(row: dict[str, float]) -> str:
    return f"{100 * row['share']:.0f} % ({100 * row['low']:.0f}–{100 * row['high']:.0f})"


def rounds(found: dict[str, Any]) -> str:
    """Rounds to the first ten, by policy and witness, and the paired tests."""
    policies = ("gain", "random", "fixed", "feedback", "closest", "all")
    lines = [
        f"| rounds until among the first ten | {' | '.join(policies)} | gain − random | gain − fixed |",
        "|---" * (len(policies) + 3) + "|",
    ]
    for witness, row in found["policies"].items():
        means = " | ".join(f"{row['rounds to R@10'][p]:.2f}" for p in policies)
        tests = " | ".join(_test(row[f"rounds to R@10, gain against {other}"]) for other in ("random", "fixed"))
        lines.append(f"| {witness} | {means} | {tests} |")
    return "\n".join(lines)


def _test(t: dict[str, float]) -> str:
    return f"{t['difference']:+.2f} ({t['low']:+.2f} to {t['high']:+.2f}), p {t['p']:.4f}"


def negation(found: dict[str, Any]) -> str:
    """What "no X" leaves of X among the first 20."""
    lines = [
        '| "no …" | held by | share in the first 20 before | after NOT | after the negated English | left (interval) |',
        "|---|---|---|---|---|---|",
    ]
    for row in found["NOT"]:
        low, high = row["left, interval"]
        shares = " | ".join(f"{100 * row[k]:.0f} %" for k in ("held by", "before", "NOT", "negated English"))
        lines.append(f"| {row['key']} | {shares} | {row['left']:.2f} ({low:.2f}–{high:.2f}) |")
    return "\n".join(lines)


def absences(found: dict[str, Any]) -> str:
    """The decision "probably not here", beside the best cosine alone."""
    lines = [
        "| absence, threshold for 5 % false alarms | false alarms | absences found | best cosine: false alarms |"
        " finds | AUROC | best cosine | AUROC gained | calibration error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, row in found["absence"].items():
        if "refused" in row:
            lines.append(f"| {kind} | refused: near chance |" + " – |" * 7)
            continue
        lines.append(
            f"| {kind} | {row['false alarms']:.1f} % | {row['absence detected']:.1f} % |"
            f" {row['best cosine: false alarms']:.1f} % | {row['best cosine: absence detected']:.1f} % |"
            f" {row['AUROC']:.1f} | {row['best cosine: AUROC']:.1f} | {_gained(row['AUROC, against best cosine'])} |"
            f" {row['ECE']:.3f} |"
        )
    first = next(iter(found["absence"].values()))
    low, high = first["interval of 5 %"]
    note = f"Calibrated on {first['calibrated on']:,} other people; all galleries here hold 500 people."
    note += f" With so many probes, and so many that set the threshold, 5 % has the interval {low:.1f} to {high:.1f} %."
    note += "".join(f" Not calibrated: {row['refused']}." for row in found["absence"].values() if "refused" in row)
    return "\n".join(lines) + f"\n\n{note}"


def _gained(t: dict[str, float]) -> str:
    return f"{t['difference']:+.1f} ({t['low']:+.1f} to {t['high']:+.1f})"


def section(found: dict[str, Any]) -> str:
    """Everything between the marks."""
    parts = (
        f"{found['seeds']} seeds; {found['seconds']} s.",
        questions(found),
        rounds(found),
        negation(found),
        absences(found),
    )
    return "\n\n".join(parts)


def main() -> None:
    """Read, and write the page."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FOUND
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    body = section(json.loads(file.read_text("utf-8")))
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{body}\n\n{MARKS[1]}{after}", encoding="utf-8")
    print(f"{PAGE.name} shows {file.name}")


if __name__ == "__main__":
    main()
