"""The public corpora that adapters read, as text."""

from collections.abc import Sequence
from textwrap import indent

from deepfusion.corpora import adapter, public
from deepfusion.errors import UserError


def described(names: Sequence[str] = ()) -> str:
    """Describe each corpus: expected files, classes, options, terms, owner and citation.

    Args:
        names: Adapters; none: all.

    Raises:
        UserError: There is no such adapter.
    """
    if unknown := [name for name in names if name not in public()]:
        raise UserError(f"there is no adapter {unknown[0]!r}; there are {', '.join(public())}")
    return "\n\n".join(map(_card, names or public()))


def _card(name: str) -> str:
    module = adapter(name)
    labels = module.LABELS if isinstance(module.LABELS, dict) else {"": module.LABELS}
    classes = [f"classes{f' ({which})' if which else ''}: {', '.join(names)}" for which, names in labels.items()]
    options = getattr(module, "OPTIONS", {})
    choices = [f"option {option}: {', '.join(values)} (default {values[0]})" for option, values in options.items()]
    lines = [
        f"{name}: {module.__doc__.splitlines()[0]}",
        "    files in corpus.path:",
        indent(module.TREE, " " * 8),
        *(f"    {line}" for line in (*classes, *choices)),
        f"    terms: {module.LICENCE}",
        f"    from: {module.OWNER}",
        f"    cite: {module.CITATION}",
    ]
    return "\n".join(lines)
