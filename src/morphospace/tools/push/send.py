"""The work of `push`: the files of a run for a repository, and one commit of those that have changed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from morphospace import __version__
from morphospace.data.sources import SOURCES
from morphospace.errors import MorphospaceError, RunError
from morphospace.files import json_text, read_bytes, without_folders
from morphospace.models.priors import FITTED
from morphospace.records import read_json
from morphospace.roles import HoldsPath
from morphospace.runs.checkpoints import save_tensors
from morphospace.runs.codes import named_prior, prior_for
from morphospace.runs.encoder import encoder_file, kept_encoder
from morphospace.runs.hub import ABOUT, BESIDE, FILES, LOG_IN, WEIGHTS, client, in_words
from morphospace.runs.run import Run
from morphospace.tools.card.facts import card_text, facts_of
from morphospace.tools.diagram import diagram
from morphospace.tools.export import export
from morphospace.tools.push import MAIN, Page, Pushed

CARD, DIAGRAM, PAGE = "README.md", "diagram.svg", "page.html"
# What [run] of run.toml says of the model and its images, and nothing of the machine.
TOLD = ("data_hash", "shape", "labels", "attributes", "crop", "rule", "held_out", "seeds", "created", "versions")


def pushed(
    run: Run,
    repo: str,
    *,
    public: bool,
    dry_run: bool,
    message: str,
    revision: str,
    page: Page,
    say: Callable[[str], None],
) -> Pushed:
    """Make the files, and send those that the repository does not have as they are."""
    hub = client()
    with TemporaryDirectory() as place:
        files, notes = files_of(run, Path(place), repo, page)
        sizes = {name: path.stat().st_size for name, path in files.items()}
        if dry_run:
            return Pushed(repo, sizes, {}, "", not public, False, tuple(notes), dry_run=True)
        with in_words(f"hub:{repo}"), without_bars(hub):
            if hub.get_token() is None:
                raise RunError("hub", f"hub:{repo}", "you are not logged in", LOG_IN)
            api = hub.HfApi()
            private = visible(hub, api, repo, public, notes)
            there = held(hub, api, repo, revision)
            changed = differences(files, there or {})
            if changed:
                say(f"sends {sum(sizes[n] for n in changed if n in sizes) / 1e6:.1f} MB to {repo}")
                if there is None and revision != MAIN:
                    api.create_branch(repo, branch=revision, exist_ok=True)
                commit = api.create_commit(
                    repo,
                    operations=[
                        hub.CommitOperationDelete(name)
                        if what == "removed"
                        else hub.CommitOperationAdd(name, str(files[name]))
                        for name, what in changed.items()
                    ],
                    commit_message=message or f"{run.path.resolve().name}, image {run.images:,}",
                    revision=revision,
                )
                return Pushed(repo, sizes, changed, str(commit.commit_url), private, True, tuple(notes))
    return Pushed(repo, sizes, {}, "", private, False, tuple(notes))


@contextlib.contextmanager
def without_bars(hub: Any) -> Iterator[None]:
    """Keep the client's progress bars from the user: what is sent is said in a line."""
    off = hub.utils.are_progress_bars_disabled()
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        if not off:
            hub.utils.enable_progress_bars()


def visible(hub: Any, api: Any, repo: str, public: bool, notes: list[str]) -> bool:
    """Make the repository if it is not there; return whether it is private.

    Raises:
        RunError: If it is public and the caller did not say so.
    """
    try:
        private = bool(api.repo_info(repo).private)
    except hub.errors.RepositoryNotFoundError:
        api.create_repo(repo, private=not public)
        return not public
    if not (private or public):
        way_out = "add --public to push to it, or choose another name"
        raise RunError("repo", repo, "is there, and everybody can see it", way_out)
    if private and public:
        notes.append(f"{repo} was private before and stays so; its settings on the Hub make it public")
    return private


def held(hub: Any, api: Any, repo: str, revision: str) -> dict[str, Any] | None:
    """Return the files of a branch by name; None if there is no such branch."""
    try:
        tree = api.list_repo_tree(repo, recursive=True, revision=revision)
        return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}
    except hub.errors.RevisionNotFoundError:
        return None


def differences(files: Mapping[str, Path], there: Mapping[str, Any]) -> dict[str, str]:
    """Return what becomes of each file that the repository does not have as it is; files of others stay."""
    found = {}
    for name, path in files.items():
        entry = there.get(name)
        if entry is None:
            found[name] = "added"
        elif (entry.lfs.sha256 if entry.lfs else entry.blob_id) != (sha256 if entry.lfs else git_hash)(path):
            found[name] = "changed"
    ours = [name for name in there if name in (DIAGRAM, PAGE, *BESIDE) or FILES.fullmatch(name)]
    return found | {name: "removed" for name in ours if name not in files}


def sha256(path: Path) -> str:
    """Return how the Hub knows a large file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_hash(path: Path) -> str:
    """Return how git knows a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def files_of(run: Run, place: Path, repo: str, page: Page) -> tuple[dict[str, Path], list[str]]:
    """Write what is pushed into a folder; return the files by name, and what is to be said of them.

    Raises:
        RunError: If the run cannot be loaded without code that is not in it.
    """
    if run.model.custom:
        rule = f"has the caller's own {list(run.model.custom)}, which only their code can build again"
        raise RunError("run", str(run.path), rule, "export it: morpho export, --format onnx or html")
    info = known_source(run)
    terms = info.licence if info else "not known to the library"
    notes = []
    if not (info and info.may_be_shown):
        notes.append(f"the terms of {run.data_name}: {terms}; whether the weights may be passed on is theirs to say")
    save_tensors(place / WEIGHTS, run.model.networks.state_dict())
    write_prior(run, place)
    write_encoder(run, place)
    for name in BESIDE:
        source = run.folder.place / name
        if source.is_file():
            content = read_bytes(source)
            if name == "evaluation.json":
                content = json_text(without_folders(read_json(content)), indent=1).encode()
            (place / name).write_bytes(content)
    describe(run, place)
    shown = ""
    if page == "always" or (page == "auto" and info and info.may_be_shown):
        shown = write_page(run, place / PAGE, notes)
    elif page == "auto":
        notes.append(f"{PAGE} is left out for these terms; --page always pushes it, without pictures of the data")
    drawn = diagram(run)
    (place / DIAGRAM).write_text(drawn.svg, encoding="utf-8")
    facts = facts_of(run, drawn.anatomy, DIAGRAM, f"hub:{repo}", shown)
    (place / CARD).write_text(card_text(facts), encoding="utf-8")
    order = (CARD, ABOUT, WEIGHTS)
    made = {path.name: path for path in sorted(place.iterdir())}
    return {name: made[name] for name in (*order, *(name for name in made if name not in order))}, notes


def known_source(run: Run) -> Any:
    """Return what the library knows of the source of a run's data; None where the caller gave them."""
    known = SOURCES.get(run.configuration.data.data.partition(":")[0])
    return None if known is None or run.folder.facts.get("data_given") else known.info


def write_prior(run: Run, place: Path) -> None:
    """Write the prior that the run is sampled from if none is asked for, and those that were fitted to it."""
    kind = "model"
    with contextlib.suppress(MorphospaceError):  # without the images of its data none can be fitted
        kind = named_prior(run, "auto")
        prior = prior_for(run, kind)
        for name, cls in FITTED.items():
            if isinstance(prior, cls):
                save_tensors(place / f"prior-{name}.safetensors", prior.tensors())
    for name in FITTED:
        if run.prior_file(name).is_file():
            (place / f"prior-{name}.safetensors").write_bytes(run.prior_file(name).read_bytes())
    (place / "prior.json").write_text(json_text({"prior": kind}) + "\n", encoding="utf-8")


def write_encoder(run: Run, place: Path) -> None:
    """Write the encoder that was trained for the run afterwards, if there is one."""
    if kept_encoder(run) is not None:
        file = encoder_file(run)
        (place / "encoder.json").write_bytes(file.read_bytes())
        (place / "encoder.safetensors").write_bytes(file.with_suffix(".safetensors").read_bytes())


def describe(run: Run, place: Path) -> None:
    """Write run.json: the settings and facts that describe the run to others, and the hash of each file."""
    sections, known, data = run.configuration.described(), run.folder.facts, run.configuration.data.data
    named = HoldsPath.last_part(data)
    sections["data"]["data"] = named
    facts = {name: known[name] for name in TOLD if name in known}
    facts |= {"data": run.data_name, "data_given": bool(known["data_given"]) or named != data, "custom": []}
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(place.iterdir())}
    about = {"library": f"morphospace {__version__}", "run": facts, **sections, "images": run.images, "files": files}
    (place / ABOUT).write_text(json_text(about, indent=1) + "\n", encoding="utf-8")


def write_page(run: Run, path: Path, notes: list[str]) -> str:
    """Write the page of `export` without pictures of the data; its name, or nothing if it cannot be written."""
    try:
        export(run, path, format="html", thumbnails="none")
    except RunError as error:
        notes.append(f"{PAGE} is left out: {error}")
        return ""
    return PAGE
