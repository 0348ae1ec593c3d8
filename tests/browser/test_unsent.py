"""Nothing that was drawn, said or marked is lost: by an answer, a look into the history, a reload, another tab."""

from __future__ import annotations

from typing import Any

import pytest

from .deeds import circle, kept, say, settled, tapped

pytestmark = pytest.mark.browser


def unsent(page: Any) -> None:
    """A round, then a stroke that is not sent yet, and one lead marked."""
    say(page, "red jacket")
    page.evaluate("descry.page.tab('query')")
    circle(page)
    page.evaluate("descry.page.mark(descry.page.leads[0].item.id, 'like')")


@pytest.mark.parametrize(
    "deed",
    [
        "descry.page.closest(descry.page.leads[2])",
        "descry.page.head({round: 1})",
        "descry.page.asked.querySelector('button:last-of-type').click()",
        "descry.page.fresh()",
    ],
)
def test_unsent_work_becomes_a_round_before_another_is_shown(page, deed):
    unsent(page)
    liked = page.evaluate("descry.page.leads[0].item.id")
    inquiry = page.evaluate("descry.page.inquiry.id")
    page.wait_for_function("() => !descry.page.asked.hidden")
    page.evaluate(f"async () => {{ await {deed}; }}")
    page.wait_for_function("() => !descry.page.inquiry || descry.page.inquiry.rounds.length > 1")
    sent = page.evaluate("id => fetch(`/api/v1/inquiries/${id}/rounds/2`).then(r => r.json())", inquiry)["query"]
    assert len(sent["sketches"]) == 1
    assert sent["liked"] == [liked]


def test_two_tabs_keep_two_drafts_and_a_round_follows_the_one_its_tab_shows(page):
    say(page, "red jacket")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("body[data-ready]")
    say(other, "hat")
    other.fill("#text", "umbrella")
    say(page, "white shoes")
    settled(page)
    assert [s["parent"] for s in page.evaluate("descry.page.inquiry.rounds")] == [0, 1, 1]
    page.fill("#text", "boots")
    kept(page)
    other.reload()
    other.wait_for_selector("body[data-ready]")
    assert other.input_value("#text") == "umbrella"
    other.close()


def test_deleting_a_round_can_be_undone(page):
    first = say(page, "red jacket")
    second = say(page, "hat")
    page.locator(".history [aria-label^='Delete round 2']").click()
    page.wait_for_function("() => descry.page.round.number === 1 && document.querySelectorAll('.step').length === 1")
    assert page.evaluate("descry.page.leads.map(l => l.item.id)") == first["ids"]
    assert "One round was deleted" in page.inner_text(".offer")
    tapped(page, lambda: page.click(".offer button"))
    assert page.evaluate("descry.page.leads.map(l => l.item.id)") == second["ids"]
    assert page.locator(".step").count() == 2
    page.locator(".history [aria-label^='Delete round 1']").click()
    page.wait_for_selector(".offer:has-text('2 rounds')")
    stored = "fetch(`/api/v1/inquiries/${descry.page.inquiry.id}`).then(r => r.json()).then(i => i.rounds.length)"
    assert page.evaluate(stored) == 2, "nothing is deleted while it can be brought back"
    page.click(".offer button")
    assert page.locator(".step").count() == 2
    page.locator(".history [aria-label^='Delete round 2']").click()
    page.wait_for_function("() => descry.page.round.number === 1")
    settled(page)
    page.evaluate("descry.page.settle()")
    page.wait_for_function("() => descry.page.inquiry.rounds.length === 1")
    assert page.evaluate(stored) == 1
    assert page.locator(".offer").count() == 0
