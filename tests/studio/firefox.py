"""Firefox, by its own remote protocol (Marionette): numbered messages of JSON, each after its length."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 120.0
QUIET = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
# What the browser's own console says of a page, by its address.
CONSOLE = """return Services.console.getMessageArray().filter((one) => one instanceof Ci.nsIScriptError)
    .filter((one) => one.sourceName.startsWith('file:')).map((one) => one.errorMessage);"""


class Firefox:
    """A browser that was started for a test.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.socket = connected(port)
        self.read = self.socket.makefile("rb")
        self.number = 0
        self._message()  # who it is
        self.ask("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.ask("WebDriver:SetTimeouts", script=int(1000 * SECONDS))

    def ask(self, command: str, **given: Any) -> Any:
        """Send a command and return its answer."""
        self.number += 1
        text = json.dumps([0, self.number, command, given]).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text)
        _, _, error, result = self._message()
        assert error is None, error
        return result.get("value") if isinstance(result, dict) and set(result) == {"value"} else result

    def run(self, script: str, *values: Any) -> Any:
        """Run the body of an asynchronous function in the page."""
        answer = self.ask(
            "WebDriver:ExecuteAsyncScript",
            script=f"const done = arguments[arguments.length - 1]; const work = async (...given) => {{ {script} }};"
            "work(...arguments).then((value) => done([value, '']), (error) => done([null, String(error)]));",
            args=list(values),
        )
        assert not answer[1], answer[1]
        return answer[0]

    def console(self) -> list[str]:
        """Return the errors and warnings of pages from disk."""
        self.ask("Marionette:SetContext", value="chrome")
        found: list[str] = self.ask("WebDriver:ExecuteScript", script=CONSOLE, args=[])
        self.ask("Marionette:SetContext", value="content")
        return found

    def _message(self) -> Any:
        length = b""
        while (letter := self.read.read(1)) != b":":
            assert letter, "the browser has gone"
            length += letter
        return json.loads(self.read.read(int(length)))


def connected(port: int) -> socket.socket:
    """Connect as soon as the browser listens."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), SECONDS)
        except OSError:
            assert time.monotonic() < until, "firefox does not listen"
            time.sleep(0.1)


@contextmanager
def started(command: str, profile: Path) -> Iterator[Firefox]:
    """Start a browser with a profile of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {**QUIET, "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
    profile.mkdir()
    (profile / "user.js").write_text("".join(lines))
    words = [command, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access"]
    words += ["--profile", str(profile), "about:blank"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Firefox(port)
        finally:
            process.terminate()
            process.wait(30)
