"""The widget in a browser: a conversation from the first word on, and a page that steers it."""

from __future__ import annotations

import pytest


def test_a_page_loads_nothing_of_the_service_before_the_chat_is_opened(site):
    site.visit().find(".launcher")
    assert site.mock.requests == []
    assert site.find(".launcher").get_attribute("aria-expanded") == "false"
    assert site.js("return getComputedStyle(root.querySelector('.panel')).visibility") == "hidden"


def test_the_greeting_and_suggestions_are_shown(site):
    site.visit().open()
    assert site.text(".greeting") == "Acme Support: Hello! How can I help you?"
    assert site.text("h2") == "Acme Support"
    site.press(".suggestions button")
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


def test_a_citation_opens_the_passage_with_the_quote_marked(site, keys, answer):
    site.visit().open().ask("Abroad?", *answer)
    site.press("button.cite")
    assert site.text("mark") == "Delivery abroad takes five to\nseven working days."
    assert site.text(".sheet h2") == "Delivery › Abroad" and site.text(".origin") == "delivery.md"
    assert "We ship to 24 countries." in site.text(".words")
    assert site.focused() == "Back to the conversation"
    assert site.js("return root.querySelector('.main-part').inert")
    site.browser.switch_to.active_element.send_keys(keys.ESCAPE)
    site.until("!root.querySelector('.sheet')")
    assert site.focused() == "Source 1: Delivery › Abroad"
    assert site.js("return chat.isOpen")


def test_a_source_chip_opens_its_passage(site, answer):
    site.visit().open().ask("Abroad?", *answer)
    assert site.js("return [...root.querySelectorAll('.chip')].map((chip) => chip.textContent)") == [
        "1 Delivery › Abroad",
        "2 Returns",
    ]
    site.js("root.querySelectorAll('.chip')[1].click()")
    assert site.text(".origin") == "terms.pdf · p. 3"
    site.press(".sheet .head button")
    site.until("!root.querySelector('.sheet')")


def test_all_sentences_of_a_passage_that_a_reply_quotes_are_marked(site):
    quotes = ["Parcels are late.", "Delivery abroad takes five to seven working days.", "We ship to 24 countries."]
    cited = [{"number": 1, "title": "Delivery", "source": "delivery.md", "quote": quote} for quote in quotes]
    site.mock.passages[1]["quotes"] = quotes
    site.visit().open().ask("Abroad?", "All [1] of [1] it.", {"finish": {"citations": cited}})
    assert site.count(".chip") == 1 and site.count("button.cite") == 2
    site.press(".chip")
    site.find("mark")
    assert site.js("return [...root.querySelectorAll('mark')].map((mark) => mark.textContent)") == [
        "We ship to 24 countries.",
        "Delivery abroad takes five to\nseven working days.",
    ]


def test_a_passage_that_is_gone_leaves_its_quote(site, answer):
    site.visit().open().ask("Abroad?", *answer)
    site.mock.passages.clear()
    site.press("button.cite")
    assert site.text(".words") == "Delivery abroad takes five to seven working days."
    site.press(".sheet .plain")
    site.js("root.querySelectorAll('.chip')[1].click()")
    assert site.text(".sheet .notice") == "This source is not there any more."


def test_a_passage_that_cannot_be_had_can_be_tried_again(site, answer):
    site.visit().open().ask("Abroad?", *answer)
    site.mock.faults.append(("/passages/1", 500, {}))
    site.press("button.cite")
    site.press(".sheet .notice button")
    assert site.text("mark")


def test_a_number_without_a_source_stays_text(site, answer):
    cited = answer[-1]["finish"]["citations"][:1]
    site.visit().open().ask("x", "See [1] and [7].", {"finish": {"citations": cited}})
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
    site.press(f".approval .{button}")
    site.until("!root.querySelector('.busy')")
    assert site.mock.seen("POST", "/approvals/k1")[0][3] == {"approve": approve}
    assert told in site.text(".step") and site.count(".approval") == 0


def test_feedback_is_sent_with_a_comment(site):
    site.visit().open().ask("Hi")
    site.press(".rating button:last-child")
    site.type(".comment textarea", "Too short")
    assert site.find(".rating button:last-child").get_attribute("aria-pressed") == "true"
    site.press(".comment button")
    site.until("root.querySelector('.rating .note')")
    assert [request[3] for request in site.mock.seen("PUT", "/feedback")] == [
        {"score": -1},
        {"score": -1, "comment": "Too short"},
    ]


def test_a_reply_can_be_stopped(site):
    site.visit().open().ask("Hi", "Begun", 30.0, " ended", wait=False)
    site.until("root.querySelector('.turn .text').textContent === 'Begun'")
    site.press(".send[aria-label=Stop]")
    site.until("!root.querySelector('.busy')")
    assert site.mock.seen("POST", "/cancel")
    assert site.text(".turn .text") == "Begun" and site.text(".foot .note") == "Stopped."


def test_a_new_conversation_can_be_begun_and_left_again(site):
    site.visit().open().ask("One", "First answer.")
    site.press("button[aria-label='New conversation']")
    site.until("root.querySelector('.greeting') && !root.querySelector('.turn')")
    site.ask("Two", "Second answer.")
    assert site.mock.seen("POST", "/v1/turns")[1][3].get("conversation") is None
    site.press(".log > .notice button")
    site.until("root.querySelector('.turn')?.textContent.includes('First answer.')")
    assert "Second answer." not in site.log()


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
    site.press(".rating button")
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


def test_a_page_that_runs_its_scripts_again_has_one_chat(site):
    site.visit().find(".launcher")
    site.js("""
        const old = document.querySelector('script[data-bot]'), again = document.createElement('script');
        again.src = old.src;
        again.dataset.bot = old.dataset.bot;
        again.onload = () => (window.ran = true);
        old.replaceWith(again);
    """)
    site.until("window.ran")
    assert site.js("return document.querySelectorAll('sartor-chat').length") == 1


def test_another_language_can_be_added(site):
    site.visit(html='lang="de"')
    assert site.find(".launcher").accessible_name == "Open chat"
    site.js("""
        customElements.get("sartor-chat").texts.de = {open: "Chat öffnen"};
        chat.replaceWith(Object.assign(document.createElement("sartor-chat")));
        const other = document.createElement("sartor-chat");
        other.dataset.bot = "acme/support";
        document.querySelector("sartor-chat").replaceWith(other);
    """)
    assert site.find(".launcher").accessible_name == "Chat öffnen"
    assert site.find(".closer").get_attribute("aria-label") == "Close chat"


def test_variables_of_the_page_change_the_looks(site):
    site.visit(body="<style>sartor-chat { --sartor-accent: rgb(1, 99, 9); --sartor-width: 333px }</style>").open()
    assert site.js("return getComputedStyle(root.querySelector('.launcher')).backgroundColor") == "rgb(1, 99, 9)"
    assert site.js("return root.querySelector('.panel').offsetWidth") == 333
