"""Charts as inline SVG: columns in layers, bars and a line. No script, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

COLOURS = ("#31572c", "#90a955", "#e9c46a", "#e07a5f", "#457b9d")

_WIDTH, _HEIGHT = 860, 280
_LEFT, _TOP, _BOTTOM = 64, 12, 30


def columns(labels: Sequence[str], layers: Mapping[str, Sequence[int | None]], unit: Callable[[float], str]) -> str:
    """A column for each label, of one layer on the other; a label without numbers has a hatched gap."""
    sums = [sum(filter(None, column)) for column in zip(*layers.values(), strict=True)]
    top = _round_up(max(sums, default=0) or 1)
    step = (_WIDTH - _LEFT) / len(labels)
    wide = step * 0.62
    body = [_grid(top, unit)]
    for place, label in enumerate(labels):
        left, base = _LEFT + step * place + (step - wide) / 2, float(_HEIGHT - _BOTTOM)
        if any(values[place] is None for values in layers.values()):
            box = f'x="{left:.1f}" y="{_TOP}" width="{wide:.1f}" height="{base - _TOP}"'
            body.append(f'<rect {box} fill="url(#gap)"><title>{escape(label)}: no data</title></rect>')
        for colour, (name, values) in zip(COLOURS, layers.items(), strict=False):
            value = values[place] or 0
            high = value / top * (_HEIGHT - _TOP - _BOTTOM)
            base -= high
            title = f"<title>{escape(label)}, {escape(name)}: {unit(value)}</title>"
            box = f'x="{left:.1f}" y="{base:.1f}" width="{wide:.1f}" height="{high:.1f}"'
            body.append(f'<rect {box} fill="{colour}">{title}</rect>')
        body.append(_label(left + wide / 2, label))
    return _svg(body) + _legend(list(layers))


def line(labels: Sequence[str], values: Sequence[float | None], unit: Callable[[float], str]) -> str:
    """A line through the values, with a hole where there is none."""
    known = [value for value in values if value is not None]
    low, high = _bounds(known)
    step = (_WIDTH - _LEFT) / len(labels)
    body = [_grid(high, unit, low)]
    before: tuple[float, float] | None = None
    for place, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = _LEFT + step * (place + 0.5)
        body.append(_label(x, label))
        if value is None:
            before = None
            continue
        y = _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        if before:
            at = f'x1="{before[0]:.1f}" y1="{before[1]:.1f}" x2="{x:.1f}" y2="{y:.1f}"'
            body.append(f'<line {at} stroke="{COLOURS[0]}" stroke-width="2.5" stroke-linecap="round"/>')
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[0]}">'
        body.append(f"{dot}<title>{escape(label)}: {unit(value)}</title></circle>")
        is_low = all(value < other for other in _neighbours(values, place))
        beside = y + 21 if is_low else y - 11  # where the line does not pass
        body.append(f'<text class="value" x="{x:.1f}" y="{beside:.1f}">{unit(value)}</text>')
        before = x, y
    return _svg(body)


def bars(values: Mapping[str, int], unit: Callable[[float], str]) -> str:
    """A bar for each, the longest first."""
    most = max(values.values(), default=0) or 1
    rows = []
    for name, value in sorted(values.items(), key=lambda entry: -entry[1]):
        bar = f'<span class="bar" style="width:{70 * value / most:.1f}%"></span>'
        rows.append(f'<div class="row"><span class="name">{escape(name)}</span><span>{bar} {unit(value)}</span></div>')
    return f'<div class="bars">{"".join(rows)}</div>'


def _svg(body: Sequence[str]) -> str:
    hatch = (
        '<defs><pattern id="gap" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="8" height="8" fill="#f1efe9"/><line y2="8" stroke="#d9d4c7" stroke-width="4"/></pattern></defs>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{hatch}{"".join(body)}</svg>'


def _grid(high: float, unit: Callable[[float], str], low: float = 0) -> str:
    lines = []
    for part in range(5):
        value = low + (high - low) * part / 4
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part / 4
        lines.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}" stroke="#e6e2d8"/>')
        lines.append(f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}">{unit(value)}</text>')
    return "".join(lines)


def _label(x: float, text: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{_HEIGHT - 8}">{escape(text)}</text>'


def _legend(names: Sequence[str]) -> str:
    marks = (f'<span><i style="background:{c}"></i>{escape(n)}</span>' for c, n in zip(COLOURS, names, strict=False))
    return f'<div class="legend">{"".join(marks)}</div>'


def _neighbours(values: Sequence[float | None], place: int) -> list[float]:
    around = [values[other] for other in (place - 1, place + 1) if 0 <= other < len(values)]
    return [value for value in around if value is not None] or [0]


def _round_up(value: float) -> float:
    """The next number with a handsome quarter."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next(size * factor for factor in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if size * factor >= value)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Around the values, in steps of four."""
    if not values:
        return 0, 4
    low = 4 * ((min(values) - 1) // 4)
    high = -4 * ((-max(values) - 2) // 4)
    return low, high
