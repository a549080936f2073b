"""docs/tutorial.md on kind: its last step as it stands, and those before it against the server in the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from temporal_fanout.process.ports import free_port
from tests.docs.page import Section, check, moved, running
from tests.docs.test_tutorial import METRICS_PORT, ON_KIND, STEPS
from tests.e2e.cluster import Namespace, until
from tests.e2e.conftest import as_a_newcomer, namespace

DEPLOY, *ON, REMOVE = ON_KIND
REACH = next(section for section in ON if section.title == "The server, from here")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def mine(api: str, image: None) -> Iterator[Namespace]:
    with namespace(api, "tutorial") as made:
        yield made


@pytest.fixture(scope="module")
async def env(mine: Namespace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A learner's environment, with the chart installed as the page does it."""
    env = as_a_newcomer(mine, tmp_path_factory.mktemp("kube"))
    await check(DEPLOY, env)
    return env


def here(section: Section, env: dict[str, str]) -> tuple[Section, dict[str, str]]:
    """The section and its environment with ports that are free on this machine."""
    server = free_port()
    ports: dict[str, int | str] = {
        " 7233": f" {server}:7233",
        " 8233": f" {free_port()}:8233",
        METRICS_PORT: free_port(),
    }
    return moved(section, ports), {**env, "TEMPORAL_ADDRESS": f"127.0.0.1:{server}"}


@pytest.mark.parametrize("section", ON, ids=lambda section: section.title)
async def test_the_last_step_shows_what_it_says(env: dict[str, str], section: Section) -> None:
    """Every command of it but the last, by which all is removed."""
    await check(*here(section, env))


@pytest.fixture(scope="module")
async def reached(env: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    """The environment in which the cluster's server is the one that commands ask."""
    section, found = here(REACH, env)
    async with running(section.commands[0], found) as forward:
        await forward.shows(section.commands[0].shown)
        yield found


@pytest.mark.parametrize("section", STEPS, ids=lambda section: section.title)
async def test_the_other_steps_show_the_same_there(reached: dict[str, str], section: Section) -> None:
    """The page's commands do with the server in the cluster what they do on one machine."""
    await check(moved(section, {METRICS_PORT: free_port()}), reached)


async def test_all_of_it_is_removed(env: dict[str, str], mine: Namespace) -> None:
    """What the chart has made is gone. The cluster is left to other tests."""
    *commands, last = REMOVE.commands
    assert last.line == "make kind-down"
    await check(Section(REMOVE.title, commands), env)
    until(lambda: not mine.objects("deployments") and not mine.objects("pods"), f"an empty {mine.name}")
