"""How many kernels a captured decode step has, for models of three layers; needs no GPU.

python bench/step_kernels.py [--out bench/results/step_kernels.json]

Counted on `meta` tensors by the suite's own checker, which compares with the committed table: a count may only fall.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers


def main() -> None:
    sys.path[0] = str(Path(__file__).parent.parent / "tests")  # instead of this folder, whose `engine` is another
    from engine.step_checker import ROWS, captured_step
    from engine.tiny_models import ARCHITECTURES, RECURRENT

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kernels: dict[str, int] = {}
    flags: dict[str, list[str]] = {}
    for architecture in ARCHITECTURES:
        if architecture in RECURRENT:
            continue
        try:
            checker = captured_step(architecture)
        except (RuntimeError, NotImplementedError) as error:  # `meta` tensors have no values to wait for
            flags[architecture] = [str(error).splitlines()[0]]
        else:
            kernels[architecture] = checker.kernels.total()
            flags[architecture] = sorted(set(checker.flags))
        print(f"{architecture:14} {kernels.get(architecture, '')!s:5}", *flags[architecture])
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    if options.out:
        report = {"versions": versions, "rows": ROWS, "layers": 3, "kernels": kernels, "flags": flags}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
