"""`hub:OWNER/NAME`: a run on the Hugging Face Hub, and how it becomes a folder here.

A repository holds `run.json`, which describes the run and names its files, and these files: safetensors and JSON. They
are fetched by name, so that nothing else of a repository is looked at. What was fetched is a run of a stranger, and is
opened by the same code as any run's folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypedDict

from morphospace.data.cache import cache_folder
from morphospace.data.pack import Count
from morphospace.errors import MissingExtra, MorphospaceError, RunError, one_line, shown
from morphospace.files import json_text, read_bytes, writing
from morphospace.ranges import Between
from morphospace.records import read_json, typed
from morphospace.runs.checkpoints import MOST_STATE
from morphospace.runs.configuration import toml_of
from morphospace.runs.folder import RunFolder

SCHEME = "hub:"
ADDRESS = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w][\w./-]*))?", re.ASCII)
ABOUT = "run.json"
WEIGHTS = "model.safetensors"
# The files of a run in a repository: those beside its settings, and those of its one checkpoint.
BESIDE = ("metrics.jsonl", "evaluation.json")
FILES = re.compile(r"model\.safetensors|encoder\.(?:json|safetensors)|prior\.json|prior-[a-z]+\.safetensors")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
ADOPT = "in Python, ms.adopt makes a run of networks of others"
MOST_BYTES = 1 << 40


class FileFacts(TypedDict):
    """A file of a repository, in run.json."""

    bytes: Annotated[int, Between(0, MOST_BYTES)]
    sha256: str


class About(TypedDict):
    """run.json. Its sections are those of run.toml, and are checked when the folder is opened."""

    run: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    images: Count
    files: dict[str, FileFacts]


def is_address(run: object) -> bool:
    """Return whether a run is named by its place on the Hub."""
    return isinstance(run, str | Path) and str(run).startswith(SCHEME)


def parsed(address: str) -> tuple[str, str | None]:
    """Return the repository and the revision of `hub:OWNER/NAME@REVISION`; None where none is named.

    >>> parsed("hub:anna/faces@v1")
    ('anna/faces', 'v1')

    Raises:
        RunError: If it is written otherwise.
    """
    found = ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if found is None or ".." in address or "--" in found[1]:
        rule = "must be hub:OWNER/NAME, or hub:OWNER/NAME@REVISION"
        raise RunError("run", address, rule, "for instance hub:anna/faces")
    return found[1], found[2]


def client() -> Any:
    """Return `huggingface_hub`.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("hub", rule="needs huggingface_hub", way_out="pip install 'morphospace[hub]'") from None
    return huggingface_hub


@contextmanager
def in_words(address: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line with the way out.

    Raises:
        RunError: Whatever it was.
    """
    from huggingface_hub import errors, get_token

    def error(rule: str, way_out: str) -> RunError:
        return RunError("hub", address, rule, way_out)

    try:
        yield
    except MorphospaceError:
        raise
    except errors.GatedRepoError:
        raise error("asks for your consent first", f"accept its terms on its page, and {LOG_IN}") from None
    except errors.RepositoryNotFoundError:
        rule = "there is no such repository, or you may not read it"
        raise error(rule, f"check the name; of a private one, {LOG_IN}") from None
    except errors.RevisionNotFoundError:
        raise error("has no such revision", "name a branch, a tag or a commit of it") from None
    except errors.LocalEntryNotFoundError as why:
        rule = "is not in the cache of this machine, and the Hub does not answer"
        cause = f" ({one_line(why.__cause__)})" if why.__cause__ else ""
        raise error(rule + cause, "check the network, and HF_HUB_OFFLINE") from None
    except errors.HfHubHTTPError as why:
        status = why.response.status_code if why.response is not None else 0
        if status == 401:
            raise error("the Hub does not accept your token", LOG_IN) from None
        if status == 403:
            way_out = "push to a name of your own, or use a token that may write"
            raise error("you have no right to do this there", way_out) from None
        raise error(f"the Hub refused it ({_without(get_token(), one_line(why))})", "try again later") from None
    except errors.HFValidationError:
        raise error("is no name that the Hub knows", "for instance hub:anna/faces") from None
    except (errors.FileMetadataError, ValueError) as why:  # a page of a hotel's network, for instance
        rule = f"what answers is not the Hub ({_without(get_token(), one_line(why))})"
        raise error(rule, "check the network, and HF_ENDPOINT") from None
    except Exception as why:
        if not no_network(why):
            raise
        way_out = "check the network, and HF_HUB_OFFLINE"
        raise error(f"the Hub does not answer ({type(why).__name__})", way_out) from None


def _without(token: str | None, text: str) -> str:
    return text.replace(token, "...") if token else text


def no_network(error: BaseException) -> bool:
    """Return whether an error says that a server could not be reached."""
    libraries = ("httpx", "httpx2", "requests")  # by which versions of the Hub's client ask
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.split(".")[0] in libraries


def local(run: str | Path, say: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a run; one on the Hub is fetched first.

    Args:
        run: A folder, or `hub:OWNER/NAME@REVISION`.
        say: Takes a line that says where what was fetched lies.

    Raises:
        RunError: If it cannot be fetched, or is no run.
        MissingExtra: If the Hub's client is not installed.
    """
    return fetched(str(run), say or (lambda line: None)) if is_address(run) else Path(run)


def fetched(address: str, say: Callable[[str], None]) -> Path:
    """Return the folder that a run of the Hub has here, in the cache; each commit has a folder of its own."""
    repo, revision = parsed(address)
    hub = client()
    with in_words(address):
        try:
            file = download(hub, repo, ABOUT, revision, MOST_STATE)
        except hub.errors.LocalEntryNotFoundError:
            raise
        except hub.errors.EntryNotFoundError:
            raise no_run(hub, address, repo, revision) from None
    commit = file.parent.name
    out = cache_folder() / "hub" / repo / commit / repo.partition("/")[2]
    if (out / "run.toml").is_file():
        return out
    about = read_about(address, file)
    size = sum(facts["bytes"] for facts in about["files"].values())
    say(
        f"fetches {address}, commit {commit[:8]}, {size / 1e6:.1f} MB, into {out}; "
        "what tools write beside a run is written there"
    )
    with writing(out), in_words(address):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=out.parent) as place:
            whole = Path(place) / out.name
            write_run(hub, address, about, f"{repo}@{commit}", whole)
            if not out.exists():  # else another process was quicker
                whole.rename(out)
    return out


def write_run(hub: Any, address: str, about: About, origin: str, path: Path) -> None:
    """Write the folder of a run with the files that run.json names.

    Raises:
        RunError: If they are not those of a run.
    """
    repo, _, commit = origin.partition("@")
    checkpoint = path / "checkpoints" / f"{about['images']:012d}"
    checkpoint.mkdir(parents=True)
    for name, facts in about["files"].items():
        source = download(hub, repo, name, commit, facts["bytes"])
        take(address, source, (path if name in BESIDE else checkpoint) / name, facts)
    weights = {WEIGHTS: about["files"][WEIGHTS]["bytes"]}
    state = {"step": about["images"], "images": about["images"], "files": weights}
    (checkpoint / "state.json").write_text(json_text(state), encoding="utf-8")
    (checkpoint.parent / "last").write_text(checkpoint.name, encoding="utf-8")
    (path / "run.toml").write_text(settings_text(address, about, origin), encoding="utf-8")
    try:
        RunFolder.open(path)
    except RunError as error:
        raise broken(address, error.rule) from None


def download(hub: Any, repo: str, name: str, revision: str | None, most: int) -> Path:
    """Return a file in the cache of the Hub's client; it asks for no more bytes than it may have.

    Raises:
        RunError: If the file is larger.
    """
    try:
        size = hub.get_hf_file_metadata(hub.hf_hub_url(repo, name, revision=revision)).size
    except Exception as error:
        if not no_network(error) or isinstance(error, hub.errors.HfHubHTTPError):
            raise
        size = None  # offline: what is in the cache has its size
    if size is not None and size > most:
        raise broken(f"{SCHEME}{repo}", f"its {name} has {size:,} bytes, and may have {most:,}")
    return Path(hub.hf_hub_download(repo, name, revision=revision))


def no_run(hub: Any, address: str, repo: str, revision: str | None) -> RunError:
    """Return the error for a repository without a run, and what it holds instead."""
    names = sorted(hub.HfApi().list_repo_files(repo, revision=revision))
    held = ", ".join(shown(name) for name in names if not name.startswith(".") and name != "README.md")
    rule = f"is no run of this library: it has no {ABOUT} (it has {held[:200] or 'nothing'})"
    return RunError("run", address, rule, ADOPT)


def broken(address: str, why: object) -> RunError:
    """Return the error for a repository whose files are not those of a run."""
    return RunError("run", address, f"is no whole run of this library ({why})", f"ask whoever pushed it; {ADOPT}")


def read_about(address: str, file: Path) -> About:
    """Return what run.json says, after checking that it names no file that a run has not.

    Raises:
        RunError: If it says something else.
    """
    try:
        about: About = typed(read_json(read_bytes(file, MOST_STATE, links=True)), About, ABOUT)
    except (OSError, ValueError) as error:
        raise broken(address, one_line(error)) from None
    odd = [name for name in about["files"] if name not in BESIDE and not FILES.fullmatch(name)]
    if odd:
        raise broken(address, f"{ABOUT} names a file {shown(odd[0])}, which no run has")
    if WEIGHTS not in about["files"]:
        raise broken(address, f"{ABOUT} names no {WEIGHTS}")
    return about


def take(address: str, source: Path, out: Path, facts: FileFacts) -> None:
    """Copy a file out of the client's cache, which keeps links, and compare it with what run.json says of it.

    Raises:
        RunError: If it differs.
    """
    found = hashlib.sha256()
    with source.open("rb") as read, out.open("wb") as write:
        while block := read.read(1 << 20):
            found.update(block)
            write.write(block)
    if (out.stat().st_size, found.hexdigest()) != (facts["bytes"], facts["sha256"]):
        raise broken(address, f"its {out.name} is not the one that {ABOUT} names")


def settings_text(address: str, about: Mapping[str, Any], place: str) -> str:
    """Return run.toml, which also says where the run came from.

    Raises:
        RunError: If run.json holds what no settings hold.
    """
    facts = {**about["run"], "hub": place}
    try:
        return toml_of({"run": facts, **{name: about[name] for name in ("model", "data", "training")}})
    except (TypeError, ValueError, RecursionError) as error:
        raise broken(address, one_line(error)) from None
