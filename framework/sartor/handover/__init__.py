"""Hand-over to a person: the bot tells a person what is wanted, and is silent until it is released."""

__all__ = ()
