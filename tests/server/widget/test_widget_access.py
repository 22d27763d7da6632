"""The widget in a browser: keyboard, screen readers, contrast, small screens, languages."""

from __future__ import annotations

import time

import pytest


def test_everything_can_be_done_with_the_keyboard(site, keys, answer):
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
    site.mock.script = list(answer)
    at().send_keys(keys.ENTER)
    site.find(".rating")
    assert site.mock.seen("POST", "/v1/turns")[0][3]["text"] == "Abroad?\nPlease"
    passed = []
    while len(passed) < 12 and not site.focused().startswith("Source 1"):
        at().send_keys(keys.SHIFT + keys.TAB + keys.NULL)
        passed.append(site.focused())
    assert "Bad answer" in passed and "2 Returns" in passed
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


def test_roles_and_names_are_there_for_a_screen_reader(site, answer):
    site.visit().open().ask("Abroad?", *answer)
    panel, log, launcher = site.find(".panel"), site.find(".log"), site.find(".launcher")
    assert panel.get_attribute("role") == "dialog" and panel.accessible_name == "Acme Support"
    assert panel.get_attribute("aria-modal") == "false"
    assert log.get_attribute("role") == "log" and log.get_attribute("aria-live") == "polite"
    assert log.get_attribute("tabindex") == "0" and log.accessible_name == "Conversation"
    assert launcher.get_attribute("aria-expanded") == "true" and launcher.accessible_name == "Close chat"
    assert site.find(".box textarea").accessible_name == "Message"
    assert (
        site.js("return [...root.querySelectorAll('button')].filter((b) => !(b.ariaLabel || b.textContent)).length")
        == 0
    )
    assert site.text(".speaker") == "Acme Support: Five to seven working days. Returns: 30 days."
    assert site.count(".turn .bubble[aria-live=off]") == 2  # what grows is not read as it grows


def test_everything_that_can_be_pressed_is_large_enough(site, answer):
    site.visit().open().ask("Abroad?", *answer)
    small = """
        return [...root.querySelectorAll('button, textarea')].filter((node) => {
            const box = node.getBoundingClientRect(), more = getComputedStyle(node, '::after');
            const around = node.matches('.cite') ? 6 : 0;  // its ::after is larger than it
            return box.width && (box.width + around < 24 || box.height + around < 24);
        }).map((node) => node.className);
    """
    assert site.js(small) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(site, scheme, answer):
    site.visit(f'data-theme="{scheme}"').open().ask("Abroad?", *answer)
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
        const ratio = (one, two) => {
            const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
            return (a + .05) / (b + .05);
        };
        return [...root.querySelectorAll('.panel *')]
            .filter((node) => !node.matches('.spoken'))
            .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
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
    assert site.js(f"return {place('.head .avatar')}.left > {place('.head .closer')}.left")
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
