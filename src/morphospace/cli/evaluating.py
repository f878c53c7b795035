"""`morpho evaluate`: numbers that say how near a run's samples, or any images, are to real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from morphospace.cli.drawing import Checkpoint, Device, Raw
from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.errors import require

if TYPE_CHECKING:
    from morphospace import Evaluation


RunOrNone = Annotated[str | None, Parameter(help="The run's folder; leave it out to compare two sets.")]
Real = Annotated[
    str | None, Parameter(help="The real images: a source, folder:PATH or a pack; the run's own if left out.")
]
Fake = Annotated[str | None, Parameter(help="Images to judge in place of a run's samples; likewise.")]
Metrics = Annotated[
    str, Parameter(help="Which numbers, as fd,kid,is,pr,dc; those usual for what there is if left out.")
]
Count = Annotated[int | None, Parameter(help="How many of each; 10,000, or as many as there are, if left out.")]
Seed = Annotated[int, Parameter(help="Which samples, and the seed of every resampling.")]
FeatureName = Annotated[
    str,
    Parameter(
        help="What distances are taken in: classifier, autoencoder, pixels, inception or inception:PATH; a classifier "
        "where the images have labels, else an autoencoder, if left out."
    ),
]
Resize = Annotated[Literal["legacy", "antialias"], Parameter(help="How images are resized for the Inception network.")]
PriorName = Annotated[
    Literal["model", "normal", "gaussian", "mixture"],
    Parameter(help="The prior a run is sampled from, as for `morpho sample`."),
]
RealSplit = Annotated[str, Parameter(help="Which split of the real images; test where there is one if left out.")]
FakeSplit = Annotated[str, Parameter(help="Which split of the fake images; likewise.")]
Size = Annotated[str | None, Parameter(help="Height and width that two sets are brought to, as 64 or 64x48.")]


def evaluate(
    run: RunOrNone = None,
    /,
    *,
    real: Real = None,
    fake: Fake = None,
    metrics: Metrics = "",
    n: Count = None,
    seed: Seed = 0,
    features: FeatureName = "",
    resize: Resize = "legacy",
    prior: PriorName = "model",
    real_split: RealSplit = "",
    fake_split: FakeSplit = "",
    size: Size = None,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Measure how near a run's samples, or any images, are to real ones, each number with its conditions."""
    require(run is not None or bool(real and fake), "run", run, "give a run, or two sets with --real and --fake")
    names = [name for name in (word.strip() for word in metrics.split(",")) if name]
    import morphospace as ms

    loaded = None if run is None else ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    done = ms.evaluate(
        loaded,
        real=real,
        fake=fake,
        metrics=names,
        n=n,
        seed=seed,
        features=features,
        resize=resize,
        prior=prior,
        real_split=real_split,
        fake_split=fake_split,
        size=size,
        device=device,
        say=talk.say,
    )
    return _answer(run, done)


def _answer(run: str | None, done: Evaluation) -> Answer:
    """Return what was measured, as a table and as data."""
    said = [result.as_dict() for result in done.results]
    rows = [_row(entry) for entry in said]
    lines = [f"real: {done.real}", f"fake: {done.fake}", *sorted(_notes(said))]
    lines += [f"left out {name}: it {reason}" for name, reason in done.left_out.items()]
    lines += [f"kept in {done.path}"] if done.path else []
    data: dict[str, Any] = {"run": run, "real": done.real, "fake": done.fake, "results": said}
    data |= {"out": str(done.path) if done.path else None, "left_out": dict(done.left_out)}
    return Answer(data, lines, Table(("measure", "value", "95 %", "interval from"), rows))


def _row(entry: Mapping[str, Any]) -> list[str]:
    unit = f" {entry['unit']}" if entry["unit"] else ""
    ends = "" if entry["low"] is None else f"{entry['low']:.4g} to {entry['high']:.4g}"
    return [entry["name"], f"{entry['value']:.5g}{unit}", ends, str(entry["conditions"].get("interval", ""))]


def _notes(said: list[dict[str, Any]]) -> set[str]:
    """Return what is to be known of the features."""
    every = [entry["conditions"] for entry in said]
    notes = {f"{c['features']}: {c['features_quality']}" for c in every if "features_quality" in c}
    notes |= {
        f"{e['name']} of the real images: {e['conditions']['value_of_real']:.5g}"
        for e in said
        if "value_of_real" in e["conditions"]
    }
    return notes | {f"resize: {c['resize']}" for c in every if "resize" in c}
