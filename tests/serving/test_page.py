"""The page in a real browser."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from answering import Opened, Start

from deftrec import Interactions, Recommender
from deftrec.report.theme import variables
from deftrec.retrieval import RuleOptions
from deftrec.serving.app import STATIC
from deftrec.serving.engine import InferenceEngine
from deftrec.serving.keys import ApiKeys, add_key
from deftrec.serving.store import StoreUnavailableError
from serving_faults import send
from shop import shop
from toy import ring, tiny_config
from worded import fitted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested in a browser: pip install playwright")
expect = sync_api.expect


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    found = os.environ.get("DEFTREC_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        if found is None and not own.exists():
            pytest.skip("no Chromium: install one, or run 'playwright install chromium'")
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page that fails the test on requests to other hosts, policy violations, dialogs, exceptions and other errors.

    Chromium itself reports refused requests as errors; the tests that expect one say what the page makes of it.
    """
    opened = browser.new_page(viewport={"width": 1400, "height": 960}, reduced_motion="reduce")
    opened.set_default_timeout(10_000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if _is_wrong(said) else None)
    opened.on("request", lambda asked: wrong.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    opened.on("dialog", lambda dialog: wrong.append("a title ran as script"))
    yield opened
    opened.close()
    assert wrong == []


def _is_wrong(said: "ConsoleMessage") -> bool:
    refused = said.text.startswith("Failed to load resource: the server responded with a status of ")
    return "Content Security Policy" in said.text or (said.type == "error" and not refused)


@pytest.fixture(scope="module")
def asked_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt requests, of items in three colours."""
    folder, ring_data = tmp_path_factory.mktemp("asked"), ring(users=60)
    colours = pl.Series([("red", "green", "blue")[n % 3] for n in range(ring_data.n_items)])
    catalogue = ring_data.catalogue.with_columns(category=colours)
    data = Interactions.from_frame(ring_data.events(), catalogue, meta=ring_data.meta)
    fitted(folder, data).with_requests(out=folder / "run")
    return folder / "run"


def titles(page: "Page", within: str = "#found") -> list[str]:
    return page.locator(f"{within} .name").all_inner_texts()


def settle(page: "Page") -> None:
    page.wait_for_selector("#results[aria-busy=false] .name")


def test_a_visit(page: "Page", served: Start, engine: InferenceEngine) -> None:
    page.goto(served().address)
    settle(page)
    assert page.inner_text("#results-title") == "Most popular"
    assert page.is_visible("#nothing")
    assert "ring: 24 items, 60 users" in page.inner_text("#about")
    assert page.locator("#map .found-dot").count() == 10

    # A title is searched and added by keyboard alone.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#title")
    page.keyboard.type("number 17")
    page.wait_for_selector("#title-options li")
    assert page.get_attribute("#title", "aria-expanded") == "true"
    page.keyboard.press("Enter")
    page.wait_for_selector("#history-items li")
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    item = next(item for item, title in zip(engine.items, engine.titles, strict=True) if title == "number 17")
    expected = [one.title for one in engine.recommender.recommend(history=[item])]
    assert titles(page) == expected
    assert "10 recommendations" in page.inner_text("#said")
    assert page.locator("#map .history-dot").count() == 1
    assert page.inner_text("#step-said") == "20 of 20"
    assert page.locator("#map .station").count() == 20

    # Adding an item changes the result, and keyboard focus moves to the new list.
    page.locator("#found button", has_text="Add").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#found .name").first).not_to_have_text(expected[0])
    assert page.evaluate("document.activeElement.id") == "results"
    settle(page)
    assert page.locator("#history-items li").count() == 2
    assert expected[0] not in titles(page)

    # Why, and more like this.
    page.locator("#found button", has_text="Why?").first.click()
    page.wait_for_selector(".why .shares")
    expect(page.locator("#found .why").first).to_contain_text("of the history")
    shown = page.locator("#found .why .parts li").all_inner_texts()
    assert {text.rsplit(" ", 1)[0] for text in shown} <= {
        "latent",
        "collaborative prior",
        "popularity trend",
    }
    assert shown
    first = titles(page)[0]
    page.locator("#found button", has_text="More like this").first.click()
    page.wait_for_selector("#alike .name")
    assert page.inner_text("#alike-title") == f"More like {first}"
    assert len(titles(page, "#alike")) == 8
    page.keyboard.press("Escape")
    assert page.is_hidden("#alike")

    # Redrawn samples, and the way back.
    own = titles(page)
    page.click("#redraw")
    expect(page.locator("#draws")).to_contain_text("One draw of noise")
    for draw in (2, 3):
        page.click("#redraw")
        expect(page.locator("#found")).to_contain_text(f"of {draw} draws")
    assert "3 draws" in page.inner_text("#draws")
    assert page.locator("#map .trail.other").count() == 2
    page.click("#settle")
    expect(page.locator("#draws")).to_be_hidden()
    settle(page)
    assert titles(page) == own

    # The path, step by step.
    page.focus("#step")
    page.keyboard.press("Home")
    assert page.inner_text("#step-said") == "1 of 20"
    assert page.locator("#map .station").count() == 1

    # A category, a removal, the end.
    page.select_option("#category", "blue")
    expect(page.locator("#found .kinds")).to_have_text(["blue"] * 10)
    page.locator("#history-items button").first.click()
    expect(page.locator("#history-items li")).to_have_count(1)
    page.click("#clear")
    expect(page.locator("#results-title")).to_have_text("Most popular")
    assert page.is_visible("#nothing")


def sent(page: "Page") -> list[dict[str, object]]:
    """Bodies of the requests for recommendations from now on."""
    bodies: list[dict[str, object]] = []
    page.on("request", lambda asked: bodies.append(asked.post_data_json) if "/recommendations" in asked.url else None)
    return bodies


def test_a_request_in_words_changes_the_list(page: "Page", served: Start, asked_run: Path) -> None:
    page.goto(served(run=asked_run).address)
    settle(page)
    bodies, popular = sent(page), titles(page)
    assert page.is_hidden("#guidance-field")
    assert page.is_hidden("#settle")

    # Without a history; letters typed quickly are one request.
    page.evaluate(
        """words => { const box = document.getElementById('request');
            for (const letter of words) { box.value += letter; box.dispatchEvent(new Event('input')); } }""",
        "red, no blue",
    )
    expect(page.locator("#results-title")).to_have_text("Found by your words")
    expect(page.locator("#understood li")).to_have_text(["wanted: red (red)", "excluded: category blue"])
    assert titles(page) != popular
    assert page.locator("#found .kinds").all_inner_texts()[:3] == ["red"] * 3
    assert [(body.get("request"), body.get("guidance")) for body in bodies] == [("red, no blue", 1)]

    # The strength, by keyboard.
    page.focus("#guidance")
    with page.expect_response("**/v1/recommendations"):
        page.keyboard.press("End")
    assert page.inner_text("#guidance-said") == "4"
    assert bodies[-1]["guidance"] == 4
    settle(page)

    # Words that cannot be read are said at the box. The list stays.
    before = titles(page)
    page.fill("#request", "!!!")
    expect(page.locator("#refused")).to_contain_text("no words")
    assert page.get_attribute("#request", "aria-invalid") == "true"
    assert titles(page) == before
    assert page.is_hidden("#failure")
    assert page.is_hidden("#understood")

    # Another history still gets its list, without those words; readable ones are asked for again.
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    assert "request" not in bodies[-1]
    assert page.is_visible("#refused")
    own = titles(page)
    page.fill("#request", "green")
    expect(page.locator("#understood li")).to_have_text(["wanted: green (green)"])
    assert page.is_hidden("#refused")
    assert titles(page) != own
    assert bodies[-1]["request"] == "green"
    assert bodies[-1]["guidance"] == 4

    # Its share of the score, and the way back.
    page.locator("#found button", has_text="Why?").first.click()
    expect(page.locator("#found .why .parts").first).to_contain_text("request")
    page.click("#settle")
    expect(page.locator("#understood")).to_be_hidden()
    expect(page.locator("#found .name")).to_have_text(own)
    assert page.input_value("#request") == ""
    assert page.is_hidden("#settle")


def test_variety_and_a_rule(page: "Page", served: Start, asked_run: Path) -> None:
    page.goto(served(run=asked_run).address)
    settle(page)
    assert page.is_hidden("#variety-field"), "popular items have one order"
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    bodies, own = sent(page), titles(page)
    assert page.inner_text("#variety-said") == "0"

    page.focus("#variety")
    page.keyboard.press("End")
    expect(page.locator("#found .name")).not_to_have_text(own)
    assert (bodies[-1]["rerank"], bodies[-1]["strength"]) == ("mmr", 1)

    page.select_option("#quota", "2")
    expect(page.locator("#found .name")).to_have_count(6)
    assert bodies[-1]["rules"] == [{"quota": {"column": "category", "at_most": 2}}]
    expect(page.locator("#notes")).to_contain_text("the list ends after 6 of 10 items")
    assert sorted(page.locator("#found .kinds").all_inner_texts()) == ["blue", "blue", "green", "green", "red", "red"]

    # Both hold for another history and for explanations, until the reset.
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#history-items li")).to_have_count(2)
    expect(page.locator("#found .name")).to_have_count(6)
    settle(page)
    page.locator("#found button", has_text="Why?").first.click()
    page.wait_for_selector(".why .shares")
    assert bodies[-1] == {**bodies[-2], "explain": True}
    assert bodies[-1]["strength"] == 1
    page.click("#settle")
    expect(page.locator("#found .name")).to_have_count(10)
    assert page.is_hidden("#notes")
    assert bodies[-1].keys() == {"history", "k"}
    assert (page.input_value("#variety"), page.input_value("#quota")) == ("0", "")


def test_why_says_what_rules_did(page: "Page", served: Start, asked_run: Path) -> None:
    server = served(run=asked_run)
    boost = RuleOptions.model_validate({"boost": {"column": "category", "is": "red", "factor": 1000}})
    server.service.engine.rules = (boost,)
    page.goto(server.address)
    settle(page)
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    page.locator("#found li", has_text="red").first.get_by_text("Why?").click()
    expect(page.locator("#found .why .rules")).to_have_text(re.compile("^Rules: .*1000"))


def test_a_run_without_requests_hides_the_box(page: "Page", served: Start, engine: InferenceEngine) -> None:
    server = served()
    page.goto(server.address)
    settle(page)
    assert page.is_hidden("#ask")
    assert page.is_visible("#quota-field")
    assert not engine.reads_requests


def test_the_model_says_whether_requests_are_read(opened: Opened, asked_run: Path) -> None:
    able = [opened(**run).get("/v1/model").json()["capabilities"]["requests"] for run in ({}, {"run": asked_run})]
    assert able == [False, True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_controls_fit_a_phone(page: "Page", served: Start, asked_run: Path, scheme: str) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(served(run=asked_run).address)
    settle(page)
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    page.fill("#request", f"red, no blue, less {'g' * 200}")
    expect(page.locator("#understood li")).to_have_count(3)
    page.select_option("#quota", "1")
    expect(page.locator("#notes")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    outside = page.evaluate(
        """() => { const card = document.getElementById('results').getBoundingClientRect();
            return [...document.querySelectorAll('.ask *, .tools *, .notes *')].filter(one => {
                const box = one.getBoundingClientRect();
                return box.width && (box.right > card.right - 14 || box.left < card.left + 10 );
            }).map(one => one.outerHTML); }"""
    )
    assert outside == []


def test_somebody_elses_history_is_a_start(page: "Page", served: Start, engine: InferenceEngine) -> None:
    page.goto(served().address)
    settle(page)
    page.click("#user")
    page.wait_for_selector("#user-options li")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#whose:not([hidden])")
    user = engine.interactions.users[1]
    assert user in page.inner_text("#whose")
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    assert titles(page) == [one.title for one in engine.recommender.recommend(user)]


def test_titles_are_text(page: "Page", served: Start) -> None:
    page.goto(served().address)
    settle(page)
    page.fill("#title", "<script>")
    page.wait_for_selector("#title-options li >> nth=2")
    assert page.inner_text("#title-options li >> nth=0").startswith("<script>alert(")
    page.keyboard.press("Enter")
    page.wait_for_selector("#history-items li")
    assert page.inner_text("#history-items li >> nth=0").startswith("<script>alert(")
    settle(page)
    assert page.locator("script").count() == 1, "its own"


def test_an_item_that_was_put_is_found_and_added(page: "Page", served: Start, worded_run: Path) -> None:
    server = served(run=worded_run)
    page.goto(server.address)
    settle(page)
    status, _ = send(server.address, "PUT", "/v1/items/900", b'{"title": "Brass lantern", "category": "red"}')
    assert status == 201
    page.fill("#title", "lantern")
    page.wait_for_selector("#title-options li[role=option]")
    assert page.inner_text("#title-options li >> nth=0").startswith("Brass lantern")
    page.keyboard.press("Enter")
    expect(page.locator("#history-items li")).to_have_text(re.compile("Brass lantern"))
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    assert page.locator("#map .history-dot").count() == 1


def test_what_is_shown_of_a_history_before_is_faint(page: "Page", served: Start) -> None:
    page.goto(served().address)
    settle(page)
    page.route("**/v1/recommendations", lambda asked: asked.fulfill(status=503, body="{}"))
    page.locator("#found button", has_text="Add").first.click()
    expect(page.locator("#results")).to_have_class(re.compile("stale"))
    page.unroute("**/v1/recommendations")
    page.click("#failure button")
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    expect(page.locator("#results")).not_to_have_class(re.compile("stale"))


def test_the_bars_of_what_is_popular_begin_at_zero(page: "Page", served: Start, engine: InferenceEngine) -> None:
    page.goto(served().address)
    settle(page)
    widths = page.locator("#found .bar i").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    taken = sorted(engine.recommender.popularity.tolist(), reverse=True)[: len(widths)]
    assert widths[-1] / widths[0] == pytest.approx(0.06 + 0.94 * taken[-1] / taken[0], abs=0.03)


def test_the_map_names_items_and_shows_the_history_above_results(page: "Page", served: Start) -> None:
    page.goto(served().address)
    settle(page)
    for _ in range(2):
        page.locator("#found button", has_text="Add").first.click()
        settle(page)
    expect(page.locator("#history-items li")).to_have_count(2)
    settle(page)
    order = page.locator("#map > *").evaluate_all("parts => parts.map(part => part.classList[0])")
    assert max(n for n, one in enumerate(order) if one == "found-dot") < order.index("history-dot")
    named = page.locator("#map .label.of-found").evaluate_all("labels => labels.map(one => one.dataset.item)")
    listed = page.locator("#found li").evaluate_all("rows => rows.map(row => row.dataset.item)")
    assert set(named) <= set(listed)
    assert len(named) >= 5, "without hovering"
    shown = page.locator("#map .label.of-history").all_text_contents()
    assert shown
    titles_of = [text.removesuffix("×").strip() for text in page.locator("#history-items li").all_inner_texts()]
    assert all(any(title.startswith(text.removesuffix("…")) for title in titles_of) for text in shown)
    sides = "['left', 'top', 'right', 'bottom'].map(side => one.getBoundingClientRect()[side])"
    boxes = page.locator("#map .label").evaluate_all(f"labels => labels.map(one => {sides})")
    across = [
        (one, other) for n, one in enumerate(boxes) for other in boxes[:n]
        if one[0] < other[2] - 3 and other[0] < one[2] - 3 and one[1] < other[3] - 4 and other[1] < one[3] - 4
    ]  # fmt: skip
    assert across == [], "no name covers another"


def test_empty_and_failed_are_said(page: "Page", served: Start) -> None:
    server = served()
    page.goto(server.address)
    settle(page)
    page.fill("#title", "nowhere to be found")
    page.wait_for_selector("#title-options .empty")
    assert page.inner_text("#title-options") == "No title contains these words."
    page.keyboard.press("Escape")

    store = server.service.store
    history = store.history

    def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    store.history = away
    page.click("#user")
    page.wait_for_selector("#user-options li")
    page.locator("#user-options li").first.click()
    page.wait_for_selector("#failure:not([hidden])")
    assert "Try again in a moment" in page.inner_text("#failure p")
    store.history = history
    page.click("#failure button")
    page.wait_for_selector("#whose:not([hidden])")
    assert page.is_hidden("#failure")


def test_a_guarded_service_asks_for_the_key(page: "Page", served: Start, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "visitor", "read")
    page.goto(served(keys=ApiKeys.load(tmp_path / "keys.json")).address)
    page.wait_for_selector("#door[open]")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#door-wrong:not([hidden])")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    settle(page)
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    settle(page)
    assert page.locator("#door[open]").count() == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_and_both_schemes(page: "Page", served: Start, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(served().address)
    settle(page)
    page.locator("#found button", has_text="Add").first.click()
    page.wait_for_selector("#history-items li")
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 3 * 128
    assert light == (scheme == "light")


def test_everything_that_is_used_has_a_name(page: "Page", served: Start) -> None:
    page.goto(served().address)
    settle(page)
    page.locator("#found button", has_text="Add").first.click()
    page.wait_for_selector("#history-items li")
    settle(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, svg:not([aria-hidden=true]), dialog')]
            .filter(one => !(
            one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.textContent.trim()
            || (one.labels && one.labels.length))).map(one => one.outerHTML)"""
    )
    assert nameless == []


def test_the_colours_are_the_reports() -> None:
    assert (STATIC / "theme.css").read_text(encoding="utf-8") == variables()


def test_thumbs_move_the_list(page: "Page", served: Start, shop_run: Path) -> None:
    """A thumb down is read as a dislike and moves the list at once; a thumb up is a purchase."""
    address = served(run=shop_run).address
    page.goto(address)
    settle(page)
    page.get_by_role("button", name="Like thing 7", exact=True).click()
    expect(page.locator("#results-title")).to_have_text("Recommended next")
    settle(page)
    first = titles(page)[0]
    assert first == "thing 8"
    assert page.inner_text("#history-items li") == "thing 7\nliked\n×"
    page.get_by_role("button", name=f"Dislike {first}", exact=True).click()
    expect(page.locator("#found .name").first).not_to_have_text(first)
    settle(page)
    assert first not in titles(page)
    history = [{"item_id": "i7", "kind": "purchase"}, {"item_id": "i8", "kind": "skip"}]
    answer = page.request.post(f"{address}/v1/recommendations", data={"history": history, "k": 10})
    assert titles(page) == [one["title"] for one in answer.json()["items"]]
    assert page.locator("#history-items li.disliked").count() == 1


def test_a_dislike_is_left_out_where_the_model_reads_none(page: "Page", served: Start, engine: InferenceEngine) -> None:
    page.goto(served().address)
    settle(page)
    first = titles(page)[0]
    page.get_by_role("button", name=f"Dislike {first}", exact=True).click()
    expect(page.locator("#found .name").first).not_to_have_text(first)
    settle(page)
    assert first not in titles(page)
    assert page.inner_text("#results-title") == "Most popular"


@pytest.fixture(scope="module")
def shop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose events have kinds: a purchase is followed by that of the next item."""
    folder = tmp_path_factory.mktemp("shop") / "run"
    options: dict[str, Any] = {"retrieval": {"prior": "none", "trend": False}, "training": {"epochs": 30}}
    Recommender.fit(shop(users=300), tiny_config(**options), out=folder)
    return folder
