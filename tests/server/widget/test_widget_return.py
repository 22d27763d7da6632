"""The widget in a browser: coming back to a conversation, and what happens when something goes wrong."""

from __future__ import annotations

import time


def test_a_reload_shows_the_conversation_again(site, answer):
    site.visit().open().ask("Abroad?", *answer)
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


def test_a_stream_that_breaks_is_taken_up_where_it_broke(site):
    site.visit().open().ask("Hi", "One ", {"drop": True}, "two ", {"drop": True}, "three.")
    assert site.text(".turn .text") == "One two three."
    assert [request[2].get("last-event-id") for request in site.mock.seen("GET", "/events")] == ["2", "3"]
    assert len(site.mock.seen("POST", "/v1/turns")) == 1 and site.count(".banner:not(:empty)") == 0


def test_a_request_that_was_lost_is_repeated_with_the_same_key(site):
    site.visit().open()
    site.network(offline=True)
    site.until("root.querySelector('.banner').textContent.startsWith('You are offline')")
    site.ask("Hi", "Here.", wait=False)
    time.sleep(0.2)
    site.network()
    site.until("root.querySelector('.turn .text').textContent === 'Here.'")
    site.until("!root.querySelector('.banner').textContent")
    assert len({request[2]["idempotency-key"] for request in site.mock.seen("POST", "/v1/turns")}) == 1


def test_a_full_service_is_waited_for(site):
    site.visit().open()
    site.mock.faults.append(("/v1/turns", 429, {"Retry-After": "2"}))
    site.ask("Hi", "Here.", wait=False)
    site.until("/Trying again in [12] s/.test(root.querySelector('.banner').textContent)")
    assert "Trying again in" in site.text(".speaker") and site.find(".banner").get_attribute("role") is None
    site.until("root.querySelector('.turn .text').textContent === 'Here.'")
    assert site.js("return root.querySelector('.banner').textContent") == ""


def test_a_model_with_too_much_to_do_is_waited_for(site):
    site.mock.scripts = [[{"error": "full", "code": "overloaded"}]]
    site.visit().open().ask("Hi", "Here.", wait=False)
    site.until("root.querySelector('.banner').textContent.startsWith('There is a lot going on')")
    site.until("root.querySelector('.turn .text').textContent === 'Here.'")
    assert len(site.mock.seen("POST", "/v1/turns")) == 2 and site.count(".turn") == 1


def test_a_conversation_that_is_gone_is_begun_anew(site):
    site.visit().open().ask("One")
    site.mock.faults.append(("/v1/turns", 404, {}))
    site.ask("Two", "Yes.")
    site.press(".turn .notice button")
    site.until("root.querySelectorAll('.rating').length === 2")
    told = [request[3].get("conversation") for request in site.mock.seen("POST", "/v1/turns")]
    assert told == [None, "c1", None]


def test_a_turn_that_fails_can_be_tried_again(site):
    site.visit().open().ask("Hi", "Beg", {"error": "inside"})
    assert site.text(".turn .notice span") == "Something went wrong."
    assert "inside" not in site.log()
    site.mock.script = ["All of it."]
    site.press(".turn .notice button")
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
    site.press(".notice button")
    site.find(".greeting")


def test_a_message_that_is_too_long_is_not_sent(site):
    site.mock.bot["question_characters"] = 20
    site.visit().open().type(".box textarea", "a" * 19)
    assert site.text(".count") == "1 characters left"
    site.type(".box textarea", "bbb")
    assert site.text(".count") == "2 characters too many"
    assert site.find(".box textarea").get_attribute("aria-invalid") == "true"
    assert not site.find(".send").is_enabled()
