"""What is said can be written, whatever the stream and the file's name."""

from __future__ import annotations

import io

from morphospace.cli.talk import sayable


def test_bytes_that_are_no_text_are_spelled_out() -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert sayable("skipped caf\udce9.png, Zoë", plain) == "skipped caf\\udce9.png, Zoë"
    assert sayable("Zoë", io.TextIOWrapper(io.BytesIO(), encoding="ascii")) == "Zo\\xeb"
