"""The widget in a browser: a person has the conversation."""

from __future__ import annotations

CALLED = ("I am passing you on to a colleague.", {"finish": {"outcome": "handed_over"}})
SILENT = ({"finish": {"outcome": "silent"}},)


def handed_over(site):
    """A page whose user has asked for a person."""
    site.mock.person = True
    return site.visit().open().ask("I want to talk to a human", *CALLED)


def role(site) -> str:
    return site.text(".head .names .small")


def test_what_a_person_says_comes_with_their_name(site):
    handed_over(site)
    assert role(site) == "A person will answer here"
    site.mock.tell("c1", "This is **Ana**. What is it about?", "Ana")
    site.until("root.querySelectorAll('.turn').length === 2")
    assert site.js("return root.querySelectorAll('.turn')[1].querySelector('.small').textContent") == "Ana"
    assert site.js("return root.querySelectorAll('.turn')[1].querySelector('.text').textContent") == (
        "This is Ana. What is it about?")  # fmt: skip
    assert role(site) == "You are talking to Ana"
    assert site.text(".speaker") == "Ana: This is Ana. What is it about?"
    assert site.count(".rating") == 0


def test_the_bot_is_silent_and_comes_back(site):
    handed_over(site)
    site.ask("My boots leak", *SILENT)
    assert site.js("return [...root.querySelectorAll('.turn')].at(-1).querySelector('.bubble:not(.mine)').hidden")
    site.mock.tell("c1", "I am the assistant again.", released=True)
    site.until("root.querySelector('.head .names .small').textContent === 'AI assistant'")
    assert "I am the assistant again." in site.log() and site.count(".turn") == 3
    site.mock.tell("c1", "Nobody looks for this.", "Ana")
    site.ask("And now?", "Blue.")
    assert site.count(".rating") == 1 and "Nobody looks" not in site.log()
    assert site.log().count("My boots leak") == 1


NOTE = ".composer > .small"


def test_nothing_says_that_an_ai_answers_while_a_person_does(site):
    handed_over(site)
    assert not site.find(NOTE).is_displayed()
    site.mock.tell("c1", "Hello from Ana.", "Ana")
    site.visit()
    site.until("root.querySelectorAll('.turn').length === 2")
    assert role(site) == "You are talking to Ana" and not site.find(NOTE).is_displayed()
    site.mock.tell("c1", "I am the assistant again.", released=True)
    site.until("root.querySelector('.head .names .small').textContent === 'AI assistant'")
    assert site.text(NOTE) == "Answers come from an AI. Check what matters." and site.find(NOTE).is_displayed()


def test_a_note_of_the_page_stays(site):
    site.mock.person = True
    site.visit('data-note="We keep what you write for a year."').open().ask("I want to talk to a human", *CALLED)
    assert role(site) == "A person will answer here"
    assert site.text(NOTE) == "We keep what you write for a year." and site.find(NOTE).is_displayed()


def test_a_reload_goes_on_waiting(site):
    handed_over(site)
    site.mock.tell("c1", "Hello from Ana.", "Ana")
    site.visit()
    site.until("root.querySelectorAll('.turn').length === 2")
    assert role(site) == "You are talking to Ana"
    site.mock.tell("c1", "One more thing.", "Ana")
    site.until("root.querySelectorAll('.turn').length === 3")
    assert site.log().count("Hello from Ana.") == 1


def test_another_conversation_is_not_waited_in(site):
    handed_over(site)
    site.js("chat.restart()")
    site.until("root.querySelector('.greeting')")
    assert role(site) == "AI assistant"
    site.mock.tell("c1", "Too late.", "Ana")
    site.ask("Hi", "Hello.")
    assert "Too late." not in site.log()


def test_a_name_is_text(site):
    handed_over(site)
    site.mock.tell("c1", "<img src=x onerror=alert(1)>", "<b>Ana</b>")
    site.until("root.querySelectorAll('.turn').length === 2")
    assert role(site) == "You are talking to <b>Ana</b>"
    assert site.count("img") == 0 and site.count(".turn b") == 0
