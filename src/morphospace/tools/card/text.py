"""The Markdown of a model card: what a run is, what it was trained on, how good it is and what it may be used for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A likelihood's number compares only with others of the same kind; these say of each word in the history what it is.
MEANINGS = {
    "loss": "what was minimised, nats an image unless the settings say otherwise",
    "reconstruction": "-log p(x given z), nats an image",
    "kl": "KL(q(z given x) from the prior), nats an image",
    "mse": "mean squared error a pixel, in the model's range",
    "bits_per_dim": "bits a value of the image",
}


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        name: Name of the run.
        model: Name of its model, one line on it, and its paper.
        about: What the model is, in a line.
        paper: Where it was published.
        shape: (H, W, C) of its images.
        latent_dim: Length of a code.
        condition: The names of the classes or attributes that it takes; empty for most.
        can: What it can do beside drawing images: `encode`, `score`.
        parameters: Trainable numbers by network.
        data: Name of the data.
        data_about: One line on them; empty where nothing is known.
        data_hash: Hash of the pack.
        licence: Licence or terms of the data; empty where nothing is known.
        source: Where the data come from.
        settings: Settings that differ from the defaults, and their values.
        images_trained: Images seen when training ended.
        images_taken: Images seen at the checkpoint that is used.
        epochs: Passes over the data when training ended.
        seconds: Seconds of training.
        metrics: The last value of each number in the history.
        results: Rows of an evaluation: name, value with its interval and unit, conditions.
        versions: Version by package.
        created: When the run was begun.
    """

    name: str
    model: str
    about: str
    paper: str
    shape: tuple[int, int, int]
    latent_dim: int
    condition: tuple[str, ...]
    can: tuple[str, ...]
    parameters: Mapping[str, int]
    data: str
    data_about: str
    data_hash: str
    licence: str
    source: str
    settings: Mapping[str, Any]
    images_trained: int
    images_taken: int
    epochs: float
    seconds: float
    metrics: Mapping[str, float]
    results: Sequence[tuple[str, str, str]]
    versions: Mapping[str, str]
    created: str

    @property
    def research_only(self) -> bool:
        """Whether the data's terms rule other uses out."""
        return "non-commercial" in self.licence or "research only" in self.licence

    @property
    def faces(self) -> bool:
        """Whether the images are photographs of people's faces."""
        return self.data.startswith("celeba")


def card_text(facts: CardFacts) -> str:
    """Return the card, with the header that Hugging Face reads."""
    sections = [header(facts), opening(facts), use(facts), loading(facts), data(facts), training(facts), quality(facts)]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def header(facts: CardFacts) -> str:
    """Return the YAML header. JSON strings are YAML strings, so that no name can break it."""
    kinds = ["image-generation", facts.model, facts.data]
    lines = [
        "---",
        "library_name: morphospace",
        "pipeline_tag: unconditional-image-generation",
        "license: other",
        f"license_name: {json.dumps('see the terms of the training data')}",
        "tags:",
        *(f"- {json.dumps(kind)}" for kind in dict.fromkeys(kinds)),
        "---",
    ]
    return "\n".join(lines)


def opening(facts: CardFacts) -> str:
    """Return the title and a paragraph on the model."""
    height, width, channels = facts.shape
    colours = "colour" if channels == 3 else "grey"
    total = sum(facts.parameters.values())
    each = ", ".join(f"{name} {count:,}" for name, count in facts.parameters.items() if count)
    condition = f" It is told one of {listed(facts.condition)}." if facts.condition else ""
    about = f"{facts.about.rstrip('.')} ({facts.paper})."
    return (
        f"# {cell(facts.name)}\n\n`{facts.model}`: {about} It makes {colours} images of {height}x{width} pixels from "
        f"codes of {facts.latent_dim} numbers.{condition}\n\n{total:,} parameters: {each}."
    )


def use(facts: CardFacts) -> str:
    """Return what it is for, and what it is not for."""
    more = {"encode": "finding the code of an image", "score": "judging how real an image looks"}
    purposes = ["drawing images like its training data", "walking between them"]
    purposes += [more[word] for word in facts.can if word in more]
    lines = ["## Intended use and limits", "", f"- Made for study: {', '.join(purposes)}."]
    if facts.research_only:
        lines.append(
            f"- **Research only.** The terms of its training data are: {cell(facts.licence)}. Whether the weights may "
            "be passed on is theirs to say, too."
        )
    if facts.faces:
        lines.append(
            "- Its training images are photographs of celebrities, and no fair sample of people. Some faces and looks "
            "it draws badly or not at all; its attributes are what annotators saw, not facts about anyone. Not for "
            "identifying, judging or imitating people."
        )
    lines += [
        "- It knows nothing but images of this kind, cropped and resized as these were; of another image it makes the "
        "nearest thing that it knows.",
        "- An image it draws may be close to one it was trained on.",
    ]
    return "\n".join(lines)


def loading(facts: CardFacts) -> str:
    """Return how to use it from Python and the command line."""
    label = f", label={facts.condition[0]!r}" if facts.condition and "=" not in facts.condition[0] else ""
    label = "" if facts.settings.get("condition", "label") != "label" else label
    lines = [
        "## How to load it",
        "",
        "```python",
        "import morphospace as ms",
        "",
        f"run = ms.load({facts.name!r})  # the run's folder",
        f"images = ms.sample(run, n=16, seed=0{label})  # uint8 (16, {', '.join(map(str, facts.shape))})",
        "```",
        "",
        f"On the command line: `morpho sample {facts.name} --n 16 --out samples.png`.",
    ]
    return "\n".join(lines)


def data(facts: CardFacts) -> str:
    """Return what it was trained on."""
    about = f": {cell(facts.data_about)}" if facts.data_about else ""
    licence = cell(facts.licence) or "not known to the library; say here what they are"
    rows = [("data", f"`{facts.data}`{about}"), ("licence and terms", licence)]
    rows += [("from", cell(facts.source))] if facts.source else []
    rows += [("hash", f"`{facts.data_hash}`")]
    return "## Training data\n\n" + table(("", ""), rows)


def training(facts: CardFacts) -> str:
    """Return how long it was trained, and with which settings."""
    passes = f"{facts.epochs:.3g} passes over the data"
    taken = "" if facts.images_taken == facts.images_trained else f" The weights are those at {facts.images_taken:,}."
    lines = [
        "## Training",
        "",
        f"{facts.images_trained:,} images ({passes}) in {duration(facts.seconds)}, begun {facts.created[:10]}.{taken} "
        f"Versions: {', '.join(f'{name} {version}' for name, version in facts.versions.items())}.",
        "",
    ]
    if facts.settings:
        rows = [(f"`{name}`", f"`{json.dumps(value)}`") for name, value in facts.settings.items()]
        lines.append("Settings that differ from the defaults:\n\n" + table(("setting", "value"), rows))
    else:
        lines.append("All settings are the defaults.")
    return "\n".join(lines)


def quality(facts: CardFacts) -> str:
    """Return the numbers of the run's history, and of its evaluation where there is one."""
    lines = ["## Quality", ""]
    if facts.results:
        rows = [(cell(name), cell(value), cell(where)) for name, value, where in facts.results]
        lines += ["Evaluated:", "", table(("metric", "value", "measured on"), rows), ""]
    else:
        lines += ["Not evaluated yet.", ""]
    held_out = any(name.startswith("valid/") for name in facts.metrics)
    kept = {name: v for name, v in facts.metrics.items() if not held_out or name.startswith("valid/")}
    if kept:
        where = "held-out images" if held_out else "training images"
        rows = [(f"`{name}`", f"{v:.5g}", MEANINGS.get(name.rpartition("/")[2], "")) for name, v in kept.items()]
        lines += [f"The last of the run's history, on {where}:", "", table(("number", "value", ""), rows)]
    return "\n".join(lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return text that breaks no table and no line."""
    return " ".join(text.split()).replace("|", "\\|")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names in a row, the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(46), duration(600), duration(9000)
    ('46 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
