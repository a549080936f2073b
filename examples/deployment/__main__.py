"""`python -m examples.deployment`: deploys a new version of many services, and asks each which version it is."""

from __future__ import annotations

import contextlib
from collections import Counter

from examples.deployment.fleet import Fleet
from examples.deployment.models import NEW, Deployed, Inputs, Plan
from examples.deployment.workflows import DeployAll, DeployService, RollBackService
from examples.program import Asked, Parts, Scenario, main, note, running
from temporal_fanout.plugin import Expected

SCENARIOS = [
    Scenario("default", "one service in twenty breaks", "38 of 40 are updated, 2 keep the old version", Inputs()),
    Scenario("breach", "three in ten break", "all 40 are at the old version again, and the exit code is 1",
             Inputs(40, 0.3)),
]  # fmt: skip


async def example(asked: Asked[Inputs]) -> int:
    fleet = Fleet(asked.directory)
    with contextlib.ExitStack() as stack:
        stack.callback(fleet.close)
        services = fleet.open(asked.inputs)
        note(f"{len(services)} services behind the gateway at http://{fleet.gateway.address}/{services[0]}")
        expected = [
            Expected(DeployAll, work, asked.scenario) for work in (DeployService, RollBackService, Fleet.stop_old)
        ]
        parts = Parts([DeployAll, DeployService, RollBackService], fleet.activities, expected)
        plan = Plan(services, asked.inputs.tolerance)
        async with running(asked, "deployment", parts, DeployAll.run, plan) as deployed:
            return _report(deployed, fleet.versions(services))


def _report(deployed: Deployed, versions: dict[str, int]) -> int:
    for broken in deployed.broken:
        print(f"  broken {broken.service}: {broken.why}")
    for stuck in deployed.stuck:
        print(f"  NOT ROLLED BACK {stuck.service}: {stuck.why}")
    if deployed.breach:
        print(f"breach: {deployed.breach}")
        print(f"rolled back: {len(deployed.rolled_back)} services that had been updated")
    else:
        print(f"updated: {len(deployed.updated)} services; {len(deployed.broken)} rolled themselves back")
    answers = ", ".join(
        f"{count} are version {version}" for version, count in sorted(Counter(versions.values()).items())
    )
    print(f"asked through the gateway: {answers}")
    wrong = {name for name, version in versions.items() if version == NEW} ^ set(deployed.updated)
    for name in sorted(wrong):
        print(f"NOT TRUE: what was updated, and nothing else, is version {NEW}: see {name}")
    return 1 if wrong or deployed.breach else 0


if __name__ == "__main__":
    main(__doc__ or "", SCENARIOS, example)
