"""Tiny trained runs that the tests of the session and the server share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import morphospace as ms
from morphospace.cli.studio import bind
from morphospace.learn.site import studio_site
from morphospace.studio import requests as ask
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.security import Gate
from morphospace.studio.server import configured, make_app
from morphospace.studio.session import Reply, Session

Asked = Callable[..., Reply]
QUICK: dict[str, Any] = {"images": 640, "batch_size": 32, "report_images": 320, "checkpoint_images": 640, "lr": 5e-3}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A VAE of faces, a GAN without an encoder and a conditional VAE, trained for a moment."""
    folder = tmp_path_factory.mktemp("studio")
    small: dict[str, dict[str, Any]] = {
        "vae": {"data": "toyfaces:600", "size": "32", "widths": (8, 16), "latent_dim": 8},
        "dcgan": {"data": "digits", "widths": (8,), "latent_dim": 4},
        "cvae": {"data": "digits", "widths": (8,), "latent_dim": 4},
    }
    for name, settings in small.items():
        ms.train(name, out=folder / name, device="cpu", **{**QUICK, **settings})
    return {name: folder / name for name in small}


@pytest.fixture(scope="session")
def pages(tiny: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same runs as pages that decode by themselves, and a GAN of residual towers."""
    folder = tmp_path_factory.mktemp("pages")
    small: dict[str, Any] = {"data": "digits", "tower": "residual", "widths": (8, 8), "blocks": 1, "latent_dim": 6}
    # With the others' rate its pixels would be all or nothing, and how exact weights are would not be seen.
    ms.train("r3gan", out=folder / "r3gan", device="cpu", **{**QUICK, **small, "lr": 5e-4})
    runs = {**tiny, "r3gan": folder / "r3gan"}
    for name, run in runs.items():
        ms.export(run, folder / f"{name}.html", format="html")
    return {name: folder / f"{name}.html" for name in runs}


@pytest.fixture(scope="session")
def session(tiny: dict[str, Path]) -> Session:
    """A session with these runs: r0 the VAE, r1 the GAN, r2 the conditional one."""
    return Session(LoadedRuns(list(tiny.values())))


@contextmanager
def served(
    folders: list[Path], host: str = "127.0.0.1", find: Callable[[], list[Path]] | None = None
) -> Iterator[tuple[str, Session]]:
    """Serve runs on a real port, as `morpho studio` does; the address and the session."""
    session = Session(LoadedRuns(folders, find=find or (lambda: folders)))
    bound = bind(host, 0)
    port = bound.getsockname()[1]
    server = uvicorn.Server(configured(make_app(session, Gate.of(host, port), studio_site)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/", session
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


@pytest.fixture
def asked(session: Session) -> Asked:
    """Ask the session, as a page would; an error fails the test."""

    def ask_it(kind: str, **fields: Any) -> Reply:
        reply = session.answer(ask.parse({"kind": kind, **fields}))
        assert "error" not in reply.facts, reply.facts
        return reply

    return ask_it


@pytest.fixture
def refused(session: Session) -> Callable[..., str]:
    """Ask what cannot be; the words of the refusal."""

    def ask_it(kind: str, **fields: Any) -> str:
        reply = session.answer(ask.parse({"kind": kind, **fields}))
        assert reply.facts["reason"] == "setting", reply.facts
        assert not reply.blocks and not reply.file
        return str(reply.facts["error"])

    return ask_it
