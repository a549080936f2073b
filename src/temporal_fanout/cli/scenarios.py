"""`fanout scenarios`"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from temporal_fanout.cli.output import Format, out, print_json
from temporal_fanout.process import ExitCode
from temporal_fanout.scenarios import SCENARIOS


def scenarios(
    output: Annotated[Format, typer.Option(help="How to write the list.")] = Format.TABLE,
) -> int:
    """List the scenarios: named inputs, with what each shows and what is to be expected of it."""
    if output is Format.JSON:
        print_json(
            [
                {
                    "name": s.name,
                    "items": len(s.values),
                    "options": s.options,
                    "shows": s.shows,
                    "expected": s.expected,
                }
                for s in SCENARIOS.values()
            ]
        )
        return ExitCode.DONE
    table = Table("scenario", "items", "shows", "expected", box=None, pad_edge=False)
    for s in SCENARIOS.values():
        table.add_row(s.name, str(len(s.values)), s.shows, s.expected)
    out().print(table)
    return ExitCode.DONE
