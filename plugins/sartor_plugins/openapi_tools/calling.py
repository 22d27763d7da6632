"""Calling one operation of a service."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from sartor.errors import ToolError
from sartor.values import JSONValue, Turn

from sartor_plugins.openapi_tools.description import Operation, Parameter
from sartor_plugins.openapi_tools.settings import OperationSettings
from sartor_plugins.reach.making import Arguments
from sartor_plugins.reach.picking import columns_of, pick
from sartor_plugins.reach.web import Answer, Request, Service, idempotency_key, path_part, text_of

__all__ = ["Call"]

_MORE = "only the first pages; there are more"


class Call:
    """What a tool does that is an operation."""

    def __init__(self, operation: Operation, settings: OperationSettings, service: Service, url: str) -> None:
        self._operation = operation
        self._settings = settings
        self._service = service
        self._url = url.rstrip("/")

    async def __call__(self, turn: Turn, arguments: Arguments) -> JSONValue:
        request = self._request(turn, arguments)
        answer = await self._service.ask(request, turn)
        found, more = pick(answer.body, self._settings.pick), False
        if self._settings.pages is not None and isinstance(found, list):
            found, more = await self._pages(request, answer, list(found), turn)
        if found in (None, "", []):
            return "nothing was found" if self._operation.method == "GET" else "done"
        shown = columns_of(found, self._settings.columns)
        return {"items": shown, "note": _MORE} if more else shown

    async def _pages(
        self, request: Request, answer: Answer, items: list[JSONValue], turn: Turn
    ) -> tuple[list[JSONValue], bool]:
        pages = self._settings.pages
        assert pages is not None
        seen = {_page(request)}
        for _ in range(pages.most - 1):
            following = self._next(request, answer)
            if following is None or _page(following) in seen:
                return items, False
            seen.add(_page(following))
            answer = await self._service.ask(following, turn)
            found = pick(answer.body, self._settings.pick)
            items += found if isinstance(found, list) else []
        return items, self._next(request, answer) is not None

    def _next(self, request: Request, answer: Answer) -> Request | None:
        """The request for the page after `answer`; None where it was the last."""
        pages = self._settings.pages
        assert pages is not None
        told = answer.next if pages.link else pick(answer.body, pages.next)
        if told in (None, "", False) or isinstance(told, dict | list):
            return None
        if pages.parameter:
            query = [(name, value) for name, value in request.query if name != pages.parameter]
            return Request(
                request.method, request.url, query=[*query, (pages.parameter, text_of(told))], headers=request.headers
            )
        url = urljoin(answer.url, str(told))
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise ToolError("the next page is said to be elsewhere, which is not followed")
        return Request(request.method, url, headers=request.headers)

    def _request(self, turn: Turn, arguments: Arguments) -> Request:
        path = self._operation.path
        query: list[tuple[str, str]] = []
        headers: dict[str, str] = {}
        body: dict[str, JSONValue] = {}
        whole: JSONValue = None
        for one in self._operation.parameters:
            if one.argument not in arguments:
                continue
            value = arguments[one.argument]
            if one.place == "path":
                path = path.replace(f"{{{one.name}}}", path_part(one.name, _joined(value)))
            elif one.place == "query":
                query += _asked(one, value)
            elif one.place == "header":
                headers[one.name.lower()] = _header(one.name, _joined(value))
            elif one.name:
                body[one.name] = value
            else:
                whole = value
        return Request(
            self._operation.method,
            self._url + path,
            query=query,
            headers=headers,
            body=whole if whole is not None else body or self._empty(),
            key=idempotency_key(turn, self._operation.id, arguments),
        )

    def _empty(self) -> JSONValue:
        """The body where no argument is given for it."""
        return {} if any(one.place == "body" and one.name for one in self._operation.parameters) else None


def _page(request: Request) -> tuple[object, ...]:
    return request.url, *request.query


def _asked(one: Parameter, value: JSONValue) -> list[tuple[str, str]]:
    if isinstance(value, list) and one.apart:
        return [(one.name, text_of(each)) for each in value]
    return [(one.name, text_of(_joined(value)))]


def _joined(value: JSONValue) -> JSONValue:
    return ",".join(map(text_of, value)) if isinstance(value, list) else value


def _header(name: str, value: JSONValue) -> str:
    text = text_of(value)
    if not (text.isascii() and text.isprintable()):
        raise ToolError(f"{name} may have plain letters only")
    return text
