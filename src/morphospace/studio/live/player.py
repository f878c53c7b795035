"""A page's run, as the server sees it: a process of its own, which ends with the page's connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
from collections.abc import Awaitable, Callable

from morphospace.errors import SettingError
from morphospace.studio.live import commands
from morphospace.studio.live.frames import packed
from morphospace.studio.live.settings import gans

Send = Callable[[bytes], Awaitable[None]]
WORKER = "morphospace.studio.live.worker"


class Player:
    """A process that trains for one page.

    Args:
        send: Sends a frame to the page.
    """

    def __init__(self, send: Send) -> None:
        self.send = send
        self._wanted = asyncio.Event()
        self._started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()

    async def hear(self, text: str) -> None:
        """Pass a command on; one that is not allowed is answered with the reason."""
        picture: object = 0
        try:
            message = json.loads(text)
            picture = message.get("picture") if isinstance(message, dict) else 0
            command = commands.read(message)
            if isinstance(command, commands.Make):
                command.chosen()
                message["module"] = gans()[command.gan].__module__
        except SettingError as error:
            return await self.refuse(picture, str(error))
        except (ValueError, RecursionError):
            return await self.refuse(picture, "command: is no JSON")
        self._wanted.set()
        process = await asyncio.shield(self._started)
        assert process.stdin
        with contextlib.suppress(ConnectionError):  # it has just ended
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()

    async def refuse(self, picture: object, words: str) -> None:
        """Send the reason why a command was not followed."""
        await self.send(packed({"picture": 1 if picture == 1 else 0, "refused": " ".join(words.split())[:600]}, {}))

    async def run(self) -> None:
        """Start the process when the first command comes, and send its frames until it ends; it never outlives this."""
        await self._wanted.wait()
        path = os.pathsep.join(filter(None, sys.path))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._started.set_result(process)
        assert process.stdout
        try:
            while True:
                (length,) = struct.unpack("<I", await process.stdout.readexactly(4))
                await self.send(await process.stdout.readexactly(length))
        except asyncio.IncompleteReadError:
            return
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
