"""The command line, `morpho`: verbs over the library, their flags made from the settings' dataclasses."""

from __future__ import annotations

from morphospace.cli.app import main

__all__ = ["main"]
