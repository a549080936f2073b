"""Runs the default scenario, and fails unless what became of its items is what is to be expected: `helm test`."""

import json
import subprocess
import sys

command = ["fanout", "run", "default", "--output=json", *sys.argv[1:]]
ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
if ended.returncode:
    sys.exit(ended.returncode)
result = json.loads(ended.stdout)
found = (
    {entry["value"]: entry["result"] for entry in result["successful_results"]},
    {entry["value"]: entry["error"] for entry in result["failed_children"]},
)
expected = ({1: 2, 3: 6, 5: 10}, {value: f"Simulated failure for value {value}" for value in (2, 4)})
if found != expected:
    sys.exit(f"error: the run {result['workflow_id']} gave {found}, not {expected}")
print(f"{result['workflow_id']}: 3 of 5 items completed, and the two even ones failed, as expected")
