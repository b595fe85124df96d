"""`deepfusion` and `python -m deepfusion`: the command line, or a one-line error if only the reader is installed."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from deepfusion.cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: the command line needs pip install 'deepfusion[pipeline]'")
    run()


if __name__ == "__main__":
    main()
