"""The questions of each page in queues: the newest of a channel is answered, and no page holds another up."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from morphospace.errors import SettingError
from morphospace.studio import requests as ask
from morphospace.studio.session import Lane, Reply, Session, refusal

MOST_WAITING = 64
MOST_CHANNELS = 64
FAST_SECONDS, SLOW_SECONDS = 20.0, 180.0
Send = Callable[[bytes], Awaitable[None]]


def packed(number: object, kind: str, reply: Reply) -> bytes:
    """Return an answer as one frame: length of the header, header as JSON, then pixels or the file's bytes.

    Pixels are raw RGBA: they go into a canvas as they are, which is quicker than to compress and unpack a PNG.
    """
    pixels = [block.rgba() for block in reply.blocks]
    blocks = [
        {"name": block.name, "count": p.shape[0], "height": p.shape[1], "width": p.shape[2]}
        for block, p in zip(reply.blocks, pixels)
    ]
    # These come last, so that no fact of the same name replaces them.
    header = {**reply.facts, "id": number, "kind": kind, "blocks": blocks, "bytes": len(reply.file)}
    try:
        text = json.dumps(header, allow_nan=False).encode()
    except ValueError:  # a code far outside of the prior can make a network return infinities
        return packed(
            number, kind, refusal("answer: is not finite for this code; go back towards the mean code", "setting")
        )
    return b"".join([struct.pack("<I", len(text)), text, *(p.tobytes() for p in pixels), reply.file])


@dataclass(frozen=True)
class Question:
    """A question in line.

    Attributes:
        order: Its place among the questions of its page.
        number: The id that the page gave it.
        kind: Its kind, as the page wrote it.
        channel: Of the questions on one channel only the newest is answered; None for one on no channel.
        request: The question itself.
    """

    order: int
    number: object
    kind: str
    channel: str | None
    request: ask.Request


class Client:
    """A page that is connected.

    Each page has at most one question of each lane being answered; the others wait in order, and of those on one
    channel only the newest. So a page that asks too much delays another by no more than one question.

    Args:
        session: Answers the questions, and says which lane each belongs to.
        lanes: What answers the questions of each lane.
        send: Sends an answer to the page.
    """

    def __init__(self, session: Session, lanes: Mapping[Lane, Executor], send: Send) -> None:
        self.session, self.send = session, send
        seconds = {"decode": FAST_SECONDS, "facts": FAST_SECONDS, "loading": SLOW_SECONDS, "slow": SLOW_SECONDS}
        self.queues = {lane: Queue(self, workers, seconds[lane]) for lane, workers in lanes.items()}
        self._orders = itertools.count()
        self._answered: OrderedDict[str, int] = OrderedDict()

    async def hear(self, text: str) -> None:
        """Put a question into its queue; one that cannot be read is answered with the reason."""
        number: object = None
        kind = ""
        try:
            message = json.loads(text)
            if isinstance(message, dict):
                number = message["id"] if type(message.get("id")) is int else None
                kind = message["kind"][:80] if isinstance(message.get("kind"), str) else ""
            request = ask.parse(message)
        except SettingError as error:
            return await self.reply(number, kind, refusal(str(error), "setting"))
        except (ValueError, RecursionError):
            return await self.reply(number, kind, refusal("request: is no JSON", "setting"))
        channel = message.get("channel")
        channel = channel[:80] if isinstance(channel, str) else None
        question = Question(next(self._orders), number, kind, channel, request)
        await self.queues[self.session.lane(request)].put(question)

    async def reply(self, number: object, kind: str, reply: Reply) -> None:
        """Send an answer that takes no computing."""
        await self.send(packed(number, kind, reply))

    async def answered(self, question: Question, frame: bytes) -> None:
        """Send an answer, unless a newer question of its channel, in another queue, has been answered before."""
        if question.channel is not None:
            if self._answered.get(question.channel, -1) > question.order:
                return await self.reply(question.number, question.kind, Reply({"dropped": True}))
            self._answered[question.channel] = question.order
            self._answered.move_to_end(question.channel)
            while len(self._answered) > MOST_CHANNELS:
                self._answered.popitem(last=False)
        await self.send(frame)

    async def run(self) -> None:
        """Answer until cancelled, or until the page takes no answers any more."""
        async with asyncio.TaskGroup() as group:
            for queue in self.queues.values():
                group.create_task(queue.run())


class Queue:
    """The questions of a page that belong to one lane.

    Args:
        client: The page.
        executor: Where answers are computed.
        seconds: How long one may take.
    """

    def __init__(self, client: Client, executor: Executor, seconds: float) -> None:
        self.client, self.executor, self.seconds = client, executor, seconds
        self.waiting: OrderedDict[object, Question] = OrderedDict()
        self.filled = asyncio.Event()

    async def put(self, question: Question) -> None:
        """Queue a question; of one channel only the newest stays."""
        key: object = object() if question.channel is None else question.channel
        stale = self.waiting.pop(key, None)
        if len(self.waiting) >= MOST_WAITING:
            reply = refusal("busy: too many questions wait; ask again", "busy")
            return await self.client.reply(question.number, question.kind, reply)
        self.waiting[key] = question
        self.filled.set()
        if stale is not None:
            await self.client.reply(stale.number, stale.kind, Reply({"dropped": True}))

    async def run(self) -> None:
        """Answer one question after the other."""
        while True:
            await self.filled.wait()
            if not self.waiting:
                self.filled.clear()
                continue
            _, question = self.waiting.popitem(last=False)
            await self._answer(question)

    async def _answer(self, question: Question) -> None:
        """Have a question answered; one that takes too long is refused, and the next still waits for it to end."""
        answer = asyncio.get_running_loop().run_in_executor(self.executor, self._computed, question)
        try:
            done, _ = await asyncio.wait({answer}, timeout=self.seconds)
            if done:
                return await self.client.answered(question, answer.result())
            reply = refusal(f"limit: took longer than {self.seconds:g} s; ask for less", "limit")
            await self.client.reply(question.number, question.kind, reply)
            await asyncio.wait({answer})
        finally:
            answer.cancel()  # if its page has left, it need not begin

    def _computed(self, question: Question) -> bytes:
        return packed(question.number, question.kind, self.client.session.answer(question.request))
