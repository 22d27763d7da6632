"""Tests of plugins that give channels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from sartor.building import channels_of
from sartor.channels import Answer, Channel, Message, Received, Request
from sartor.errors import DeliveryError
from sartor.plugins import PluginSet
from sartor.testing.guard import NetworkGuard
from sartor.testing.suites.base import run
from sartor.testing.suites.isolation import IsolationSuite
from sartor.values import Citation, Outcome, Reply

__all__ = ["ChannelSuite"]

_TEXTS = ("Hello.", "", "é 👩‍👩‍👧 <b>& *bold* _x_ `code` [1]", "long " * 2000, "one\n\ntwo\n- three", "\ud800 half")
_BODIES = (b"", b"null", b"[]", b"{}", b"{", b'"text"', b"\xff\xfe", b"[" * 5000, b'{"text": 1e999}', b'{"user": {}}')


class ChannelSuite(IsolationSuite):
    """Tests of channels: nobody gets in without a signature, the same message is known again, replies can be sent.

    Override `request` and, for a channel that signs bodies, `signed`. Secrets by reference (``env:NAME``) come from
    `environment`.
    """

    hooks: ClassVar[Sequence[str]] = ("sartor_channels",)
    environment: ClassVar[Mapping[str, str]] = {}
    """Environment variables that the settings refer to."""
    signed_headers: ClassVar[Sequence[str]] = ()
    """The headers without which a request is not proved to be the platform's, in lower case."""
    method: ClassVar[str] = "POST"

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        yield

    def request(self, text: str, *, user: str = "u1", event: str = "e1") -> Request | None:
        """The platform's request for a message, signed, of now."""
        return None

    def signed(self, body: bytes) -> Request | None:
        """A request with any body, signed; None: the channel does not sign bodies."""
        return None

    def old(self) -> Request | None:
        """A request that was signed long ago; None: the platform signs no time."""
        return None

    @pytest.fixture
    def channel(self, tmp_path: Path) -> Channel:
        """The channel of one bot."""
        return self.channels_for(tmp_path, "acme")[0]

    def channels_for(self, root: Path, tenant: str) -> Sequence[Channel]:
        """The channels of the bot ``tenant/support``."""
        channels = channels_of(PluginSet([self.make(self.folder(root, tenant))]), self.info(root, tenant))
        self.need(channels, "settings with which it gives channels")
        return channels

    def asked(self, text: str = "Hello", **more: str) -> Request:
        """The request of `request`, which must be there."""
        made = self.request(text, **more)
        self.need(made, "a signed request, by overriding `request`")
        assert made is not None
        return made

    def receive(self, channel: Channel, request: Request) -> Received:
        """What the request comes to."""
        return run(channel.receive(request))

    def reply(self, message: Message, text: str) -> Reply:
        """A reply to a message."""
        turn = replace(self.turn(message.text), user=message.user)
        return Reply(turn, text, Outcome.ANSWERED, (Citation(1, "p1", "delivery.md", "Delivery"),))

    def test_its_address_can_be_written(self, channel: Channel) -> None:
        assert channel.name and channel.name.replace("-", "").isalnum(), channel.name

    def test_a_signed_message_is_received(self, channel: Channel) -> None:
        received = self.receive(channel, self.asked("Where is my parcel?"))
        assert [message.text for message in received.messages] == ["Where is my parcel?"]
        message = received.messages[0]
        assert message.user and message.event, "user or event is empty"
        assert json.dumps(dict(message.to)) and json.dumps(dict(message.attributes))
        assert received.answer is None or 200 <= received.answer.status < 300

    def test_the_same_message_is_known_again(self, channel: Channel) -> None:
        def event(**more: str) -> str:
            return self.receive(channel, self.asked(**more)).messages[0].event

        assert event(event="e7") == event(event="e7") != event(event="e8")

    def test_users_are_told_apart(self, channel: Channel) -> None:
        one, other = (self.receive(channel, self.asked(user=user)).messages[0] for user in ("u1", "u2"))
        assert one.user != other.user
        assert not one.conversation or one.conversation != other.conversation, "a conversation is of one user"

    def test_nobody_gets_in_without_the_signature(self, channel: Channel) -> None:
        good = self.asked()
        self.need(self.signed_headers, "the headers that prove a request, in `signed_headers`")
        for name in self.signed_headers:
            assert name in good.headers, f"the request has no header {name!r}"
            without = {key: value for key, value in good.headers.items() if key != name}
            for headers in (without, {**without, name: ""}, {**without, name: "x" * 40}, {**without, name: "é\xff"}):
                self._refused(channel, replace(good, headers=headers), f"without a right {name}")
        self._refused(channel, replace(good, headers={}), "without headers")

    def test_a_body_that_was_changed_is_refused(self, channel: Channel) -> None:
        good = self.asked()
        for body in (good.body + b" ", good.body.replace(b"Hello", b"Hallo"), b""):
            self._refused(channel, replace(good, body=body), "with another body")

    def test_an_old_request_is_refused(self, channel: Channel) -> None:
        request = self.old()
        if request is None:
            pytest.skip("the platform signs no time: override `old` if it does")
        self._refused(channel, request, "of long ago")

    def _refused(self, channel: Channel, request: Request, how: str) -> None:
        received = self.receive(channel, request)
        assert not received.messages, f"a request {how} is a message"
        assert received.answer is not None and received.answer.status in (400, 401, 403), (how, received.answer)

    def test_odd_bodies_are_no_messages(self, channel: Channel) -> None:
        for body in _BODIES:
            request = self.signed(body)
            if request is None:
                pytest.skip("override `signed` to sign any body")
            received = self.receive(channel, request)
            assert not received.messages, f"{body[:40]!r} is a message"
            assert received.answer is not None and received.answer.status < 500

    def test_other_methods_are_no_messages(self, channel: Channel) -> None:
        received = self.receive(channel, replace(self.asked(), method="PUT"))
        assert not received.messages and received.answer is not None and received.answer.status < 500

    def test_any_reply_can_be_written(self, channel: Channel) -> None:
        message = self.receive(channel, self.asked()).messages[0]
        for text in _TEXTS:
            parts = channel.write(message, self.reply(message, text))
            assert not text.strip() or parts, f"nothing is sent of {text[:40]!r}"
            assert all(json.dumps(part) for part in parts)
            if parts:
                assert isinstance(channel.answer(message, self.reply(message, text)), Answer)

    def test_what_cannot_be_sent_is_a_delivery_error_without_the_text(self, channel: Channel) -> None:
        received = self.receive(channel, self.asked())
        message = received.messages[0]
        if received.answer is None:
            pytest.skip("the reply is the answer: nothing is sent")

        async def send() -> None:
            try:
                for part in channel.write(message, self.reply(message, "A secret reply")):
                    await channel.send(message, part)
            finally:
                await channel.close()

        with NetworkGuard().closed(), pytest.raises(DeliveryError) as caught:
            run(send())
        assert caught.value.again, "no network now may be network later"
        assert "secret reply" not in str(caught.value)

    def test_it_is_closed_twice_without_a_complaint(self, channel: Channel) -> None:
        async def come_and_go() -> None:
            await channel.start()
            await channel.close()
            await channel.close()

        run(come_and_go())
