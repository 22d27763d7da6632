"""The ASGI application: the site, the service of the bots below /bots, and the life of both.

Django has no lifespan, so Starlette (which comes with Sartor's extra `serve`) stands in front and has it. What the
lifespan yields is in the scope of each request: `request.scope["state"]` in a view.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sartor
from django.core.asgi import get_asgi_application
from sartor import asgi
from starlette.applications import Starlette
from starlette.routing import Mount

BOT = "marlow/desk"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "library.settings")
site = get_asgi_application()
service = asgi.app(Path(__file__).parent.parent / "bots")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, sartor.Bot]]:
    async with asgi.running(service) as bots:
        await bots.knowledge(BOT).ingest()  # reads only what is new or changed
        yield {"bot": await bots.start(BOT)}  # the model is loaded now, not with the first message


application = Starlette(routes=[Mount("/bots", service), Mount("/", site)], lifespan=lifespan)
