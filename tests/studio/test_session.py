"""Every question has its answer, and the answers are those of the library."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from PIL import Image

import morphospace as ms
from morphospace.data.batches import held_out
from morphospace.errors import DataError, SettingError
from morphospace.latent.traverse import working
from morphospace.runs.codes import codes_of
from morphospace.runs.report import sampled_from
from morphospace.studio import requests as ask
from morphospace.studio import session as sessions
from morphospace.studio.queues import packed
from morphospace.studio.session import Session
from morphospace.studio.space import AMONG, OPENING, SAME_LINE, Space
from tests.studio.conftest import Asked
from tests.studio.test_requests import messages

Refused = Callable[..., str]


@pytest.fixture(scope="session")
def runs(tiny: dict[str, Path]) -> dict[str, ms.Run]:
    return {f"r{i}": ms.load(path) for i, path in enumerate(tiny.values())}


def png(image: np.ndarray) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(kept, format="PNG")
    return kept.getvalue()


def test_runs_and_what_they_can_do(asked: Asked) -> None:
    listed = asked("runs").facts
    assert [(run["id"], run["model"], run["images"]) for run in listed["runs"]] == [
        ("r0", "vae", 640), ("r1", "dcgan", 640), ("r2", "cvae", 640)]  # fmt: skip
    assert listed["broken"] == []
    vae, gan, cvae = (asked("describe", run=run).facts for run in ("r0", "r1", "r2"))
    assert vae["cannot"] == {} and cvae["cannot"] == {} and vae["condition"] is None
    assert "train one with `morpho train-encoder`" in gan["cannot"]["encode"]
    assert cvae["condition"] == {"kind": "label", "names": [str(i) for i in range(10)]}
    assert vae["shape"] == [32, 32, 3] and vae["latent_dim"] == 8 and 'name = "vae"' in vae["settings"]


def test_a_broken_run_does_not_hide_the_others(tiny: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[nonsense")
    from morphospace.studio.loaded_runs import LoadedRuns

    facts = Session(LoadedRuns([tmp_path, tiny["vae"]])).answer(ask.Runs()).facts
    assert [run["id"] for run in facts["runs"]] == ["r1"] and "run.toml is broken" in facts["broken"][0]


def test_a_run_without_a_checkpoint_is_described_and_says_why_it_cannot_decode(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    from morphospace.studio.loaded_runs import LoadedRuns

    (tmp_path / "begun").mkdir()
    shutil.copy(tiny["cvae"] / "run.toml", tmp_path / "begun")
    facts = Session(LoadedRuns([tmp_path / "begun"])).answer(ask.Describe("r0")).facts
    assert facts["name"] == "begun" and facts["images"] == 0 and 'name = "cvae"' in facts["settings"]
    assert set(facts["cannot"]) == {"decode", "encode"} and "checkpoint" in facts["cannot"]["decode"]


@pytest.mark.parametrize("run", ["r0", "r1"])
def test_seeds_decode_to_what_morpho_sample_draws(asked: Asked, runs: dict[str, ms.Run], run: str) -> None:
    reply = asked("decode", run=run, seeds=[3, 11])
    (block,) = reply.blocks
    expected = np.concatenate([ms.sample(runs[run], 1, seed=3), ms.sample(runs[run], 1, seed=11)])
    assert np.array_equal(block.images, expected)
    assert np.array_equal(asked("decode", run=run, codes=reply.facts["codes"]).blocks[0].images, expected)


def test_a_condition_decides_what_is_drawn(asked: Asked, runs: dict[str, ms.Run], refused: Refused) -> None:
    drawn = asked("decode", run="r2", seeds=[5], condition={"label": "7"}).blocks[0].images
    assert np.array_equal(drawn, ms.sample(runs["r2"], 1, seed=5, label=7))
    assert np.array_equal(drawn, asked("decode", run="r2", seeds=[5], condition={"label": 7}).blocks[0].images)
    untold = asked("decode", run="r2", seeds=[5]).blocks[0].images
    assert np.array_equal(untold, ms.sample(runs["r2"], 1, seed=5, label=0))
    assert "no such class" in refused("decode", run="r2", seeds=[5], condition={"label": "cat"})
    assert "conditioned on labels" in refused("decode", run="r2", seeds=[5], condition={"attributes": {"a": 1}})
    assert "takes none" in refused("decode", run="r0", seeds=[5], condition={"label": 1})


def test_points_of_the_map_decode_to_what_their_components_say(asked: Asked, runs: dict[str, ms.Run]) -> None:
    facts = asked("map", run="r0", count=20).facts
    run = runs["r0"]
    test = run.pack.split("test")
    model = run.model
    with torch.no_grad():
        codes = model.encode(model.from_uint8(torch.from_numpy(np.array(test.images[:])))).mean.double().numpy()
    mean = codes.mean(0)
    _, _, axes = np.linalg.svd(codes - mean, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(1)])[:, None]
    places = (codes - mean) @ axes.T
    assert np.allclose(facts["points"], places[facts["rows"]], atol=2e-5)
    assert facts["flat"] is True
    at = [[0.1, -0.2], [1.0, 0.5]]
    reply = asked("decode", run="r0", points=at)
    assert np.allclose(reply.facts["codes"], mean + np.array(at) @ axes, atol=1e-5)
    again = asked("decode", run="r0", codes=reply.facts["codes"]).blocks[0].images
    assert np.array_equal(reply.blocks[0].images, again)


def test_the_map_shows_the_images_themselves_and_what_is_known_of_each(
    asked: Asked, refused: Refused, runs: dict[str, ms.Run]
) -> None:
    reply = asked("map", run="r0", count=10)
    (thumbnails,), rows = reply.blocks, reply.facts["rows"]
    test = runs["r0"].pack.split("test")
    assert thumbnails.name == "thumbnails"
    assert np.array_equal(thumbnails.images, np.stack([test.images[row] for row in rows]))
    labelled = asked("map", run="r2").facts
    truth = runs["r2"].pack.split("test").labels
    assert labelled["labels"] == [int(truth[row]) for row in labelled["rows"]]
    assert labelled["label_names"] == [str(i) for i in range(10)] and labelled["colours"] == ["error"]
    assert {"attribute:Smiling", "factor:tilt", "error"} <= set(reply.facts["colours"])

    def values(by: str) -> list[float]:
        return list(asked("colours", run="r0", by=by, count=10).facts["values"])

    pack = runs["r0"].pack
    assert test.attributes is not None and test.factors is not None
    assert values("attribute:Smiling") == test.attributes[rows, pack.attribute_names.index("Smiling")].tolist()
    assert values("factor:tilt") == pytest.approx(test.factors[rows, pack.factor_names.index("tilt")], abs=1e-6)
    errors = [asked("encode", run="r0", image=row).facts["mse"] for row in rows]
    assert values("error") == pytest.approx(errors, rel=0.02, abs=2e-6)
    for by in ("attribute:Moustache", "attribute", "colour:red"):
        assert "no such attribute or factor" in refused("colours", run="r0", by=by)


def test_images_that_are_held_out_of_training_have_numbers_that_are_understood(tmp_path: Path) -> None:
    """Of a source with one split, image 3 of the map is that which `3` means everywhere."""
    from tests.conftest import draw_blobs

    np.save(tmp_path / "blobs.npy", draw_blobs(80, (8, 8, 1)))
    how: dict[str, Any] = {"images": 64, "batch_size": 32, "widths": (8,), "latent_dim": 4, "valid": 0.25}
    ms.train("vae", data=f"npy:{tmp_path / 'blobs.npy'}", out=tmp_path / "r", device="cpu", **how)
    from morphospace.studio.loaded_runs import LoadedRuns

    mapped = Session(LoadedRuns([tmp_path / "r"]))
    known = mapped.runs.space("r0").gathered()
    assert not np.array_equal(known.rows, known.numbers)
    for place in (0, 7):
        reply = mapped.answer(ask.Encode("r0", int(known.numbers[place])))
        assert np.array_equal(reply.blocks[0].images[0], next(known.each(np.array([place]))))


def test_an_image_is_encoded_as_reconstruct_does(asked: Asked, runs: dict[str, ms.Run]) -> None:
    made = ms.reconstruct(runs["r0"], 6)
    reply = asked("encode", run="r0", image=5)
    assert np.array_equal(reply.blocks[0].images[0], made.originals[5])
    assert np.abs(reply.blocks[0].images[1].astype(int) - made.images[5]).max() <= 1
    assert reply.facts["words"] == "test image 5" and reply.facts["condition"] is None
    mse = ((reply.blocks[0].images[0] / 255 - reply.blocks[0].images[1] / 255) ** 2).mean()
    assert reply.facts["mse"] == pytest.approx(mse)
    trained = asked("encode", run="r2", image="train:2")
    assert np.array_equal(trained.blocks[0].images[0], runs["r2"].pack.split("train").images[2])
    assert trained.facts["condition"] == {"label": str(runs["r2"].pack.split("train").labels[2])}


def test_a_picture_that_was_sent_is_encoded_and_projected(
    session: Session, asked: Asked, runs: dict[str, ms.Run]
) -> None:
    image = np.asarray(runs["r0"].pack.split("test").images[4])
    name = session.take_picture(png(image))
    encoded = asked("encode", run="r0", picture=name)
    assert np.array_equal(encoded.blocks[0].images[0], image)
    assert encoded.facts["code"] == pytest.approx(asked("encode", run="r0", image=4).facts["code"], abs=1e-4)
    found = asked("project", run="r0", picture=name)
    assert found.facts["how"] == "encoder" and found.facts["code"] == pytest.approx(encoded.facts["code"], abs=1e-4)
    better = asked("project", run="r0", picture=name, refine=20)
    assert better.facts["mse"] < found.facts["mse"]
    assert better.facts["psnr"] == pytest.approx(-10 * np.log10(better.facts["mse"]))
    solved = asked("project", run="r1", picture=name, refine=3)  # other shape, other channels, no encoder
    assert "3 steps from 8 starts" in solved.facts["how"] and solved.blocks[0].images.shape == (2, 8, 8, 1)
    assert asked("project", run="r2", picture=name, refine=2, condition={"label": 3}).facts["code"]


def test_held_out_images_to_begin_with_and_how_like_them_a_picture_is(
    session: Session, asked: Asked, refused: Refused, runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, int] = {}
    for run in ("r0", "r1", "r2"):  # also of a model that has no encoder
        reply = asked("examples", run=run, count=7)
        test = runs[run].pack.split("test")
        numbers = reply.facts["numbers"]
        assert np.array_equal(reply.blocks[0].images, np.stack([test.images[number] for number in numbers]))
        assert test.labels is not None and len({int(test.labels[number]) for number in numbers}) == 7
        first[run] = numbers[0]
    found = asked("project", run="r0", image=first["r0"])
    assert found.facts["encoder_mse"] == pytest.approx(asked("encode", run="r0", image=first["r0"]).facts["mse"])
    own = asked("project", run="r2", image=first["r2"])  # by its own class
    assert own.facts["mse"] == pytest.approx(asked("encode", run="r2", image=first["r2"]).facts["mse"])
    refined = asked("project", run="r0", image=first["r0"], refine=10).facts
    assert refined["mse"] < refined["encoder_mse"] == pytest.approx(found.facts["encoder_mse"])  # judged as others were
    assert asked("project", run="r1", image=first["r1"], refine=2).facts["encoder_mse"] is None
    errors = np.sort(session.runs.space("r0").errors())
    assert len(errors) == 60
    middle = asked("likeness", run="r0", error=float(errors[30])).facts
    assert middle == {"share": 31 / 61, "unlike": False, "n": 60}
    worst = asked("likeness", run="r0", error=1.0).facts
    assert worst["share"] == 1 / 61 and not worst["unlike"]  # sixty images cannot tell one of a hundred
    monkeypatch.setattr("morphospace.studio.session.UNLIKE", 0.02)
    assert asked("likeness", run="r0", error=1.0).facts["unlike"]
    assert "no encoder" in refused("likeness", run="r1", error=0.1)


def test_the_seeds_to_open_with_are_the_better_ones_and_differ(session: Session) -> None:
    for key in ("r0", "r1", "r2"):
        space = session.runs.space(key)
        assert len(set(space.seeds)) == OPENING and max(space.seeds) < AMONG
        condition = space.condition(None, AMONG)
        images = space.frames(space.seeded(tuple(range(AMONG))), condition)
        bad = space._badness(images, condition)
        assert int(bad.argmin()) == space.seeds[0]
        assert set(space.seeds) <= set(bad.argsort()[: AMONG // 2].tolist())
    # Without a critic: of what there is to see, how much is changed. An empty image that is rebuilt well shows nothing.
    space = session.runs.space("r0")
    images = space.frames(space.seeded((0, 1)), None)
    again = space.frames(codes_of(space.run, images, None), None)
    changed = ((again.astype(float) - images) ** 2).mean((1, 2, 3))
    expected = torch.from_numpy(changed / (1 + images.var((1, 2, 3))))
    assert torch.allclose(space._badness(images, None).double(), expected, rtol=1e-4)


def test_a_walk_ends_exactly_at_its_ends(asked: Asked) -> None:
    ends = asked("decode", run="r0", seeds=[1, 2, 3])
    codes = ends.facts["codes"]
    reply = asked("walk", run="r0", ends=codes, hows=["linear", "slerp", "rotate"], steps=5)
    assert [block.name for block in reply.blocks] == ["linear", "slerp", "rotate"]
    for block in reply.blocks:
        path = reply.facts["paths"][block.name]
        assert len(path["codes"]) == len(block.images) == 9  # where two legs meet, the end stands once
        assert [path["codes"][i] for i in (0, 4, 8)] == codes
        assert np.abs(block.images[[0, 4, 8]].astype(int) - ends.blocks[0].images).max() <= 1
        assert path["norms"] == pytest.approx(np.linalg.norm(path["codes"], axis=1), rel=1e-5)
    straight = np.array(reply.facts["paths"]["linear"]["codes"])
    assert np.allclose(straight[2], (np.array(codes[0]) + codes[1]) / 2, atol=1e-6)
    steps = np.sqrt((np.diff(reply.blocks[0].images / 255.0, axis=0) ** 2).reshape(8, -1).mean(1))
    assert reply.facts["paths"]["linear"]["mean"] == pytest.approx(steps.mean(), abs=1e-3)


def test_a_path_is_one_that_interpolate_reads_back(asked: Asked, runs: dict[str, ms.Run], tmp_path: Path) -> None:
    from morphospace.tools.walk.paths import follow

    for run, told in (("r0", {}), ("r2", {"condition": {"label": 4}})):
        codes = asked("decode", run=run, seeds=[1, 2]).facts["codes"]
        reply = asked("walk", run=run, ends=codes, hows=["slerp"], steps=4, **told)
        kept = reply.facts["paths"]["slerp"]
        (tmp_path / "path.json").write_text(json.dumps({"codes": kept["codes"], "conditions": kept["conditions"]}))
        assert np.abs(follow(runs[run], tmp_path / "path.json").images.astype(int) - reply.blocks[0].images).max() <= 1


def test_a_film_is_a_gif_that_goes_forth_and_back(asked: Asked) -> None:
    codes = asked("decode", run="r0", seeds=[1, 2]).facts["codes"]
    reply = asked("film", run="r0", ends=codes, hows=["slerp"], steps=6, fps=25)
    film = Image.open(io.BytesIO(reply.file))
    assert film.format == "GIF" and film.n_frames == reply.facts["frames"] == 10 and film.size == (128, 128)
    assert film.info["duration"] == 40 and json.loads(film.info["comment"])["run"] == "vae"
    frames = []
    for i in range(10):
        film.seek(i)
        frames.append(np.asarray(film.convert("RGB")))
    assert all(np.array_equal(frames[i], frames[10 - i]) for i in range(1, 5))


def test_sliders_move_along_their_directions(asked: Asked, refused: Refused, session: Session) -> None:
    facts = {f"{by}s": asked("sliders", run="r0", by=by).facts["rows"] for by in ("component", "dim", "direction")}
    space = session.runs.space("r0")
    base = space.start().numpy().astype(float)
    codes = space.gathered().codes.double().numpy()
    assert np.allclose(base, codes.mean(0), atol=1e-5)
    variances = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    shares = {c["name"]: c["share"] for c in facts["components"]}
    assert [shares[i] for i in range(8)] == pytest.approx(variances / variances.sum(), rel=1e-4)

    def moved(*moves: list[Any], **more: Any) -> np.ndarray:
        return np.array(asked("decode", run="r0", moves=list(moves), **more).facts["codes"][0])

    assert np.allclose(moved(), base, atol=1e-6)
    along = moved(["component", 1, 2.0]) - base
    assert np.linalg.norm(along) == pytest.approx(2 * np.sqrt(variances[1]), rel=1e-4)
    assert np.allclose(np.cov(codes.T) @ along, variances[1] * along, atol=1e-6)
    dim = facts["dims"][0]["name"]
    step = moved(["dim", dim, -1.5], base=[0.0] * 8)
    assert step[dim] == pytest.approx(-1.5 * codes[:, dim].std(ddof=1), rel=1e-4) and np.count_nonzero(step) == 1
    for kind in ("components", "dims"):  # what changes the image most comes first
        sizes = [d["change"] for d in facts[kind]]
        assert sizes == sorted(sizes, reverse=True) and sorted(d["name"] for d in facts[kind]) == list(range(8))
    name = facts["directions"][0]["name"]
    vector = space.directions()[name].vector.numpy()
    both = moved(["direction", name, 1.0], ["component", 1, 2.0])
    assert np.allclose(both, base + vector + along, atol=1e-5)
    assert "no such direction" in refused("decode", run="r0", moves=[["direction", "Moustache of Dali", 1]])
    assert "number of components" in refused("decode", run="r0", moves=[["component", 8, 1]])
    assert "dimensions of the codes" in refused("decode", run="r0", moves=[["dim", 8, 1]])


def test_attributes_that_work_come_first_and_none_is_left_out(asked: Asked, session: Session) -> None:
    """The first slider in the order of the alphabet is not the first on the page, but the one that works best."""
    rows = asked("sliders", run="r0", by="direction").facts["rows"]
    space = session.runs.space("r0")
    names = [row["name"] for row in rows]
    lines = {name: one.vector / one.vector.norm() for name, one in space.directions().items()}
    for name, line in lines.items():  # each is there, or another along the same line: Curly_Hair for the class curly
        assert name in names or max(abs(float(line @ lines[other])) for other in names) > SAME_LINE
    assert "Curly_Hair" in names and "curly" not in names and "curly" in lines
    scores = [slider.score for slider in space.sliders("direction")]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0
    start = space.start()
    name = rows[0]["name"]
    ends = space.frames(torch.stack([start + s * space.directions()[name].vector for s in (-2, 0, 2)]), None) / 255.0
    assert rows[0]["change"] == pytest.approx(((ends[[0, 2]] - ends[1]) ** 2).mean(), rel=1e-4)


def test_a_direction_that_separates_or_shows_nothing_does_not_work() -> None:
    right, sizes = [0.9, 0.9, 0.5, 0.95, math.nan], [0.01, 0.0, 0.09, 0.02, 0.05]
    scores = working(right, sizes)
    assert scores[1] == scores[2] == scores[4] == 0 and scores[3] > scores[0] > 0
    assert working([], []) == []


def test_neighbours_are_the_nearest(asked: Asked, runs: dict[str, ms.Run]) -> None:
    code = asked("encode", run="r0", image=9).facts["code"]
    known = asked("map", run="r0", count=3000).facts["rows"]
    made = {row: asked("encode", run="r0", image=row).facts["code"] for row in sorted(known)}
    far = {row: float(np.linalg.norm(np.array(made[row]) - code)) for row in known}
    reply = asked("neighbours", run="r0", code=code, count=5)
    assert reply.facts["rows"][0] == 9 and reply.facts["distances"][0] == pytest.approx(0, abs=1e-4)
    assert reply.facts["distances"] == pytest.approx(sorted(far.values())[:5], abs=1e-4)
    test = runs["r0"].pack.split("test").images
    assert np.array_equal(reply.blocks[0].images, np.stack([test[row] for row in reply.facts["rows"]]))
    drawn = asked("decode", run="r0", codes=[code]).blocks[0].images[0].astype(float)
    (split, rows), held = held_out(runs["r0"].pack, runs["r0"].configuration.data.valid)
    train = np.asarray(split.images[rows]).astype(float)
    away = np.sqrt(((train - drawn) ** 2).reshape(len(train), -1).mean(1)) / 255
    reply = asked("neighbours", run="r0", code=code, count=4, among="train")
    assert held is not None and reply.facts["rows"] == rows[np.argsort(away, kind="stable")[:4]].tolist()
    assert reply.facts["distances"] == pytest.approx(np.sort(away)[:4], rel=1e-5)


def test_several_runs_side_by_side(session: Session, asked: Asked, runs: dict[str, ms.Run]) -> None:
    reply = asked("compare", runs=["r0", "r1", "r2"], seed=4, condition={"label": 2})
    assert [block.name for block in reply.blocks] == ["r0", "r1", "r2"]
    assert np.array_equal(reply.blocks[1].images, ms.sample(runs["r1"], 1, seed=4))
    assert np.array_equal(reply.blocks[2].images, ms.sample(runs["r2"], 1, seed=4, label=2))
    name = session.take_picture(png(np.asarray(runs["r0"].pack.split("test").images[0])))
    for source in ({"image": 1}, {"picture": name}):
        reply = asked("compare", runs=["r0", "r1", "r9"], **source)
        assert [block.images.shape[0] for block in reply.blocks] == [2]
        good, gan, missing = reply.facts["each"]
        assert good["mse"] > 0 and "no encoder" in gan["error"] and "no such run" in missing["error"]


def test_training_snapshots_diagnosis_and_card(asked: Asked, refused: Refused, tiny: dict[str, Path]) -> None:
    facts = asked("training", run="r0").facts
    lines = [json.loads(line) for line in (tiny["vae"] / "metrics.jsonl").read_text().splitlines()]
    column = facts["columns"].index("vae/loss")
    assert [row[0] for row in facts["rows"]] == [line["images"] for line in lines]
    assert [row[column] for row in facts["rows"]] == [line.get("vae/loss") for line in lines]
    snapshot = asked("snapshot", run="r0", images=facts["samples"][-1])
    grid = snapshot.blocks[0].images
    file = next(f for f in (tiny["vae"] / "samples").glob("*.png") if int(f.stem) == facts["samples"][-1])
    assert np.array_equal(grid[0], np.asarray(Image.open(file).convert("RGB")))
    assert snapshot.facts["drawn_from"] == sampled_from(file)
    assert "no samples were drawn then" in refused("snapshot", run="r0", images=1)
    for run in ("r0", "r1", "r2"):
        assert asked("diagnosis", run=run).facts["severity"]
        assert asked("card", run=run).facts["card"].startswith("---")


def test_what_a_gan_cannot_is_refused_with_the_verb_that_would_add_it(refused: Refused, asked: Asked) -> None:
    for kind, fields in (
        ("map", {}), ("encode", {"image": 1}), ("decode", {"points": [[0, 0]]}), ("neighbours", {"code": [0.0] * 4}),
    ):  # fmt: skip
        assert "`morpho train-encoder`" in refused(kind, run="r1", **fields)
    assert len(asked("sliders", run="r1", by="component").facts["rows"]) == 4
    # From the sample of a seed, not from z = 0, which a GAN decodes to grey noise.
    first = asked("decode", run="r1", seeds=asked("describe", run="r1").facts["opening"][:1]).facts["codes"]
    assert asked("decode", run="r1", moves=[["dim", 0, 0]]).facts["codes"] == first
    assert asked("sliders", run="r1", by="direction").facts["rows"] == []
    assert asked("decode", run="r1", moves=[["component", 0, 1]]).blocks
    assert "numbers" in refused("decode", run="r1", codes=[[0.0] * 5])


def test_pictures_are_kept_in_memory_and_forgotten(
    session: Session, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = png(np.zeros((40, 30, 3), np.uint8))
    first = session.take_picture(image)
    names = [session.take_picture(image) for _ in range(sessions.PICTURES)]
    assert len({first, *names}) == sessions.PICTURES + 1
    assert "forgotten by now" in refused("encode", run="r0", picture=first)
    for name in ("p0", "../../etc/passwd", "/etc/passwd", "\x00"):
        assert "was not sent" in refused("encode", run="r0", picture=name)
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, format="PNG")
    unpacked: list[int] = []
    monkeypatch.setattr(sessions, "decode_picture", lambda *given: unpacked.append(1))
    for data, words in (
        (bomb.getvalue(), "pixels"), (b"", "empty"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "send a JPEG"),
        (b"<svg/>", "format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "format"), (bytes(sessions.PICTURE_BYTES + 1), "more than"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            session.take_picture(data)
    assert not unpacked  # refused by their headers, none was unpacked
    monkeypatch.undo()
    with pytest.raises(DataError, match="send a JPEG, PNG or WebP"):
        session.take_picture(image[:60])


@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(message=messages)
def test_whatever_is_asked_there_is_an_answer_that_json_can_hold(session: Session, message: dict[str, Any]) -> None:
    try:
        request = ask.parse({**message, "refine": 2} if message["kind"] == "project" else message)
    except ValueError:
        return
    session.lane(request)
    reply = session.answer(request)
    assert reply.facts.get("reason") != "internal", reply.facts
    assert packed(1, "x", reply)
    assert not session.answer(ask.parse({"kind": "decode", "run": "r1", "seeds": [1]})).facts.get("error")


def test_what_nobody_thought_of_is_an_answer_too(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(key: str) -> None:
        raise KeyError("/home/secret")

    monkeypatch.setattr(session.runs, "space", broken)
    reply = session.answer(ask.Describe("r0"))
    assert reply.facts["reason"] == "internal" and "secret" not in str(reply.facts)


def test_a_question_that_needs_nothing_made_first_has_a_lane_of_its_own(tiny: dict[str, Path]) -> None:
    from morphospace.studio.loaded_runs import LoadedRuns

    session = Session(LoadedRuns(list(tiny.values())))

    def lane(**message: Any) -> str:
        return session.lane(ask.parse(message))

    draw: dict[str, Any] = {"kind": "decode", "run": "r0"}
    assert lane(kind="runs") == lane(kind="training", run="r0") == lane(kind="snapshot", run="r0", images=1) == "facts"
    assert lane(**draw, seeds=[1]) == lane(kind="describe", run="r0") == lane(kind="card", run="none") == "loading"
    assert lane(**draw, points=[[0, 0]]) == lane(kind="encode", run="r0", image=1) == "slow"
    session.answer(ask.parse({**draw, "seeds": [1]}))
    assert lane(**draw, seeds=[1]) == "decode" and lane(**draw, points=[[0, 0]]) == "slow"
    assert lane(kind="describe", run="r0") == "loading"  # whose images are not opened yet
    near: dict[str, Any] = {"kind": "neighbours", "run": "r0", "code": [0.0] * 8}
    assert lane(kind="map", run="r0") == lane(**near) == "slow"
    session.answer(ask.parse({"kind": "map", "run": "r0"}))
    assert lane(kind="map", run="r0") == lane(**near) == lane(kind="describe", run="r0") == "facts"
    assert lane(kind="map", run="r0", by="umap") == lane(**near, among="train") == "slow"
    assert lane(**draw, points=[[0, 0]]) == "decode"
    move = [["component", 0, 1], ["dim", 0, 1]]
    assert lane(**draw, moves=move) == "slow"
    for by in ("component", "dim"):
        session.answer(ask.parse({"kind": "sliders", "run": "r0", "by": by}))
        assert lane(kind="sliders", run="r0", by=by) == "facts"
    assert lane(kind="sliders", run="r0", by="direction") == "slow"
    assert lane(**draw, moves=move) == lane(kind="encode", run="r0", image=1) == "decode"
    assert lane(kind="compare", runs=["r0"], seed=1) == "decode"
    assert lane(kind="compare", runs=["r0", "r1"], seed=1) == "slow"
    session.runs.space("r0").decoder.flop = 10**10
    assert lane(**draw, seeds=[1]) == "decode" and lane(**draw, seeds=[1] * 9) == "slow"
    ends = [[0.0] * 8] * 2
    assert lane(kind="walk", run="r0", ends=ends, hows=["linear"]) == "slow"
    session.runs.space("r0").decoder.flop = 10**6
    sent = {side: session.take_picture(png(np.zeros((side, side, 4), np.uint8))) for side in (40, 1100)}
    for side, expected in ((40, "decode"), (1100, "slow")):  # transparent, so it is kept as it was sent
        assert lane(kind="encode", run="r0", picture=sent[side]) == expected
        assert lane(kind="compare", runs=["r0"], picture=sent[side]) == expected
    for kind in ("project", "diagnosis", "film"):
        assert lane(kind=kind, run="r0", picture="p1", ends=ends, hows=["slerp"]) == "slow"


def test_two_images_held_out_make_no_map_and_break_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(np.full((8, 8), 6 * number, np.uint8)).save(folder / f"{number:02}.png")
    how: dict[str, Any] = {"images": 64, "batch_size": 32, "tower": "mlp", "widths": (8,), "latent_dim": 4}
    run = ms.train("vae", data=f"folder:{folder}", out=tmp_path / "r", device="cpu", **how)
    space = Space(run)
    with pytest.raises(SettingError, match="map = 2: images held out make no map"):
        space.chart()
