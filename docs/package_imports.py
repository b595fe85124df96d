"""The table of imports between the packages of `deepfusion`, for docs/architecture.md and tests/test_imports.py.

Read from the source, imports inside functions included: `python docs/package_imports.py` prints it.
"""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "deepfusion"

# From the bottom up: a package imports only from layers before its own.
LAYERS = (
    ("device", "errors", "malloc", "mel", "numba_cache", "progress", "responsible_use", "versions"),
    ("atomic", "cache_key", "costs", "csvfile", "framing", "sharding"),
    ("checkpoint", "config", "corpora", "media", "spectrogram"),
    ("faces", "store"),
    ("networks", "evaluation", "without_media"),
    ("fer2013", "plan", "speech"),
    ("extract",),
    ("fusion",),
    ("report",),
    ("prediction",),
    ("doctor", "exchange"),
    ("cli",),
    ("__main__",),
)


def names() -> set[str]:
    """Modules and packages directly below `deepfusion`."""
    return {_name(path) for path in SOURCE.rglob("*.py")} - {"deepfusion"}


def imported() -> dict[str, dict[str, list[str]]]:
    """Package -> package that it imports -> files that do. `deepfusion/__init__.py` imports lazily and is left out."""
    known, found = names(), {}
    for path in sorted(SOURCE.rglob("*.py")):
        own = _name(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node):
                if target in known - {own} and own != "deepfusion":
                    files = found.setdefault(own, {}).setdefault(target, [])
                    files.append(path.relative_to(SOURCE).as_posix())
    return found


def upward(found: dict[str, dict[str, list[str]]]) -> list[str]:
    """A line for each import of a layer that is not below."""
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    return [
        f"{file} imports {target}, which stands above {own}"
        for own, targets in found.items()
        for target, files in targets.items()
        if level[target] >= level[own]
        for file in files
    ]


def table(found: dict[str, dict[str, list[str]]]) -> str:
    """Packages from the top down, each with what it imports, as Markdown."""
    order = [name for layer in LAYERS for name in layer]
    lines = ["| package | imports |", "|---|---|"]
    for name in reversed(order):
        targets = sorted(found.get(name, {}), key=order.index)
        lines.append(f"| `{name}` | {', '.join(f'`{target}`' for target in targets)} |")
    return "\n".join(lines)


def _name(path: Path) -> str:
    first = path.relative_to(SOURCE).with_suffix("").parts[0]
    return "deepfusion" if first == "__init__" else first


def _targets(node: ast.AST) -> list[str]:
    """Names directly below `deepfusion` that an import statement names."""
    if isinstance(node, ast.Import):
        modules = [name.name for name in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module == "deepfusion":
        modules = [f"deepfusion.{name.name}" for name in node.names]
    elif isinstance(node, ast.ImportFrom):
        modules = [node.module or ""]
    else:
        modules = []
    return [module.split(".")[1] for module in modules if module.startswith("deepfusion.")]


if __name__ == "__main__":
    print(table(imported()))
