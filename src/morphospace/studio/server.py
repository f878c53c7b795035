"""The studio's server: serves the page, a websocket for each page, uploads of pictures, and events of training."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from morphospace.errors import MorphospaceError
from morphospace.studio.connections import ACCEPTED, MOST_WAITING, Connection, Places, aborter, address_of
from morphospace.studio.live.player import Player
from morphospace.studio.queues import Client
from morphospace.studio.security import HEADERS, Gate
from morphospace.studio.session import PICTURE_BYTES, Lane, Session
from morphospace.studio.training_events import Broadcast, FolderWatcher

MOST_CLIENTS = 50
MOST_TRAINERS = 4  # pages that train; each has a process of its own
MOST_UPLOADS = 8
MOST_REFUSED = 50  # pages that are told that the studio is full, and have not left yet
REFUSED_SECONDS = 2.0  # in which they have to leave
SEND_SECONDS = 20.0  # a page that takes no answer for so long is disconnected
UPLOAD_SECONDS, PART_SECONDS = 60.0, 10.0  # for a whole picture, and for its next bytes
TRY_AGAIN_LATER = 1013
WORKERS = "studio-worker"
# One thread decodes: two that use the same cores would each be slower.
THREADS: dict[Lane, int] = {"decode": 1, "facts": 2, "loading": 2, "slow": 4}


class Guard:
    """Lets through what the gate allows, and puts the security headers on every answer.

    Args:
        app: The application to guard.
        gate: Decides which requests may pass.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a websocket."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        socket = scope["type"] == "websocket"
        headers, query = Headers(scope=scope), scope.get("query_string", b"").decode("latin-1")
        changes = socket or scope["method"] not in ("GET", "HEAD")
        why = self.gate.refusal(headers, query, needs_origin=changes)

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                extra = {**HEADERS}
                if not why and "token=" in query:
                    extra |= self.gate.cookie()
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in extra.items())]
            await send(message)

        if why and socket and "websocket.http.response" not in scope.get("extensions", {}):
            return await send({"type": "websocket.close", "code": 1008, "reason": why})
        if why:
            return await PlainTextResponse(f"{why}\n", 403)(scope, receive, guarded)
        await self.app(scope, receive, guarded)


class Studio:
    """The handlers of the routes, and what they share.

    Args:
        session: Answers the questions.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.lanes = {lane: pool(lane, count) for lane, count in THREADS.items()}
        self.unpacking = pool("pictures", 1)
        self.broadcast = Broadcast(lambda: FolderWatcher(session.runs))
        self.pages, self.streams, self.uploads = Places(MOST_CLIENTS), Places(MOST_CLIENTS), Places(MOST_UPLOADS)
        self.trainers = Places(MOST_TRAINERS)
        self.refused = Places(MOST_REFUSED, oldest_leaves=True)

    async def socket(self, websocket: WebSocket) -> None:
        """Answer a page's questions until it leaves."""
        if (place := await self.seated(websocket, self.pages)) is not None:
            client = Client(self.session, self.lanes, sender(websocket))
            await serve(websocket, client.run(), client.hear, lambda: self.pages.free(place))

    async def train(self, websocket: WebSocket) -> None:
        """Train for a page until it leaves, or has long asked for nothing."""
        if (place := await self.seated(websocket, self.trainers)) is not None:
            player = Player(sender(websocket))
            await serve(websocket, player.run(), player.hear, lambda: self.trainers.free(place))

    async def seated(self, websocket: WebSocket, places: Places) -> object | None:
        """Accept a page's connection and return its place; None if it has to leave again."""
        await websocket.accept()
        address, abort = address_of(websocket.scope), aborter(websocket.scope)
        if (place := places.take(address, abort)) is None:
            leaving = self.refused.take(address, abort)
            await websocket.close(TRY_AGAIN_LATER, "the studio is full; try again later")
            loop = asyncio.get_running_loop()
            loop.call_later(REFUSED_SECONDS, self.refused.free, leaving)
            loop.call_later(REFUSED_SECONDS, abort)
        return place

    async def picture(self, request: Request) -> Response:
        """Receive a picture that a page sends; it stays in memory and is never written to disk."""
        place = self.uploads.take(address_of(request.scope), aborter(request.scope))
        if place is None:
            return JSONResponse({"error": "busy: others are sending pictures; send it again"}, 503)
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                data = await body_of(request)
            if data is None:
                return JSONResponse({"error": f"picture: more than {PICTURE_BYTES >> 20} MB; send a smaller one"}, 413)
            loop = asyncio.get_running_loop()
            name = await loop.run_in_executor(self.unpacking, self.session.take_picture, data)
        except MorphospaceError as error:
            return JSONResponse({"error": str(error)}, 400)
        except TimeoutError:
            return JSONResponse({"error": "picture: did not arrive in time; send it again"}, 408)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self.uploads.free(place)
        return JSONResponse({"picture": name})

    async def events(self, request: Request) -> Response:
        """Stream new lines of curves, sample grids and checkpoints of the runs, as server-sent events."""
        place = self.streams.take(address_of(request.scope), aborter(request.scope))
        if place is None:
            return PlainTextResponse("the studio is full; try again later\n", 503, {"retry-after": "30"})
        return EventStream(self.broadcast.read(), lambda: self.streams.free(place))

    def close(self) -> None:
        """Start no further work."""
        for workers in (*self.lanes.values(), self.unpacking):
            workers.shutdown(wait=False, cancel_futures=True)


class EventStream(StreamingResponse):
    """Server-sent events until the page leaves.

    Args:
        events: The events.
        end: Called in the end, also if the page leaves before the first event.
    """

    def __init__(self, events: AsyncIterator[str], end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self.end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.end()


def pool(name: str, count: int) -> ThreadPoolExecutor:
    """Return a pool of threads.

    A new thread takes over the number of torch's threads that another thread has set at that moment, so each sets its
    own.
    """
    most = torch.get_num_threads()
    return ThreadPoolExecutor(count, f"{WORKERS}-{name}", initializer=lambda: torch.set_num_threads(most))


def at_work(seconds: float) -> bool:
    """Return whether a worker still works after so many seconds, as it may when the server ends in the middle of it."""
    until = time.monotonic() + seconds
    while any(thread.name.startswith(WORKERS) for thread in threading.enumerate()):
        if time.monotonic() > until:
            return True
        time.sleep(0.01)
    return False


async def body_of(request: Request) -> bytes | None:
    """Return a request's body; None as soon as it is too large.

    Raises:
        TimeoutError: If no part of it arrives for `PART_SECONDS`.
    """
    if int(request.headers.get("content-length", "0")) > PICTURE_BYTES:
        return None
    data = bytearray()
    parts = request.stream()
    while True:
        async with asyncio.timeout(PART_SECONDS):
            part = await anext(parts, None)
        if part is None:
            return bytes(data)
        data += part
        if len(data) > PICTURE_BYTES:
            return None


def sender(websocket: WebSocket) -> Callable[[bytes], Awaitable[None]]:
    """Return what sends frames to a page one after the other."""
    sending = asyncio.Lock()

    async def send(frame: bytes) -> None:
        async with sending, asyncio.timeout(SEND_SECONDS):
            await websocket.send_bytes(frame)

    return send


async def serve(
    websocket: WebSocket,
    work: Coroutine[Any, Any, None],
    hear: Callable[[str], Awaitable[None]],
    free: Callable[[], None],
) -> None:
    """Work for a page and pass every message of it on, until it leaves or the work is done.

    Args:
        websocket: The page's connection.
        work: What is done for it.
        hear: Takes a message.
        free: Called in the end.
    """

    async def listen() -> None:
        while True:
            message: Any = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await hear(message.get("text") or "")

    try:
        async with asyncio.TaskGroup() as group:
            both = {group.create_task(work), group.create_task(listen())}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
    except* (TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
        pass  # the page has left, or takes no answers any more
    finally:
        free()
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
        await websocket.close()


def make_app(session: Session, gate: Gate, lessons: Callable[[], Mapping[str, bytes]] = dict) -> ASGIApp:
    """Return the application.

    Args:
        session: Answers the questions.
        gate: Decides which requests may pass.
        lessons: Returns the files of the lessons by name, when the first of them is asked for.
    """
    studio = Studio(session)

    async def lesson(request: Request) -> Response:
        content = (await asyncio.to_thread(lessons)).get(name := request.path_params["name"])
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return PlainTextResponse("no such lesson\n", 404) if content is None else Response(content, media_type=kind)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        studio.close()

    routes = [
        WebSocketRoute("/ws", studio.socket),
        WebSocketRoute("/train", studio.train),
        Route("/picture", studio.picture, methods=["POST"]),
        Route("/events", studio.events),
        Route("/learn/{name}", lesson),
        Mount("/", StaticFiles(packages=[("morphospace.studio", "page")], html=True)),
    ]
    return Guard(Starlette(routes=routes, lifespan=lifespan), gate)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return the configuration that serves an application."""
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(Connection, waiting=Places(MOST_WAITING, oldest_leaves=True))),
        log_level="error",
        access_log=False,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        ws_max_size=1 << 20,
        ws_max_queue=16,
        ws_per_message_deflate=False,  # pixels do not get smaller by it, only slower
        timeout_graceful_shutdown=1,
        backlog=ACCEPTED,
        limit_concurrency=MOST_WAITING + 400,
    )
