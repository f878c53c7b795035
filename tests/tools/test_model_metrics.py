"""Metrics that ask the model, on tiny runs: each number with what it hangs on."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.data.batches import held_out
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.evaluation.annealed import Annealing
from morphospace.evaluation.distances import frechet_distance
from morphospace.evaluation.results import Result
from morphospace.runs import codes as sampling
from morphospace.tools.evaluate import evaluate, evidence, model_metrics
from morphospace.tools.evaluate.evidence import Evidence, chosen
from morphospace.tools.evaluate.likelihood import Explained, annealed, elbo, iwae
from morphospace.tools.evaluate.measure import FILE, METRICS, keep
from morphospace.tools.evaluate.model_metrics import MODEL_METRICS, coded
from morphospace.tools.evaluate.set_metrics import SET_METRICS

SMALL = {"batch_size": 64, "report_images": 2000, "checkpoint_images": 10**6, "device": "cpu", "tower": "mlp"}
DIGITS = {**SMALL, "data": "digits", "size": "8", "latent_dim": 3, "widths": (32,), "lr": 3e-3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    faces = {**SMALL, "data": "toyfaces:400", "size": "16", "latent_dim": 6, "widths": (32,)}
    return {
        "vae": ms.train("vae", out=folder / "vae", images=6_000, binarise="dynamic", **DIGITS),
        "cvae": ms.train("cvae", out=folder / "cvae", images=1_000, likelihood="gaussian", dequantise=True, **DIGITS),
        "ae": ms.train("ae", out=folder / "ae", images=1_000, **DIGITS),
        "wae": ms.train("wae", out=folder / "wae", images=1_000, **DIGITS),
        "gan": ms.train("dcgan", out=folder / "gan", images=320, **DIGITS),
        "faces": ms.train("vae", out=folder / "faces", images=2_000, **faces),
    }


def explained(run: ms.Run, n: int = 40, **more: object) -> Explained:
    return Explained(run, run.pack.split("test"), np.arange(n), "test", **more)  # type: ignore[arg-type]


def test_every_metric_of_a_model_is_offered() -> None:
    assert set(MODEL_METRICS) <= set(METRICS)
    names = {"elbo", "iwae", "ais", "mse", "psnr", "ssim", "rfd"}
    names |= {"sharpness", "novelty", "smoothness", "disentanglement", "agreement", "class-accuracy"}
    assert names == set(MODEL_METRICS)


def test_bounds_order_themselves_and_say_what_they_are_of(runs: dict[str, ms.Run]) -> None:
    pixels = explained(runs["vae"])
    bound, terms, kl = elbo(pixels)[0], *elbo(pixels)[-2:]
    assert bound.value == pytest.approx(terms.value - kl.value) and bound.unit == "nats"
    assert bound.conditions["binarise"] == "dynamic" and bound.conditions["of"] == "mass of binary pixels"
    tight, bits = iwae(pixels, k=300)
    assert bound.value < tight.value < 0 and tight.low is not None and tight.low < tight.value
    assert bits.unit == "bits/dim" and bits.value == pytest.approx(-tight.value / 64 / math.log(2))
    assert bits.low is not None and bits.high is not None and bits.low < bits.value < bits.high
    lower, *_, gap = annealed(explained(runs["vae"], 3), settings=Annealing(temperatures=60, chains=8, leapfrog=5))
    three = iwae(explained(runs["vae"], 3), k=2000)[0]
    assert lower.value == pytest.approx(three.value, abs=0.5) and -0.3 < gap.value < 1
    assert json.loads(json.dumps(gap.as_dict()))["conditions"]["of"] == "images simulated from the model"
    assert gap.better == "lower"


def test_bounds_are_the_same_however_many_images_stand_in_memory(
    runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> list[float]:
        pixels = explained(runs["cvae"], 11)
        return [result.value for result in elbo(pixels) + iwae(pixels, k=20)]

    together = measured()
    monkeypatch.setattr("morphospace.tools.evaluate.likelihood.TOGETHER", 4)
    assert measured() == pytest.approx(together, rel=1e-6)


def test_what_is_no_density_is_not_called_one(runs: dict[str, ms.Run]) -> None:
    grey = elbo(explained(runs["vae"], binarise="none"))
    assert grey[0].name == "ELBO, no density" and "cross-entropy" in grey[0].conditions["of"] and len(grey) == 3
    told = elbo(explained(runs["cvae"]))
    assert [r.unit for r in told] == ["nats", "bits/dim", "nats", "nats"] and 0 < told[1].value < 12
    assert "condition" in told[0].conditions["given"]


def test_binarisation_is_drawn_by_the_seed_and_the_images_number(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    first = explained(run).images()
    assert set(first.unique().tolist()) == {0.0, 1.0} and torch.equal(first, explained(run).images())
    assert not torch.equal(first, explained(run, seed=1).images())
    later = Explained(run, run.pack.split("test"), np.arange(20, 40), "test").images()
    assert torch.equal(later, first[20:])
    grey = torch.from_numpy(np.array(run.pack.split("test").images[:300])).permute(0, 3, 1, 2) / 255
    many = torch.stack([explained(run, 300, seed=seed).images() for seed in range(40)]).mean(0)
    assert float((many - grey).mean()) == pytest.approx(0, abs=2e-3)
    assert float((many - grey).abs().max()) < 0.45
    fixed = explained(run, binarise="fixed").images()
    assert torch.equal(fixed, explained(run, binarise="fixed", seed=1).images())
    with pytest.raises(SettingError, match="binarise = 'maybe'"):
        explained(run, binarise="maybe")


def test_a_run_is_judged_by_all_that_it_can_do(runs: dict[str, ms.Run]) -> None:
    names = ("elbo", "mse", "psnr", "ssim", "sharpness", "novelty", "smoothness")
    found = {r.name: r for r in evaluate(runs["vae"], metrics=names, n=60, features="pixels").results}
    rebuilt = ms.reconstruct(runs["vae"], 60)
    assert found["MSE"].conditions["split"] == "test" and 0 < found["MSE"].value < 0.3
    assert found["MSE"].value == pytest.approx(rebuilt.mse, rel=0.3)  # other rows of the same split
    assert found["SSIM"].conditions["window"].startswith("7 x 7")
    (_, trained), _ = held_out(runs["vae"].pack, runs["vae"].configuration.data.valid)
    new = found["novelty, unseen 1"]
    assert new.conditions["training_images"] == len(trained) < len(runs["vae"].pack.split("train"))
    assert (new.conditions["n_real"], new.conditions["n_fake"]) == (60, 60) and new.low <= new.value <= new.high
    assert found["path length"].value > 0 and found["detour"].value >= 1 and found["jump"].value >= 1
    for name in ("gan", "ae", "cvae"):
        assert evaluate(runs[name], metrics=("sharpness", "novelty", "smoothness"), n=30).results


def test_numbers_of_other_images_stand_beside_those_of_the_runs_own(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    run = ms.load(shutil.copytree(runs["vae"].path, tmp_path / "r"), device="cpu")
    train = run.pack.split("train")
    other = in_memory_pack("digits", np.asarray(train.images[:80]), test=np.asarray(train.images[80:140]))
    known = []
    for real in (None, other):
        found = {r.name: r for r in evaluate(run, real=real, metrics=("elbo", "novelty"), n=60).results}
        known.append(found["copies"].conditions["training_images"])
    # It can have copied only what it was trained on, whatever it is held against.
    assert known[0] == known[1]
    assert found["copies"].conditions["of_unseen"] > 0.8 and found["copies"].low >= 0
    kept = [entry["conditions"] for entry in json.loads((run.path / FILE).read_text())["results"]]
    assert len({(about["data_hash"], about["images"]) for about in kept}) == 2


def test_two_evaluations_at_once_keep_both(tmp_path: Path) -> None:
    def keeps(who: str) -> None:
        for number in range(20):
            keep(tmp_path / FILE, [Result(f"{who} {number}", 1.0, None, None, "", {})])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(keeps, "ab"))
    assert len(json.loads((tmp_path / FILE).read_text())["results"]) == 40


def test_images_that_are_sorted_by_class_are_taken_from_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark ones and then bright ones: the prior and the yardstick of novelty know both."""
    rng = np.random.default_rng(0)

    def halves() -> Split:
        far, near = rng.integers(0, 40, (420, 8, 8, 1)), rng.integers(200, 210, (180, 8, 8, 1))
        return Split(np.concatenate([far, near]).astype(np.uint8))

    pack = in_memory_pack("halves", train=halves(), test=halves())
    run = ms.train("ae", data=pack, out=tmp_path / "r", images=600, **{**SMALL, "latent_dim": 2, "widths": (8,)})
    run.__dict__["pack"] = pack  # of a run on a Python object it would have to be handed over again
    monkeypatch.setattr(sampling, "FITTED_ON", 100)
    seen: list[np.ndarray] = []
    told = sampling.conditions_of
    monkeypatch.setattr(
        sampling, "conditions_of", lambda model, split, rows: seen.append(rows) or told(model, split, rows)
    )
    sampling.codes_to_fit(run)
    rows, (_, trained) = np.concatenate(seen), held_out(pack, run.configuration.data.valid)[0]
    assert 55 < (rows < 420).sum() < 85 and set(rows) <= set(trained)
    monkeypatch.setattr(model_metrics, "NEW", 50)
    fake = in_memory_pack("fakes", train=Split(halves().images[::-1].copy()))
    new = ms.evaluate(real=pack, fake=fake, metrics=("novelty",), n=600).results[0]
    assert new.value == pytest.approx(1, abs=0.1)


def test_images_to_anneal_are_spread_over_the_split(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    split = run.pack.split("test")
    side = chosen(run.pack, split, np.arange(len(split)), "test", None)
    rows = model_metrics._explained(Evidence(side, None, run, 10, 0), 16).rows
    assert len(rows) == 16 and rows.max() > len(split) / 2


DIRECTIONS = {
    "lower": "FD, KID, rFD, modes/KL, MSE, copies, ELBO in bits, IWAE-5000 in bits",
    "higher": "IS, precision, recall, density, coverage, modes, ELBO, IWAE-5000, PSNR, SSIM",
    "": "E log p(x|z), KL, sharpness/real 1, novelty/unseen 1, path length, detour, jump",
}


def test_each_result_says_its_metric_and_which_way_is_better(runs: dict[str, ms.Run]) -> None:
    names = {*SET_METRICS, *MODEL_METRICS} - {"ais", "disentanglement", "agreement", "class-accuracy"}
    results = evaluate(runs["vae"], metrics=sorted(names - {"is"}), n=30, features="pixels").results
    results += evaluate(runs["vae"], metrics=("is",), n=30).results
    found = {result.name.partition("[")[0].replace(", ", "/"): result for result in results}
    expected = {name: way for way, listed in DIRECTIONS.items() for name in listed.split(", ")}
    assert {name: result.better for name, result in found.items()} == expected
    assert {result.metric for result in results} == names
    assert found["copies"].metric == "novelty" and found["KL"].metric == "elbo"
    chosen_by = {number: way for name in names for number, way in METRICS[name].better.items()}
    assert len(chosen_by) == 21 and sorted(chosen_by.values()).count("lower") == 6


def test_pictures_that_are_equal_have_a_ratio_that_can_be_averaged(
    runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs["vae"]
    monkeypatch.setattr(evidence, "codes_of", lambda run, images, condition: images)
    monkeypatch.setattr(evidence, "decode", lambda model, images, condition: images)
    found, distance = evaluate(run, metrics=("psnr", "rfd"), n=30, features="pixels").results
    assert found.value == found.low == pytest.approx(20 * math.log10(255) + 10 * math.log10(12))
    assert [distance.value, distance.high] == pytest.approx([0, 0], abs=1e-6)  # the halves are of the same pairs


def test_the_distance_of_reconstructions_is_that_of_the_pictures_that_reconstruct_shows(
    runs: dict[str, ms.Run],
) -> None:
    run, count = runs["ae"], len(runs["ae"].pack.split("test"))
    found = evaluate(run, metrics=("rfd",), features="pixels").results[0]
    shown = ms.reconstruct(run, count)
    pair = [torch.from_numpy(one.reshape(count, -1) / 255) for one in (shown.originals, shown.images)]
    assert found.value == pytest.approx(frechet_distance(real=pair[0], fake=pair[1]), rel=1e-3)
    assert found.name == "rFD[pixels]" and found.low <= found.value <= found.high and found.better == "lower"
    assert found.conditions["n_real"] == found.conditions["n_fake"] == count and "prior" not in found.conditions
    assert found.conditions["interval"] == "95 %, 20 half samples of the pairs"


def test_refusals(runs: dict[str, ms.Run]) -> None:
    for name, metric, why in (
        ("gan", "elbo", "take a VAE"),
        ("gan", "mse", "train-encoder"),
        ("ae", "iwae", "needs a prior"),
        ("wae", "elbo", "the encoder of wae gives points"),
        ("wae", "ais", "the encoder of wae gives points"),
        ("vae", "disentanglement", "train on dsprites, shapes3d or toyfaces"),
        ("gan", "disentanglement", "take an autoencoder, a VAE or info-gan"),
    ):
        with pytest.raises(SettingError, match=why):
            evaluate(runs[name], metrics=(metric,), n=30)


def test_disentanglement_of_faces_from_codes_computed_once(runs: dict[str, ms.Run]) -> None:
    codes = coded(runs["faces"], n=300)
    assert codes.means.shape == (300, 6) and codes.log_variances is not None
    assert codes.names == tuple(runs["faces"].pack.factor_names) and codes.counts[0] == 10
    assert not codes.ordered[codes.names.index("hair_style")] and codes.ordered[codes.names.index("smile")]
    found = {r.name: r for r in evaluate(runs["faces"], metrics=("disentanglement",), n=100).results}
    assert {"MIG, binned means", "MIG, posteriors", "SAP", "DCI disentanglement", "FactorVAE metric"} <= set(found)
    assert all(0 <= r.value <= 1 and r.better == "higher" for r in found.values())
    assert found["beta-VAE metric"].conditions["chance"] == pytest.approx(1 / len(codes.names))
    named = {name: result.conditions for name, result in found.items()}
    assert named["DCI completeness"]["trees"] == 30 and "log(active units)" in named["DCI completeness"]["definition"]
    assert "impurity" in named["DCI completeness"]["importance"] and "decision tree" in named["SAP"]["predictor"]
    assert named["FactorVAE metric"]["votes"] == "10,000 + 5,000 of 64 images" and named["SAP"]["n_real"] == 400
    half = len(runs["faces"].pack.split("train")) // 2
    assert (named["SAP"]["fit_on"], named["SAP"]["judged_on"]) == (half, 400 - half)
