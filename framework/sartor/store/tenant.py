"""All that the bots of one tenant can reach of the state database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sartor.errors import KnowledgeError, NamingError
from sartor.names import check_name
from sartor.store import documents, feedback, handovers, keys, requests, responses, turns
from sartor.store.database import Database
from sartor.store.encoding import last_turns, stored_turn, stored_turns
from sartor.store.rows import ConversationRow, DocumentRow, FeedbackRow, KeyRow, RequestRow, StoredResponse, StoredTurn
from sartor.store.tenants import erase
from sartor.values import Chunk, Exchange, HandOver, JSONValue, Reply, Turn, Usage

__all__ = ["TenantStore"]

_KEY_BYTES = 512
"""The longest user, conversation, turn, source or id, in UTF-8: databases limit what they can index."""


class TenantStore:
    """One tenant's part of the state database. No method takes a tenant: whoever holds it reaches no other.

    Every method raises `StoreError` when the database fails, and `NamingError` for a name that cannot be one.
    """

    def __init__(self, database: Database, tenant: str) -> None:
        self.tenant = check_name("tenant", tenant)
        self._database = database

    async def history(self, bot: str, user: str, conversation: str, limit: int, step: int = 1) -> list[Exchange]:
        """The last `limit` turns of the user's own conversation with the bot, the oldest first.

        Of more, what is left out is left out by `step` turns at a time, so that what comes back begins with the same
        turn for as long: a model that has read it need not read it anew. So it may be up to `step` - 1 turns less.

        Empty for a conversation that does not exist yet. Raises `NamingError` for one of another user or bot.
        """
        key = self._conversation(bot, user, conversation)
        return await self._database.glance(lambda connection: turns.history(connection, key, limit, step))

    async def standing(self, bot: str, user: str, conversation: str) -> Mapping[str, JSONValue] | None:
        """Where the flows of the user's own conversation with the bot stand; None where there is none."""
        key = self._conversation(bot, user, conversation)
        return await self._database.glance(lambda connection: turns.standing(connection, key))

    async def exchange_standing(
        self,
        bot: str,
        user: str,
        conversation: str,
        *,
        old: Mapping[str, JSONValue] | None,
        new: Mapping[str, JSONValue],
    ) -> bool:
        """Let the flows of a conversation stand where `new` says, if they still stand where `old` says; false where
        they do not."""
        key = self._conversation(bot, user, conversation)
        return await self._database.write(lambda connection: turns.exchange_standing(connection, key, old, new))

    async def open_handover(self, bot: str, user: str, conversation: str) -> HandOver | None:
        """The hand-over by which a person has the user's own conversation with the bot; None where none has."""
        key = self._conversation(bot, user, conversation)
        return await self._database.glance(lambda connection: handovers.open_handover(connection, key))

    async def open_handovers(self) -> list[HandOver]:
        """Conversations of the tenant that people have, the oldest hand-over first."""
        return await self._database.read(lambda connection: handovers.open_handovers(connection, self.tenant))

    async def handover(self, handover: str) -> HandOver | None:
        """One of the tenant's hand-overs, released or not; None where there is none."""
        _check(handover=handover)
        return await self._database.read(lambda connection: handovers.find_handover(connection, self.tenant, handover))

    async def commit(self, reply: Reply) -> HandOver | None:
        """Store a turn, its usage, tool uses and verdicts, all or nothing; the conversation is created when new.

        The text is stored as it is given: it must be what the policies allowed. Where the turn has a hand-over, the
        one that is stored is returned: another one, where another turn called a person first. Raises `NamingError` for
        a turn of another tenant or in a conversation of another user or bot, `StoreError` for one stored already.
        """
        self._check_turn(reply.turn)
        now = datetime.now(UTC)
        return await self._database.write(lambda connection: turns.commit(connection, reply, now))

    async def commit_said(self, reply: Reply) -> None:
        """`commit` what a person says by a hand-over, or its release: both only as long as it is not released. Raises
        `UsageError` where it was, and nothing is stored then."""
        self._check_turn(reply.turn)
        now = datetime.now(UTC)
        await self._database.write(lambda connection: turns.commit_said(connection, reply, now))

    async def reply(self, turn_id: str) -> StoredTurn | None:
        """What is stored of a turn, for ``/why`` and the audit; None where the tenant has no such turn."""
        _check(turn=turn_id)
        return await self._database.read(lambda connection: stored_turn(connection, self.tenant, turn_id))

    async def conversations(
        self, bot: str, user: str, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[ConversationRow]:
        """At most `limit` conversations of the user with the bot, the latest first; `after` is the `updated` and
        `id` of the last one that was seen."""
        _check(bot=bot, user=user)
        return await self._database.read(
            lambda connection: turns.conversations_of(connection, (self.tenant, bot, user), limit, after)
        )

    async def conversation(self, conversation: str) -> ConversationRow | None:
        """The conversation of that id, whichever user's and bot's; None where the tenant has none."""
        _check(conversation=conversation)
        return await self._database.read(lambda connection: turns.conversation(connection, self.tenant, conversation))

    async def turns(self, conversation: str, limit: int, after: int = 0) -> list[StoredTurn]:
        """At most `limit` turns of a conversation from number `after` + 1 on, the oldest first."""
        _check(conversation=conversation)
        return await self._database.read(
            lambda connection: stored_turns(connection, self.tenant, conversation, limit, after)
        )

    async def last_turns(self, conversation: str, limit: int) -> list[StoredTurn]:
        """At most `limit` turns from the end of a conversation, the oldest first."""
        _check(conversation=conversation)
        return await self._database.read(lambda connection: last_turns(connection, self.tenant, conversation, limit))

    async def add_key(self, key: KeyRow) -> None:
        """Store an API key. Raises `NamingError` for one of another tenant."""
        self._own(key.tenant, f"Key {key.id!r}")
        _check(key=key.id)
        await self._database.write(lambda connection: keys.add_key(connection, key))

    async def keys(self) -> list[KeyRow]:
        """The API keys of the tenant, the oldest first, with those that hold no more."""
        return await self._database.read(lambda connection: keys.keys_of(connection, self.tenant))

    async def revoke_key(self, key: str) -> bool:
        """Make an API key hold no more; false where there is none, or it was revoked already."""
        _check(key=key)
        now = datetime.now(UTC)
        return await self._database.write(lambda connection: keys.revoke_key(connection, self.tenant, key, now))

    async def claim(self, user: str, key: str, fingerprint: str, turn: str) -> RequestRow:
        """Remember that the user's request `key` is answered by `turn`, or tell which turn already is the one."""
        _check(user=user, key=key, turn=turn)
        now = datetime.now(UTC)
        return await self._database.write(
            lambda connection: requests.claim(connection, self._request(user, key), fingerprint, turn, now)
        )

    async def forget_request(self, user: str, key: str, turn: str) -> None:
        """Let the request `key` be made again, since `turn` came to nothing."""
        _check(user=user, key=key, turn=turn)
        await self._database.write(
            lambda connection: requests.forget_request(connection, self._request(user, key), turn)
        )

    async def put_feedback(self, turn: str, score: int, comment: str) -> bool:
        """Store what a user thinks of a turn, in place of what was said before; false where there is no such turn."""
        _check(turn=turn)
        now = datetime.now(UTC)
        return await self._database.write(
            lambda connection: feedback.put_feedback(connection, self.tenant, turn, score, comment, now)
        )

    async def feedback(self, turn: str) -> FeedbackRow | None:
        """What was said of a turn; None where nothing was."""
        _check(turn=turn)
        return await self._database.read(lambda connection: feedback.feedback_on(connection, self.tenant, turn))

    async def put_response(self, turn: str, previous: str, told: Mapping[str, JSONValue]) -> bool:
        """Let the turn be found as a response that goes on from the turn `previous` (empty: from none), with what
        its request said; false where there is no such turn."""
        _check(turn=turn)
        asked = dict(told)
        return await self._database.write(
            lambda connection: responses.put_response(connection, self.tenant, turn, previous, asked)
        )

    async def responses(self, turn: str, limit: int = 1) -> list[StoredResponse]:
        """The response of that turn and those that led to it, the latest first; none where it is no response."""
        _check(turn=turn)
        return await self._database.read(
            lambda connection: responses.responses_up_to(connection, self.tenant, turn, limit)
        )

    async def forget_response(self, turn: str) -> bool:
        """Let the turn be found as a response no more; false where it was none. The turn stays."""
        _check(turn=turn)
        return await self._database.write(lambda connection: responses.forget_response(connection, self.tenant, turn))

    async def usage(self, bot: str | None = None, since: datetime | None = None) -> Usage:
        """The tokens of the tenant or of one bot, in turns committed at `since` (with a time zone) or later."""
        _check(**({} if bot is None else {"bot": bot}))
        return await self._database.read(lambda connection: turns.sum_usage(connection, self.tenant, bot, since))

    async def documents(self, bot: str, audience: str | None = None) -> dict[str, DocumentRow]:
        """The bot's documents by source, without their text; with `audience`, those that it may see."""
        _check(bot=bot)
        return await self._database.read(
            lambda connection: documents.documents_of(connection, self.tenant, bot, audience)
        )

    async def put_document(self, bot: str, source: str, sha256: str, title: str, chunks: Sequence[Chunk]) -> list[str]:
        """Replace a document in one transaction; the ids of chunks that are no longer there.

        Raises `NamingError` for chunks of another tenant or bot, `KnowledgeError` for two chunks of one id.
        """
        _check(bot=bot, source=source)
        made = list(chunks)
        for chunk in made:
            self._own(chunk.tenant, f"Chunk {chunk.id!r}")
            if chunk.bot != bot:
                raise NamingError(f"Chunk {chunk.id!r} is of bot {chunk.bot!r}, not of {bot!r}")
            _check(chunk=chunk.id, source=chunk.source)
        [(id_, times)] = Counter(chunk.id for chunk in made).most_common(1) or [("", 0)]
        if times > 1:
            raise KnowledgeError(
                f"{times} chunks of {source} have the id {id_!r}",
                remedy="Derive a chunk's id from its source and position too.",
            )
        row = DocumentRow(source, sha256, title, len(made), datetime.now(UTC))
        return await self._database.write(
            lambda connection: documents.put_document(connection, self.tenant, bot, row, made)
        )

    async def remove_document(self, bot: str, source: str) -> list[str]:
        """Forget a document; the ids of its chunks, none where it is unknown."""
        _check(bot=bot, source=source)
        return await self._database.write(
            lambda connection: documents.remove_document(connection, self.tenant, bot, source)
        )

    async def chunks(self, bot: str, ids: Sequence[str]) -> dict[str, Chunk]:
        """Chunks by id, in the order of `ids`; unknown ids are left out."""
        _check(bot=bot)
        asked = list(ids)
        look = self._database.glance if len(asked) <= documents.FEW else self._database.read
        return await look(lambda connection: documents.chunks_by_id(connection, self.tenant, bot, asked))

    async def document_chunks(self, bot: str, source: str) -> list[Chunk]:
        """The chunks of one document in their order; none where it is unknown."""
        _check(bot=bot, source=source)
        return await self._database.read(lambda connection: documents.chunks_of(connection, self.tenant, bot, source))

    async def all_chunks(self, bot: str) -> list[Chunk]:
        """Every chunk of the bot, by document and position."""
        _check(bot=bot)
        return await self._database.read(lambda connection: documents.all_chunks(connection, self.tenant, bot))

    async def erase(self) -> dict[str, int]:
        """Delete everything of this tenant; how many rows there were, by table.

        On SQLite the file is rewritten afterwards, so that nothing of the tenant's text is left in it or in its
        write-ahead log: that takes as long and as much room as copying it. On PostgreSQL the rows are deleted, and
        the server reclaims their place when it vacuums. Backups are not touched. To be called again after an
        error or a cancellation: the rows may be gone and the file not rewritten yet.
        """
        gone = await self._database.write(lambda connection: erase(connection, self.tenant))
        await self._database.scrub()
        return gone

    def _request(self, user: str, key: str) -> dict[str, str]:
        return {"of_tenant": self.tenant, "of_user": user, "of_key": key}

    def _conversation(self, bot: str, user: str, conversation: str) -> dict[str, str]:
        _check(bot=bot, user=user, conversation=conversation)
        return {"of_tenant": self.tenant, "of_bot": bot, "of_user": user, "of_conversation": conversation}

    def _check_turn(self, turn: Turn) -> None:
        self._own(turn.tenant, f"Turn {turn.id!r}")
        _check(bot=turn.bot, user=turn.user, conversation=turn.conversation, turn=turn.id)

    def _own(self, tenant: str, what: str) -> None:
        if tenant != self.tenant:
            raise NamingError(
                f"{what} is of tenant {tenant!r}, not of {self.tenant!r}", remedy="Use that tenant's own store."
            )


def _check(**names: str) -> None:
    """Refuse what cannot be a key in every database, rather than let two keys become one."""
    for kind, name in names.items():
        if not name.isascii():
            try:
                length = len(name.encode())
            except UnicodeEncodeError:
                length = 0
        else:
            length = len(name)
        if not 0 < length <= _KEY_BYTES or "\0" in name:
            raise NamingError(
                f"{name[:40]!r} cannot be the name of a {kind}",
                remedy=f"Use 1 to {_KEY_BYTES} bytes of UTF-8 without NUL.",
            )
