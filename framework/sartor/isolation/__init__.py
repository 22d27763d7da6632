"""Isolated plugins: code that nobody vouches for runs in processes of its own, one for each bot, within limits.

`sartor.yaml` says which, under `isolated_plugins`. The process of the project never imports such a plugin: it is told
what the tools are, and sends calls. `plugin` is what stands in the plugin's place, `link` speaks with one process,
`child` is what runs there, and `walls` are its limits.
"""

__all__ = ()
