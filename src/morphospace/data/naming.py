"""Names of classes: the order in which people count them, and which class a name or a number means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from morphospace.data.pack import composed
from morphospace.errors import SettingError, nearest
from morphospace.records import is_count

SHOWN = 40  # most names that a message lists


def counting_key(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people count: numbers in them by their value.

    >>> sorted(["class 10", "class 2", "a"], key=counting_key)
    ['a', 'class 2', 'class 10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def display_order(names: Sequence[str]) -> list[int]:
    """Return the numbers of classes in the order to show them in.

    Names that a source sorted as texts are sorted as people count. An order of the data's own stays.

    >>> display_order(["1", "10", "2"]), display_order(["T-shirt", "Trouser", "Bag"])
    ([0, 2, 1], [0, 1, 2])
    """
    order = range(len(names))
    if list(names) != sorted(names):
        return list(order)
    return sorted(order, key=lambda number: (counting_key(names[number]), number))


def class_number(wanted: int | str, names: Sequence[str]) -> int:
    """Return the number of the class that is meant: by its name first, else by its number.

    Where all names are numbers, a number that is no name means nothing.

    Raises:
        SettingError: If there is no such class.
    """
    text, most, known = composed(str(wanted)), len(names) - 1, [composed(name) for name in names]
    for same in (text, text.strip()):
        if same in known:
            return known.index(same)
    text = text.strip()
    numbered = all(re.fullmatch(r"-?[0-9]+", name) for name in names)
    if not numbered and is_count(text) and int(text) <= most:
        return int(text)
    ordered = [names[number] for number in display_order(names)]
    if re.fullmatch(r"-?[0-9]+", text):
        listed = f"{', '.join(ordered[:SHOWN])}{', ...' if len(ordered) > SHOWN else ''}"
        way_out = f"give one of {listed}" if numbered else f"give a number from 0 to {most}, or a name"
        way_out = f"give a number from 0 to {most}" if list(names) == [str(n) for n in range(most + 1)] else way_out
        raise SettingError("label", wanted, "no such class", way_out)
    way_out = "give a name" if numbered else f"give a name, or a number from 0 to {most}"
    close = nearest(text, ordered) if most < SHOWN or difflib.get_close_matches(text, ordered) else ""
    raise SettingError("label", wanted, f"no such class{close}", way_out)
