"""The entry of the command `taco-stream`, and of `python -m taco_stream`."""

import sys


def main() -> None:
    """Runs the command line. Its import takes a good part of a second, in which Ctrl-C has to be as quiet as later."""
    try:
        from taco_stream.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
