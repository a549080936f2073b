"""`fanout scenarios`"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from temporal_fanout.cli.output import Format, out, print_json
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.process.exit import ExitCode


def scenarios(
    output: Annotated[Format, typer.Option(help="How to write the list.")] = Format.TABLE,
) -> int:
    """List the scenarios: named inputs, with what each teaches and what is to be expected of it."""
    if output is Format.JSON:
        print_json(
            [
                {
                    "name": s.name,
                    "workflow": s.workflow,
                    "inputs": s.inputs,
                    "teaches": s.teaches,
                    "expected": s.expected,
                }
                for s in SCENARIOS.values()
            ]
        )
        return ExitCode.DONE
    table = Table("scenario", "items", "teaches", "to be expected", box=None, pad_edge=False)
    for s in SCENARIOS.values():
        table.add_row(s.name, "" if s.items is None else str(s.items), s.teaches, s.expected)
    out().print(table)
    return ExitCode.DONE
