"""`morpho studio`: the explorer in the browser."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import threading
import webbrowser
from typing import Annotated

import cyclopts

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import SettingError, require

OPEN_FILES = 2048  # connections among them: more than the server ever has


def studio(
    runs: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="Run folders, or folders of runs; drawn faces if none.")
    ] = (),
    /,
    *,
    port: Annotated[int, cyclopts.Parameter(help="Where to listen; 0 takes a free one.")] = 8765,
    host: Annotated[str, cyclopts.Parameter(help="Address to bind; others than this machine need a token.")] = (
        "127.0.0.1"
    ),
    browser: Annotated[bool, cyclopts.Parameter(help="Open the browser.")] = True,
    json: Json = False,
    talk: Spoken,
) -> None:
    """Explore runs in the browser: drag a point, watch the image change."""
    require(0 <= port <= 65535, "port", port, "must be from 0 to 65535")
    bound = bind(host, port)
    port = bound.getsockname()[1]
    import uvicorn

    from morphospace.learn.site import studio_site
    from morphospace.runs.hub import local
    from morphospace.studio.faces import embedded
    from morphospace.studio.loaded_runs import LoadedRuns, run_folders
    from morphospace.studio.requests import Describe
    from morphospace.studio.security import Gate, is_loopback
    from morphospace.studio.server import WORKERS, at_work, configured, make_app
    from morphospace.studio.session import Session

    places = [local(run, talk.say) for run in runs]
    session = Session(LoadedRuns(run_folders(places), find=lambda: run_folders(places)) if runs else embedded())
    gate = Gate.of(host, port)
    shown = shown_host(bound.getsockname()[0], host)
    address = f"http://{shown}:{port}/" + (f"?token={gate.token}" if gate.token else "")
    allow_files(OPEN_FILES)
    server = uvicorn.Server(configured(make_app(session, gate, studio_site)))
    # The first run is loaded while the browser opens, so that its first picture need not wait for it. Named as the
    # server's workers are: ended in the middle of it, the interpreter must not be torn down around it.
    threading.Thread(target=session.answer, args=(Describe("r0"),), daemon=True, name=f"{WORKERS}-first").start()
    # Said now, to programs too: it listens already, and there is nothing to say in the end.
    talk.answer(Answer({"address": address}, [f"studio at {address} (Ctrl-C ends it)"]))
    if not is_loopback(host):
        print(
            f"{host} can be reached from other machines: whoever has this address, token included, gets in",
            file=sys.stderr,
        )
    if browser:
        opening = threading.Timer(0.3, webbrowser.open, [address])
        opening.daemon = True
        opening.start()
    with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again once it has ended
        server.run(sockets=[bound])
    if at_work(0.5):  # nobody reads the answer any more, and the interpreter would wait for it, for minutes maybe
        sys.stdout.flush()
        os._exit(0)


def allow_files(count: int) -> None:
    """Let this process open so many files, if the system allows it: some give 256 to a process that does not ask."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= least < count:  # negative means without limit
        asked = count if most < 0 else min(count, most)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, asked), most))


def shown_host(bound: str, host: str) -> str:
    """Return how a host stands in an address; this machine's name where all its addresses are meant."""
    if bound in ("0.0.0.0", "::"):
        return socket.gethostname()
    plain = host.strip("[]")
    return f"[{plain}]" if ":" in plain else plain


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, before anything is loaded.

    Raises:
        SettingError: The address is taken, or none of this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        raise SettingError(
            "port", port, f"cannot listen at {host}: {error.strerror or error}", "give another --port or --host"
        ) from None
    return bound
