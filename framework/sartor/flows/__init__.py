"""Flows: what a bot must not improvise. A flow asks for what it needs, repeats it, and acts when the user says yes.

It is declared under `flows` in `bot.yaml`. The model is asked only what the user means, never what to say or do.
"""

__all__ = ()
