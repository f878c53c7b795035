"""What the folders of a tree stand for, and what is said where they look like splits and are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.data.sources.layout import SPLITS, find_layout, split_in, split_of
from morphospace.errors import DataError


def by_split(*folders: str) -> dict[str, list[str | None]]:
    """The classes of one image in each folder, by split."""
    layout, found = find_layout("here", folders), dict[str, list[str | None]]()
    for folder in folders:
        name = f"{folder}/1.png" if folder else "1.png"
        found.setdefault(layout.split(name), []).append(layout.label(name))
    return found


@pytest.mark.parametrize("word", [form for word in SPLITS for form in (word, word.upper(), word.title())])
def test_every_word_in_any_case_is_a_split(word: str) -> None:
    assert split_of(word) == SPLITS[word.lower()]
    assert split_of(f"{word}_set") == split_of(f"{word}-images") == SPLITS[word.lower()]
    assert split_in(f"birds-{word}-00001.tar") == SPLITS[word.lower()]


@pytest.mark.parametrize("word", ["cats", "contest", "trainer", "test_1", "train test", "testset a", "", "2017"])
def test_other_words_are_none(word: str) -> None:
    assert split_of(word) is None


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (["Training/a", "Training/b", "Testing/a"], {"train": ["a", "b"], "test": ["a"]}),
        (["Train/a", "Valid/a", "TEST/b"], {"train": ["a"], "valid": ["a"], "test": ["b"]}),
        (["train2017", "val2017"], {"train": [None], "valid": [None]}),
        (["archive/chest_xray/train/a", "archive/chest_xray/test/b"], {"train": ["a"], "test": ["b"]}),
        (["training_set/training_set/a", "test_set/test_set/b"], {"train": ["a"], "test": ["b"]}),
        (["train/images/a", "test/images/b"], {"train": ["a"], "test": ["b"]}),
        (["a/train", "a/test", "b/train/deep"], {"train": ["a", "b"], "test": ["a"]}),
        (["train/a", "train/b"], {"train": ["a", "b"]}),
        (["birds/a", "birds/b"], {"train": ["a", "b"]}),
        (["birds"], {"train": ["birds"]}),
        (["", "a"], {"train": [None, "a"]}),
    ],
)
def test_folders_that_are_splits_and_classes(folders: list[str], wanted: dict[str, list[str]]) -> None:
    assert by_split(*folders) == wanted and find_layout("here", folders).notes == ()


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["apple", "pear", "test"], "test is no split with apple/ beside it"),
        (["train/a", "Test/a", "seg_pred"], "Test, train are no splits with seg_pred/ beside them"),
        (["a/train", "b/test", "c"], "a/train, b/test are no splits"),
        (["Testing/a", "Testing/b"], "Testing/ holds all images"),
        (["val/a", "test/a"], "test, val: there is no folder train"),
        (["", "train"], "train is no split with images in no folder"),
        (["test_1/a", "test_2/a"], "test_1, test_2: there is no folder train"),
    ],
)
def test_folders_that_only_look_like_splits_are_told(folders: list[str], said: str) -> None:
    found = find_layout("here", folders)
    assert found.at is None and len(found.notes) == 1 and said in found.notes[0] and "for training" in found.notes[0]


@pytest.mark.parametrize("folders", [["train", "test", ""], ["train", "Train"], ["train/a", "val/a", "dev/b"]])
def test_what_would_mix_splits_is_refused(folders: list[str]) -> None:
    with pytest.raises(DataError, match=r"into one|make them one"):
        find_layout("here", folders)


@given(st.sets(st.lists(st.sampled_from(["train", "Test", "val", "a", "b"]), max_size=4).map("/".join), min_size=1))
def test_every_tree_is_read_or_refused(folders: set[str]) -> None:
    try:
        layout = find_layout("here", folders)
    except DataError:
        return
    for folder in folders:
        name = f"{folder}/1.png" if folder else "1.png"
        assert layout.split(name) in ("train", "valid", "test")
        label = layout.label(name)
        assert label is None or label in folder.split("/")
