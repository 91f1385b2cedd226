"""A bar chart as SVG, on a logarithmic scale, for light and dark pages."""

from __future__ import annotations

import math
from html import escape

_WIDTH, _LABEL, _ROW, _TOP = 760, 230, 26, 44


def bars(title: str, unit: str, groups: dict[str, dict[str, float]]) -> str:
    """Return a chart: for each group its bars, by label."""
    values = [value for group in groups.values() for value in group.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    scale = (_WIDTH - _LABEL - 70) / max(1, high - low)
    parts, y = [], _TOP
    for power in range(low, high + 1):
        x = _LABEL + (power - low) * scale
        label = f"{10.0**power:g}"
        parts.append(f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="{_TOP - 10}" y2="100%"/>')
        parts.append(f'<text class="axis" x="{x:.0f}" y="{_TOP - 14}" text-anchor="middle">{label}</text>')
    for name, group in groups.items():
        y += 16
        parts.append(f'<text class="group" x="8" y="{y}">{escape(name)}</text>')
        y += 8
        for label, value in group.items():
            length = max(2.0, (math.log10(value) - low) * scale) if value > 0 else 0.0
            kind = "ours" if "outlive" in label else "other"
            parts.append(f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
            parts.append(f'<rect class="{kind}" x="{_LABEL}" y="{y + 3}" width="{length:.0f}" height="16"/>')
            parts.append(f'<text x="{_LABEL + length + 6:.0f}" y="{y + 15}">{value:.3g}</text>')
            y += _ROW
    style = (
        "text{font:12px sans-serif;fill:#222}.group,.title{font-weight:bold}.grid{stroke:#8884}"
        ".ours{fill:#2a7d4f}.other{fill:#9a9a9a}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" '
        f'viewBox="0 0 {_WIDTH} {y + 10}" role="img" aria-label="{escape(title)}"><style>{style}</style>'
        f'<text class="title" x="8" y="18">{escape(title)} ({escape(unit)}, logarithmic)</text>'
        f"{''.join(parts)}</svg>\n"
    )
