"""The command line: ``telamon`` or ``python -m telamon``."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module

from telamon import __version__, _info

# These parse what follows them. Imported when called: they need more than NumPy.
_DELEGATED = {
    "demo": ("telamon._demo", "main", "fit real features by SciPy and by telamon, side by side"),
    "bench": ("telamon._bench", "main", "measure accuracy and speed on this machine"),
    "quantize": ("telamon.quant._cli", "quantize", "a language model's weights in few bits"),
    "eval": ("telamon.quant._cli", "evaluate", "the perplexity of texts under a language model"),
    "generate": ("telamon.quant._cli", "generate", "continue a text by a language model"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telamon", description="Numerical kernels to their full precision, for NumPy, PyTorch, JAX, C++ and CUDA."
    )
    parser.add_argument("--version", action="version", version=f"telamon {__version__}")
    parser.add_argument(
        "--cmakedir", action="store_true", help="print the folder of the CMake package, for cmake -Dtelamon_DIR=..."
    )
    parser.add_argument("--includes", action="store_true", help="print the compiler flag that finds the C++ headers")
    commands = parser.add_subparsers(dest="command", metavar=f"{{info,{','.join(_DELEGATED)}}}")
    info = commands.add_parser("info", help="print version, instruction set, threads, CUDA and libraries found")
    info.add_argument("--json", action="store_true", help="for machines")
    for name, (_, _, text) in _DELEGATED.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, without the program's name; those of the process if not given.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in _DELEGATED:
        module, function, _ = _DELEGATED[argv[0]]
        return int(getattr(import_module(module), function)(argv[1:]) or 0)

    parser = _parser()
    args = parser.parse_args(argv)
    if args.cmakedir:
        print(_info.CMAKE_DIR)
    elif args.includes:
        print(f"-I{_info.INCLUDE_DIR}")
    elif args.command == "info":
        if args.json:
            print(json.dumps(_info.config(), indent=2))
        else:
            _info.show_config()
    else:
        parser.print_help()
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
