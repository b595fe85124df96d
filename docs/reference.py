"""Reference pages made from the program: every key of the configuration, every command with its options.

`python docs/reference.py` writes the table of config/README.md; the documentation site calls the rest when it is built.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"(<!-- keys -->\n).*(<!-- end of keys -->)", re.DOTALL)


def configuration() -> str:
    """The configuration, a table per group, as Markdown."""
    schema = _schema()
    lines = ["# Configuration reference", ""]
    lines.append(
        "Every key of `config.yaml`, from the schema that checks it (`deepfusion schema` prints it as JSON). A key "
        "that is left out has its default. A misspelt key stops the run with its line and a suggestion. Cores and "
        "clusters: `profiles/`, see [Slurm](../cluster.md)."
    )
    for group, rows in _groups(schema):
        lines += ["", f"## {group}", ""]
        lines += (
            [schema["$defs"][name]["description"], ""] if (name := _model(schema["properties"].get(group, {}))) else []
        )
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{key}` | {_type(of)} | {_default(of)} | {_cell(of.get('description', ''))} |" for key, of in rows
        ]
    return "\n".join(lines) + "\n"


def keys() -> str:
    """The same as one table, for config/README.md."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for _, rows in _groups(_schema()):
        lines += [f"| `{key}` | {_default(of)} | {_cell(of.get('description', ''))} |" for key, of in rows]
    return "\n".join(lines)


def command_line() -> str:
    """Every command with its arguments and options, as Markdown."""
    import typer

    from deepfusion.cli import app

    lines = [
        "# Command line",
        "",
        "The same text as `deepfusion COMMAND --help`. Exit status: 0 done; 1 the machine or ",
    ]
    lines[-1] += "a file refuses, or something is damaged; 2 usage error, one line; 3 some clips have no prediction."
    for name, command in typer.main.get_command(app).commands.items():
        lines += ["", f"## {name}", "", _cell(command.help), "", "| option | default | meaning |", "|---|---|---|"]
        for of in command.params:
            if of.param_type_name == "argument":
                spelled = of.metavar or of.name.upper()
            else:
                spelled = ", ".join([*of.opts, *of.secondary_opts])
            default = "required" if of.required else _value(of.default)
            lines.append(f"| `{_cell(spelled)}` | {default} | {_cell(of.help or '')} |")
    return "\n".join(lines) + "\n"


def readme(text: str) -> str:
    """config/README.md with its table of keys as the schema has it."""
    return MARK.sub(lambda match: f"{match[1]}\n{keys()}\n\n{match[2]}", text)


def _schema() -> dict[str, Any]:
    from deepfusion.config import Config

    return Config.model_json_schema(by_alias=True)


def _groups(schema: dict) -> Iterator[tuple[str, list[tuple[str, dict]]]]:
    """Group of the configuration -> its keys with dots and their schemas; keys outside any group come first."""
    outside = {key: of for key, of in schema["properties"].items() if _model(of) is None}
    yield "keys without a group", [(key, of | _resolved(schema, of)) for key, of in outside.items()]
    for group, of in schema["properties"].items():
        if group not in outside:
            yield group, list(_keys(schema, of, f"{group}."))


def _keys(schema: dict, group: dict, prefix: str) -> Iterator[tuple[str, dict]]:
    given = group.get("default", {})  # of the group as a whole, instead of the defaults of its keys
    for key, of in schema["$defs"][_model(group)]["properties"].items():
        if given.get(key, of.get("default")) != of.get("default"):
            of = of | {"default": given[key]}
        if _model(of):
            yield from _keys(schema, of, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", of | _resolved(schema, of)


def _model(of: dict) -> str | None:
    """Name of the group that a schema refers to."""
    return of["$ref"].rpartition("/")[2] if "$ref" in of else None


def _resolved(schema: dict, of: dict) -> dict:
    return schema["$defs"][name] if (name := _model(of)) else {}


def _type(of: dict) -> str:
    """Type and range in words."""
    if "anyOf" in of:
        return " or ".join(dict.fromkeys(_type(one) for one in of["anyOf"]))
    if "enum" in of:
        return ", ".join(f"`{value}`" for value in of["enum"])
    if "const" in of:
        return f"`{of['const']}`"
    if of.get("type") == "array":
        kinds = dict.fromkeys(_type(one) for one in of.get("prefixItems", [of.get("items", {})]))
        return f"list of {' or '.join(kinds)}"
    words = {
        "integer": "integer",
        "number": "number",
        "string": "text",
        "object": "mapping",
        "boolean": "true or false",
    }
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {of[name]:g}" for name, sign in signs.items() if name in of)
    return f"{words.get(of.get('type'), of.get('type', 'any'))}{' ' if bounds else ''}{bounds}"


def _default(of: dict) -> str:
    return _value(of.get("default"))


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "`…`, see `config.yaml`" if len(text) > 90 else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    path = ROOT / "config" / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit()
