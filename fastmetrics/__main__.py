"""``python -m fastmetrics script.py``: run a program with torchmetrics replaced by this package."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

from fastmetrics.acceleration.reporting import OPTIONS, Options, begin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastmetrics",
        description="Run a Python program with torchmetrics replaced by fastmetrics.",
        usage="%(prog)s [-v] [--strict] [--check[=K]] [--profile] (script.py | -m module) args ...",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="a table of all metrics at exit"
    )
    parser.add_argument("--strict", action="store_true", help="what is not accelerated is an error")
    parser.add_argument(
        "--check",
        type=_updates,
        default=0,
        metavar="K",
        help="let torchmetrics see the first K updates of each metric too, compare all values,"
        " and exit with 1 if one differs",
    )
    parser.add_argument(
        "--profile", action="store_true", help="the time of each step of each metric"
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run a module")
    parser.add_argument("program", help="a script, or a module after -m")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="arguments of the program")
    return parser


def _updates(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"K must be a whole number of at least 1, got {text!r}.")
    return int(text)


def main() -> None:
    """Run the program that the command line names."""
    parser = _parser()
    asked = parser.parse_args([*_with_values(sys.argv[1:])])
    path = os.path.abspath(asked.program)  # a program may change the working directory
    inside = None if asked.module else PathFinder.find_spec("__main__", [path])
    if not asked.module and inside is None and not Path(path).is_file():
        parser.error(
            f"there is no script {asked.program!r}; a module is run by `-m {asked.program}`."
        )
    options = Options(asked.verbose, asked.strict, asked.check, asked.profile)
    os.environ[OPTIONS] = options.as_text()
    if options.strict:
        os.environ["FASTMETRICS_STRICT"] = "1"
    begin(options)
    sys.argv = [asked.program, *asked.args]
    if asked.module:
        sys.path[0] = os.getcwd()
        spec = _spec_of(asked.program)
        if spec is None:
            parser.error(f"there is no module {asked.program!r} that can be run.")
        sys.argv[0] = spec.origin
        _run(module_from_spec(spec), spec.loader.get_code(spec.name))
    elif inside is not None:  # a folder or an archive
        sys.path[0] = path
        _run(module_from_spec(inside), cast(Any, inside.loader).get_code("__main__"))
    else:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
        loader = SourceFileLoader("__main__", path)
        script = ModuleType("__main__")
        script.__dict__.update(__file__=path, __cached__=None, __loader__=loader)
        _run(script, loader.source_to_code(loader.get_data(path), path))


def _run(program: ModuleType, code: CodeType) -> None:
    """Run a module as ``__main__``, which it stays for threads and handlers that outlive it."""
    program.__name__ = "__main__"
    sys.modules["__main__"] = program
    exec(code, program.__dict__)


def _spec_of(name: str) -> Any:
    """Return where a module is, or the ``__main__`` of a package; None if it is nowhere."""
    *packages, module = itertools.accumulate(name.split("."), "{}.{}".format)
    specs = (importlib.util.find_spec(each) for each in packages)
    if not all(spec and spec.submodule_search_locations is not None for spec in specs):
        return None
    spec = importlib.util.find_spec(module)
    if spec and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{module}.__main__")
    return spec


def _with_values(arguments: list[str]) -> Iterator[str]:
    """Give `--check` its value, before the name of the program, which it must not take for it."""
    options = [*itertools.takewhile(lambda each: each.startswith("-"), arguments)]
    yield from (f"--check={sys.maxsize}" if each == "--check" else each for each in options)
    yield from arguments[len(options) :]


if __name__ == "__main__":
    main()
