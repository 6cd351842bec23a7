"""Small pieces of HTML. Whatever comes from the data passes through `esc`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

CSS = """
:root { --ink:#1f2933; --muted:#5b6770; --line:#dfe4e8; --soft:#f5f7f9; --accent:#2f6db3; }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:#fff; color:var(--ink); line-height:1.55;
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main { max-width:1160px; margin:0 auto; padding:28px 24px 64px; }
h1 { font-size:1.75rem; line-height:1.25; margin:0 0 .5rem; overflow-wrap:anywhere; }
h2 { font-size:1.25rem; margin:2.6rem 0 .6rem; padding-top:.9rem;
  border-top:1px solid var(--line); }
h3 { font-size:1rem; margin:1.4rem 0 .4rem; overflow-wrap:anywhere; }
p, li { max-width:75ch; overflow-wrap:anywhere; }
.kicker { color:var(--muted); margin:0 0 .4rem; font-size:.9rem; }
.headline { font-size:1.08rem; border-left:4px solid var(--accent); background:var(--soft);
  padding:.8rem 1rem; margin:1rem 0; max-width:none; }
.warning { border-left:4px solid #b3541e; background:#fdf5ef; padding:.6rem 1rem; max-width:none; }
.muted, figcaption { color:var(--muted); font-size:.88rem; }
nav { margin:.8rem 0 0; font-size:.92rem; }
nav a { margin-right:1rem; white-space:nowrap; }
a { color:var(--accent); }
.facts { display:grid; grid-template-columns:repeat(auto-fit,minmax(130px,1fr)); gap:.6rem;
  margin:1rem 0; padding:0; }
.facts div { border:1px solid var(--line); border-radius:6px; padding:.5rem .7rem; min-width:0; }
.facts dt { color:var(--muted); font-size:.8rem; }
.facts dd { margin:0; font-weight:600; overflow-wrap:anywhere; }
.scroll { overflow-x:auto; -webkit-overflow-scrolling:touch; margin:.6rem 0 1rem; }
table { border-collapse:collapse; font-size:.9rem; font-variant-numeric:tabular-nums; }
th, td { padding:.36rem .5rem; text-align:right; border-bottom:1px solid var(--line);
  white-space:nowrap; }
th + th, td + td { padding-left:.75rem; }
th { font-weight:600; color:var(--muted); vertical-align:bottom; }
th:first-child, td:first-child { text-align:left; position:sticky; left:0; background:#fff;
  max-width:20rem; min-width:9rem; white-space:normal; overflow-wrap:anywhere; }
td.text, th.text { text-align:left; }
tr.chosen td, tr.chosen td:first-child { background:#eaf1f9; font-weight:600; }
tr.head td { border-bottom:1px solid var(--muted); padding-top:.8rem; }
tr.off td { color:var(--muted); }
td b { color:var(--accent); }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));
  gap:1.1rem 1.4rem; margin:.8rem 0; }
figure { margin:0; min-width:0; max-width:520px; }
figure img { width:100%; height:auto; display:block; }
pre { background:var(--soft); border:1px solid var(--line); border-radius:6px; padding:.7rem .9rem;
  overflow-x:auto; font-size:.85rem; }
code { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; font-size:.9em; }
@media (max-width:560px) {
  main { padding:18px 14px 40px; }
  h1 { font-size:1.4rem; }
  .headline { font-size:1rem; }
  th, td { padding:.32rem .5rem; }
  th:first-child, td:first-child { max-width:9.5rem; min-width:7.5rem; }
}
@media print { main { max-width:none; } section { break-inside:avoid-page; } }
"""


def esc(text: Any) -> str:
    """Text made safe for HTML, inside and outside attributes."""
    return html.escape(str(text), quote=True)


def number(value: Any, digits: int = 4) -> str:
    """A number in a table: a true minus sign, a dash for none."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "\u2013"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value).replace("-", "\u2212")
    if np.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    size = abs(float(value))
    if size != 0 and (size >= 1e7 or size < 1e-4):
        return f"{value:.{digits - 1}e}".replace("-", "\u2212")
    decimals = max(0, digits - 1 - int(np.floor(np.log10(size)))) if size else 0
    return f"{value:.{min(decimals, 6)}f}".replace("-", "\u2212")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    classes: Sequence[str] | None = None,
    text: Sequence[int] = (),
) -> str:
    """A table that scrolls sideways on narrow screens.

    Parameters
    ----------
    head, rows : sequences of str
        Cells as finished HTML: escape texts before.
    classes : sequence of str, optional
        Class of each row.
    text : sequence of int
        Columns aligned to the left.
    """
    classes = classes or [""] * len(rows)
    mark = [' class="text"' if j in text else "" for j in range(len(head))]
    top = "".join(f'<th scope="col"{mark[j]}>{cell}</th>' for j, cell in enumerate(head))
    body = "".join(
        f"<tr{f' class={chr(34)}{name}{chr(34)}' if name else ''}>"
        + "".join(f"<td{mark[j]}>{cell}</td>" for j, cell in enumerate(row))
        + "</tr>"
        for name, row in zip(classes, rows, strict=True)
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def frame(data: Any, corner: str = "") -> str:
    """A DataFrame of numbers with its index as the first column."""
    head = [esc(corner), *[esc(name) for name in data.columns]]
    rows = [
        [esc(name), *[number(value) for value in values]]
        for name, values in zip(data.index, data.to_numpy(), strict=True)
    ]
    return table(head, rows)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Short facts side by side; names and values are escaped here."""
    cells = "".join(f"<div><dt>{esc(n)}</dt><dd>{esc(v)}</dd></div>" for n, v in pairs)
    return f'<dl class="facts">{cells}</dl>'


def bullets(lines: Sequence[str]) -> str:
    """A list of sentences, escaped here."""
    return "<ul>" + "".join(f"<li>{esc(line)}</li>" for line in lines) + "</ul>" if lines else ""


def page(title: str, body: str) -> str:
    """The whole document; it loads nothing and runs nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
