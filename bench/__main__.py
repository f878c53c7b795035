"""`python -m bench [COMMAND]`: one measurement, or all of them with their defaults when none is named,
but for those that train for hours, or need a release that was built.

A measurement is a module of this package with a docstring, `add_arguments(parser)` and `main(arguments) -> int`;
it joins by a line in `COMMANDS`. It must be cheap to import: what needs torch belongs into a process of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS: dict[str, str] = {
    "speed": "bench.speed",
    "step": "bench.step",
    "modes": "bench.modes",
    "decode": "bench.decode",
    "streaming": "bench.streaming",
    "throughput": "bench.throughput",
    "morph": "bench.morph",
    "distances": "bench.distances",
    "evaluation": "bench.evaluation",
    "studio": "bench.studio",
    "page": "bench.page",
    "play": "bench.play",
    "presets": "bench.presets",
    "watching": "bench.watching",
    "tapes": "bench.tapes",
    "server": "bench.server",
    "gradio": "bench.gradio",
    "tables": "bench.tables",
    "sizes": "bench.sizes",
    "kills": "bench.kills",
    "abuse": "bench.abuse",
    "faces": "bench.faces",
    "lesson-faces": "bench.lesson_faces",
    "features": "bench.features",
    "rehearsal": "bench.rehearsal",
    "release": "bench.release",
    "quality": "bench.quality",
    "zoo": "bench.zoo",
    "gpu": "bench.gpu",
}


# Hours of training, what `make dist` has built, or a GPU.
APART = frozenset({"tables", "faces", "lesson-faces", "tapes", "release", "quality", "zoo", "gpu"})


def make_parser() -> argparse.ArgumentParser:
    """Build the parser with a subcommand for every measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure morphospace side by side.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, path in COMMANDS.items():
        module = import_module(path)
        lines = (module.__doc__ or "").strip().splitlines()
        subparser = subparsers.add_parser(
            name,
            help=lines[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(main=module.main)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement that the command line names, or all but the longest."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    if argv:
        chosen = [argv]
    else:
        chosen = [[name] for name in COMMANDS if name not in APART]
    for words in chosen:
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.error("name a COMMAND, or give no argument at all to run every one")
        if status := arguments.main(arguments):
            return int(status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
