"""The widget in a browser: what a flow asks, with buttons to answer."""

from __future__ import annotations

ASKED = {"name": "visit", "stage": "asking", "slot": "place", "values": {}, "options": ["North", "South"]}
QUESTION = ("Which shop?\n- North\n- South", {"finish": {"flow": ASKED}})
CONFIRM = ("Ann comes to North. Right?", {"finish": {"flow": ASKED | {"stage": "confirming", "options": []}}})
BUTTONS = "[...root.querySelectorAll('.asks button')].map((button) => button.textContent)"


def test_options_are_buttons_in_place_of_their_list(site):
    site.visit().open().ask("A visit", *QUESTION)
    assert site.js(f"return {BUTTONS}") == ["North", "South"]
    assert site.find(".asks [role=group]").get_attribute("aria-label") == "Answers"
    assert site.js("return root.querySelector('.turn .text').innerText.trim()") == "Which shop?"


def test_a_click_sends_the_option_and_the_list_is_text_again(site):
    site.visit().open().ask("A visit", *QUESTION)
    site.mock.script = ["Fine."]
    site.js("root.querySelectorAll('.asks button')[1].click()")
    site.until("root.querySelectorAll('.rating').length === 2")
    assert site.mock.seen("POST", "/v1/turns")[1][3]["text"] == "South"
    assert site.count(".asks button") == 0 and site.focused() == "Message"
    assert "North\nSouth" in site.log()


def test_buttons_go_when_something_is_written_instead(site):
    site.visit().open().ask("A visit", *QUESTION).ask("The southern one", "Fine.")
    assert site.count(".asks button") == 0


def test_what_is_to_be_confirmed_has_three_answers(site, keys):
    site.visit().open().ask("Ann", *CONFIRM)
    assert site.js(f"return {BUTTONS}") == ["Yes", "Change", "Stop"]
    site.js("root.querySelector('.asks button').focus()")
    site.mock.script = ["Done."]
    site.browser.switch_to.active_element.send_keys(keys.ENTER)
    site.until("root.querySelectorAll('.rating').length === 2")
    assert site.mock.seen("POST", "/v1/turns")[1][3]["text"] == "Yes"


def test_what_did_not_work_can_be_tried_again(site):
    site.visit().open().ask("Yes", "No.", {"finish": {"flow": ASKED | {"stage": "refused", "options": []}}})
    assert site.js(f"return {BUTTONS}") == ["Try again", "Change", "Stop"]


def test_answers_are_in_the_language_of_the_widget(site):
    site.visit('data-language="fr"').open().ask("Ann", *CONFIRM)
    assert site.js(f"return {BUTTONS}") == ["Oui", "Modifier", "Arrêter"]


def test_a_flow_that_is_over_asks_nothing(site):
    site.visit().open().ask("Yes", "Done.", {"finish": {"flow": ASKED | {"stage": "done", "options": []}}})
    assert site.count(".asks button") == 0


def test_a_text_that_is_no_list_of_the_options_stays(site):
    site.visit().open().ask("A visit", "Which?\n- North\n- South\n- East", {"finish": {"flow": ASKED}})
    assert "East" in site.log() and site.js(f"return {BUTTONS}") == ["North", "South"]


def test_a_list_of_choices_that_may_be_skipped_is_buttons(site):
    skippable = {"flow": ASKED | {"options": ["North", "South", "Skip"]}}
    site.visit().open().ask("A visit", "Which shop? (You can skip this.)\n- North\n- South", {"finish": skippable})
    assert site.js(f"return {BUTTONS}") == ["North", "South", "Skip"]
    assert site.js("return root.querySelector('.turn .text').innerText.trim()") == "Which shop? (You can skip this.)"


def test_a_list_beside_yes_and_no_stays(site):
    yes_no = {"flow": ASKED | {"options": ["Yes", "No"]}}
    site.visit().open().ask("A visit", "Do you agree to this?\n- No dogs\n- No smoke", {"finish": yes_no})
    assert site.js(f"return {BUTTONS}") == ["Yes", "No"]
    assert "No dogs" in site.js("return root.querySelector('.turn .text').innerText")


def test_after_a_reload_the_last_question_has_its_buttons(site):
    site.visit().open().ask("A visit", *QUESTION).ask("South", *CONFIRM)
    site.visit()
    site.until("root.querySelectorAll('.rating').length === 2")
    assert site.js(f"return {BUTTONS}") == ["Yes", "Change", "Stop"]
    assert "North\nSouth" in site.log()


def test_the_words_of_the_buttons_are_understood():
    from sartor.flows.signals import signals_of

    for said in ("Skip", "Passer"):
        assert signals_of(said).skip and not signals_of(said).no
    assert signals_of("No").no and signals_of("Non").no
    for said in ("Yes", "Oui", "Try again", "Réessayer"):
        assert signals_of(said).yes and not signals_of(said).no
    assert signals_of("Change").change and signals_of("Modifier").change
    assert signals_of("Stop").leave and signals_of("Arrêter").leave
