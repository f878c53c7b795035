"""Grids as users write them, the table, and the picture."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.errors import SettingError
from morphospace.tools.sweep.grid import combinations, parse_grid
from morphospace.tools.sweep.table import Drawn, Row, SweepTable, row_of, save_panels


def test_a_grid_is_the_product_of_its_values() -> None:
    runs = combinations("vae", None, parse_grid(["beta=0.5,4", "latent-dim=8,32"]), 1, {"batch_size": 16})
    assert [run.name for run in runs] == [
        "beta=0.5_latent_dim=8",
        "beta=0.5_latent_dim=32",
        "beta=4_latent_dim=8",
        "beta=4_latent_dim=32",
    ]
    last = runs[-1].configuration
    assert (last.model.beta, last.model.latent_dim, last.training.batch_size) == (4.0, 32, 16)
    assert runs[0].settings == {"beta": 0.5, "latent_dim": 8} and runs[0].words == ["beta=0.5", "latent_dim=8"]


def test_any_kind_of_setting_may_vary() -> None:
    words = ["widths=8+16,8", "likelihood=gaussian", "signed=yes,no", "batch_size=1e2", "size=16,32x24", "clip=.5"]
    runs = combinations("vae", None, parse_grid(words), 1, {})
    assert len(runs) == 8 and "widths=8+16" in runs[0].name and "signed=yes" in runs[0].name
    made = {(r.configuration.model.widths, r.configuration.model.signed, r.configuration.data.size) for r in runs}
    assert ((8, 16), True, "32x24") in made and ((8,), False, "16") in made
    optional = combinations("dcgan", None, parse_grid(["critic_lr=none,0.1"]), 1, {})
    assert [run.configuration.model.critic_lr for run in optional] == [None, 0.1]
    folders = combinations("vae", None, {"data": ["folder:/some/where", "digits"]}, 1, {})
    assert [run.name for run in folders] == ["data=folder-some-where", "data=digits"]


def test_lambda_and_seeds() -> None:
    runs = combinations("vae-gan", None, parse_grid(["lambda=0,1"]), 3, {"seed": 5})
    assert [run.name for run in runs][:4] == [
        "lambda=0_seed=5",
        "lambda=0_seed=6",
        "lambda=0_seed=7",
        "lambda=1_seed=5",
    ]
    assert runs[3].configuration.model.lambda_ == 1.0 and runs[3].settings == {"lambda": 1.0, "seed": 5}
    assert runs[3].configuration.to_dict()["model"]["lambda"] == 1.0


@pytest.mark.parametrize(
    ("words", "seeds", "shared", "message"),
    [
        (["beta"], 1, {}, "grid = 'beta': must be SETTING=VALUE"),
        (["beta="], 1, {}, "must be SETTING=VALUE"),
        (["beta=1", "beta=2"], 1, {}, "a second time"),
        (["betta=1"], 1, {}, "did you mean 'beta'"),
        (["beta=1,1.0"], 1, {}, "beta=1.*twice"),
        (["beta=much"], 1, {}, "beta = 'much': must be a number"),
        (["latent_dim=1.5"], 1, {}, "must be a whole number"),
        (["signed=maybe"], 1, {}, "must be yes or no"),
        (["beta=1,-1"], 1, {}, "beta = -1.0"),
        (["likelihood=gausian"], 1, {}, "must be one of"),
        (["beta=1"], 1, {"beta": 2.0}, "given as a flag as well"),
        (["seed=1,2"], 2, {}, "say the same"),
        (["beta=1"], 0, {}, "seeds = 0"),
        (["beta=1,2"], 501, {}, "seeds|makes"),
        (["beta=1,2,3"], 500, {}, "makes 1500 runs"),
        ([], 1, {}, "makes 1 runs|grid"),
    ],
)
def test_what_is_no_grid_is_refused_before_anything_is_trained(
    words: list[str], seeds: int, shared: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        combinations("vae", None, parse_grid(words), seeds, shared)


def lines(loss: float) -> list[dict[str, float]]:
    falling = [
        {"images": 8 * i, "seconds": i / 2, "vae/loss": loss - i, "vae/mse": 9.0, "vae/kl": 2.0} for i in range(4)
    ]
    return [*falling, {"images": 24, "seconds": 1.5, "valid/loss": loss, "valid/vae/mse": 0.5, "valid/vae/kl": 3.0}]


def test_a_row_is_the_runs_last_moment_on_held_out_images() -> None:
    row = row_of("a", {"beta": 1.0}, lines(9.0))
    assert (row.images, row.seconds, row.valid_loss, row.mse, row.kl) == (24, 1.5, 9.0, 0.5, 3.0)
    assert row.roughness == {"vae": 0.0}
    alone = row_of("a", {"beta": 1.0}, lines(9.0)[:-1], "SIGINT")
    assert (alone.valid_loss, alone.mse, alone.kl, alone.note) == (None, 9.0, 2.0, "SIGINT")
    assert row_of("a", {}, []).images == 0


def test_the_table_in_full_and_to_read(tmp_path: Path) -> None:
    rows = [
        Row("a", {"widths": (8, 16), "seed": 0}, 1000, 1.0, 1 / 3, None, None, {"vae": 0.25}),
        Row("b", {"widths": (8, 16), "seed": 1}, 1000, 1.0, 1.0, None, None, {"vae": 0.75}, "loss is nan | stopped"),
        Row("c", {"widths": (8,), "seed": 0}, 1000, 1.0, 5.0, None, None),
    ]
    table = SweepTable(rows)
    assert table.columns == ["widths", "seed", "images", "seconds", "held-out loss", "roughness vae", "note"]
    assert table.cells()[0] == ["8+16", "0", "1,000", "1", "0.33333", "0.25", ""]
    made, page = table.save(tmp_path)
    with made.open() as file:
        read = list(csv.DictReader(file))
    assert float(read[0]["held-out loss"]) == 1 / 3 and read[1]["run"] == "b" and read[2]["roughness vae"] == ""
    headings, summary = table.deviation_over_seeds()
    assert headings == ["widths", "seeds", "held-out loss", "roughness vae", "run with the lowest held-out loss"]
    assert summary == [["8+16", "2", "0.66667 ± 0.47", "0.5 ± 0.35", "a"], ["8", "1", "5", "", "c"]]
    text = page.read_text()
    assert all(line.count("|") == 8 for line in text.splitlines()[:5])
    assert "Mean and standard deviation" in text and "Roughness is" in text
    assert SweepTable(rows[2:]).deviation_over_seeds() == ([], [])
    swapped = SweepTable([replace(rows[0], valid_loss=2.0), rows[1], replace(rows[2], valid_loss=None)])
    assert [row[-1] for row in swapped.deviation_over_seeds()[1]] == ["a", ""]  # b stopped early, c has no loss
    ended = SweepTable([swapped.rows[0], replace(rows[1], note=""), swapped.rows[2]])
    assert [row[-1] for row in ended.deviation_over_seeds()[1]] == ["b", ""]
    unjudged = SweepTable([replace(row, valid_loss=None) for row in rows])
    assert unjudged.deviation_over_seeds()[0] == ["widths", "seeds", "roughness vae"]


def test_the_picture_has_a_row_a_run(tmp_path: Path) -> None:
    def plain(level: int, count: int, side: int = 8, channels: int = 1) -> np.ndarray:
        return np.full((count, side, side, channels), level, np.uint8)

    rows = [Drawn("beta=1", plain(10, 3), plain(20, 2)), Drawn("beta=4\nseed=1", plain(30, 3, 16, 3), None)]
    save_panels(tmp_path / "s.png", rows, plain(40, 2), {"seed": 0})
    picture = Image.open(tmp_path / "s.png")
    assert json.loads(picture.info["morphospace"]) == {"seed": 0}
    seen = np.asarray(picture)
    cell = 56 * 56
    for level, cells in ((10, 3), (20, 2), (30, 3), (40, 2)):
        assert (seen == level).all(2).sum() == pytest.approx(cells * cell, abs=40)  # the labels have greys of their own
    tops = [np.median(np.argwhere((seen == level).all(2))[:, 0]) for level in (40, 10, 30)]
    assert tops == sorted(tops)
    save_panels(tmp_path / "none.png", [Drawn("a", None, None)], None, {})
    assert not (tmp_path / "none.png").exists()


def test_a_name_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    rows = [Row("=1+1", {"data": "=cmd|' /C calc'!A0", "beta": -1.0}, 1, 1.0, 1.0, None, None, note="@SUM(A1)")]
    made, _ = SweepTable(rows).save(tmp_path)
    with made.open() as file:
        (read,) = csv.DictReader(file)
    assert (read["run"], read["data"], read["note"]) == ("'=1+1", "'=cmd|' /C calc'!A0", "'@SUM(A1)")
    assert read["beta"] == "-1.0"
