"""Shared parts of the HTML pages: colours in light and dark, basic style, tables that sort and filter."""

# Role -> colour. tests/report/test_base_template.py checks the contrasts of text (WCAG 2.2, 1.4.3: 4.5 : 1) and of
# lines, marks and borders of fields (1.4.11: 3 : 1). `heat` is the strongest background of a cell with text in `ink`.
LIGHT = {
    "ink": "#1d2430",
    "dim": "#586174",
    "paper": "#ffffff",
    "panel": "#f4f6f9",
    "line": "#d4d9e2",
    "edge": "#7a8496",
    "bar": "#2b6cb0",
    "other": "#74889f",
    "warn": "#9a3412",
    "heat": "#7fb2e5",
    "series0": "#0072b2",
    "series1": "#b5480a",
    "series2": "#00775a",
    "series3": "#a3437a",
}
DARK = {
    "ink": "#e6e9ef",
    "dim": "#a3adbf",
    "paper": "#14181f",
    "panel": "#1d232d",
    "line": "#384253",
    "edge": "#7d899d",
    "bar": "#63a4e8",
    "other": "#6f879f",
    "warn": "#fdba74",
    "heat": "#28598c",
    "series0": "#56b4e9",
    "series1": "#f0a35e",
    "series2": "#3fc79d",
    "series3": "#e08fc0",
}
SERIES = sum(name.startswith("series") for name in LIGHT)


def head(title: str, *, allow: str = "") -> str:
    """The head of a page, as a template with the variable `style`.

    Args:
        title: Text or template.
        allow: Further directives of the content security policy, which otherwise allows embedded images only.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; {allow}
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{{{{ style }}}}</style>
</head>
"""


def _roles(colours: dict[str, str]) -> str:
    return "; ".join(f"--{role}: {colour}" for role, colour in colours.items())


# A page in dark mode prints as in light mode.
STYLE = f"""
:root {{ color-scheme: light dark; --accent: #ff8c00; {_roles(LIGHT)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_roles(DARK)} }} }}
@media print {{ :root {{ color-scheme: light }} }}
* {{ box-sizing: border-box }}
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper) }}
a {{ color: var(--bar) }}
:focus-visible {{ outline: 3px solid var(--bar); outline-offset: 2px }}
.filter {{ display: flex; gap: .6rem; align-items: center; margin: 1rem 0 .4rem; flex-wrap: wrap }}
input[type=search] {{ font: inherit; padding: .3rem .5rem; border: 1px solid var(--edge); border-radius: 4px;
  background: var(--paper); color: inherit; width: 16rem; max-width: 100% }}
.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }}
th button {{ font: inherit; font-weight: 600; border: 0; background: none; color: inherit; padding: 0; cursor: pointer;
  text-align: inherit }}
th button::after {{ content: "\\a0\\2195"; color: var(--dim); font-weight: 400 }}
th[aria-sort=ascending] button::after {{ content: "\\a0\\25b2"; color: inherit }}
th[aria-sort=descending] button::after {{ content: "\\a0\\25bc"; color: inherit }}
.number {{ text-align: right; white-space: nowrap }}
.none {{ color: var(--warn) }} .dim {{ color: var(--dim) }}
.lane {{ position: relative; background: var(--panel); overflow: hidden }}
.lane svg, .lane img {{ display: block; width: 100%; height: 100% }} .curves {{ height: 150px }}
.band {{ height: 26px }} .spectrogram {{ height: 130px }} .spectrogram .over {{ position: absolute; inset: 0 }}
.lane img {{ image-rendering: auto }} .band img {{ image-rendering: pixelated }}
.edge {{ position: absolute; left: 3px; font-size: .72rem; color: var(--dim); pointer-events: none }}
.spectrogram .edge {{ color: #eee; text-shadow: 0 0 3px #000 }}
.axis {{ position: relative; height: 1.3rem; font-size: .75rem; color: var(--dim) }}
.axis span {{ position: absolute; border-left: 1px solid var(--dim); padding-left: 3px; white-space: nowrap }}
.legend {{ display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .82rem; padding: 0; margin: .2rem 0;
  list-style: none }}
.legend svg {{ width: 1.6rem; height: .6rem; vertical-align: middle }}
.gap {{ fill: url(#hatch); stroke: var(--dim); stroke-width: 1 }}
@media print {{ body {{ max-width: none; margin: 0 }} .filter, nav, .skip {{ display: none }}
  th button::after {{ content: "" !important }} .lane {{ print-color-adjust: exact }} }}
"""

HATCH = """<svg width="0" height="0" aria-hidden="true" style="position: absolute"><defs>
<pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<path d="M0 0V8" stroke="gray" stroke-width="4"/></pattern></defs></svg>
"""

# A search field filters the table of its `aria-controls` and the elements of the rows' `data-clip`; its next sibling
# shows the count. A button in a table head sorts by the cells' `data-value`, else by their text.
TABLES = """
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
for (const search of all("input[type=search]")) search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const fits = (text) => words.every((word) => text.toLowerCase().includes(word));
  const rows = all("tbody tr", document.getElementById(search.getAttribute("aria-controls")));
  for (const row of rows) {
    row.hidden = !fits(row.textContent);
    const clip = row.dataset.clip && document.getElementById(row.dataset.clip);
    if (clip) clip.hidden = row.hidden;
  }
  const count = search.nextElementSibling;
  count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " " + count.dataset.noun;
});
for (const button of all("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, column = head.cellIndex, down = head.getAttribute("aria-sort") !== "descending";
  all("th", head.parentElement).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const order = (a, b) => (isNaN(value(a)) || isNaN(value(b)) ? value(a).localeCompare(value(b)) : value(a) - value(b));
  const body = button.closest("table").tBodies[0];
  body.append(...all("tr", body).sort((a, b) => (down ? -1 : 1) * order(a, b)));
});
"""
