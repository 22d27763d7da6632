"""Every error that Sartor raises on purpose, as one tree.

::

    SartorError                 anything below; carries what, where and the remedy
    ├── UsageError              the caller or a file is wrong: the command line exits with 2
    │   ├── SpecError           a YAML file: unknown key, wrong type, missing value
    │   ├── TemplateError       a template that is unknown, broken or lacks a value
    │   ├── NamingError          a tenant, bot or conversation name that cannot be one
    │   ├── PluginError         a plugin that is unknown, fails to load or implements a hook wrongly
    │   └── KnowledgeError      a document or an index that cannot be used
    └── RunError                something failed while working: the command line exits with 1
        ├── ModelError          a model that is missing, broken, out of reach or failed in the middle (exits with 2)
        ├── StoreError          the state database: unreachable, locked, full, of a later version (exits with 2)
        ├── DiskError           a file or folder that cannot be written: full disk, no permission (exits with 2)
        ├── BusyError           a directory or a resource that another process holds (exits with 2)
        ├── DeliveryError       a reply that a channel could not send
        ├── ToolError           a tool that could not do it, in words that the model is shown
        └── OverloadedError     too many wait already: to be tried again after `retry_after` seconds

A refusal by a policy is no error but an outcome of the turn: see `sartor.policy.Verdict`.
"""

from __future__ import annotations

__all__ = [
    "BusyError",
    "DeliveryError",
    "DiskError",
    "KnowledgeError",
    "ModelError",
    "NamingError",
    "OverloadedError",
    "PluginError",
    "RunError",
    "SartorError",
    "SpecError",
    "StoreError",
    "TemplateError",
    "ToolError",
    "UsageError",
]


class SartorError(Exception):
    """What is wrong, where, and what to do about it.

    `what` is one sentence about the thing; `where` is a place such as ``tenants/acme/support/bot.yaml:7``;
    `remedy` is what the reader can do. `str()` joins the three.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.remedy}" if self.remedy else text


class UsageError(SartorError):
    """The caller, or a file that the caller wrote, is wrong."""

    exit_code = 2


class SpecError(UsageError):
    """A YAML file that cannot be read, or says something that the specification does not know."""


class TemplateError(UsageError):
    """A template that is unknown, broken, or was given a wrong or missing value."""


class NamingError(UsageError, KeyError):
    """A name of a tenant, bot, user or conversation that cannot be one, or that nobody has."""


class PluginError(UsageError):
    """A plugin that is unknown, raises while loading, or implements a hook wrongly."""


class KnowledgeError(UsageError):
    """A document that cannot be read, or an index that cannot be used."""


class RunError(SartorError):
    """Something failed while working, though nobody's input was wrong."""


class ModelError(RunError):
    """A model that is missing, broken or out of reach, or that failed in the middle of a turn."""

    exit_code = 2


class StoreError(RunError):
    """The state database cannot be reached, is locked, is full, or was written by a later version."""

    exit_code = 2


class DiskError(RunError):
    """A file or a folder that cannot be written: the disk is full, or permission is missing."""

    exit_code = 2


class BusyError(RunError):
    """A directory or another resource that a different process holds."""

    exit_code = 2


class DeliveryError(RunError):
    """A reply that a channel could not send. Its text is logged, so it repeats nothing of the reply."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        again: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.again = again
        """Whether the same may succeed later."""
        self.retry_after = retry_after
        """Seconds for which the platform asks to wait, if it does."""


class ToolError(RunError):
    """A tool could not do what it was asked. The model is shown `what`, and may tell the user: no secret belongs
    there, and nothing that only the operator should know."""


class OverloadedError(RunError):
    """More is waiting than can be done in time. Nothing was begun: the same request may be made again later."""

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None, retry_after: float) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after = retry_after
        """Seconds after which there is likely to be room."""
