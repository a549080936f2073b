"""A run as the Web UI's HTTP API shows it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run of a scenario."""

    url: str
    """Of its namespace of Temporal, in the API."""
    id: str

    def ask(self, path: str, **parameters: str | int) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/{path}?{query}", timeout=30) as answer:
            return json.load(answer)

    def status(self) -> str:
        """As in RUNNING; empty while there is no answer, or no such run."""
        try:
            found = self.ask(f"workflows/{self.id}")
        except (urllib.error.URLError, TimeoutError):
            return ""
        return _plain(found["workflowExecutionInfo"]["status"])

    def is_open(self) -> bool:
        return self.status() == "RUNNING"

    def in_flight(self) -> int:
        """Children and activities that the run itself, not a shard of it, has started and that have not ended."""
        found = self.ask(f"workflows/{self.id}")
        return len(found.get("pendingChildren", ())) + len(found.get("pendingActivities", ()))

    # -- its items

    def children(self) -> dict[str, list[str]]:
        """The ends of every child that there ever was, by its id: more than one if an item ran twice."""
        found: dict[str, list[str]] = {}
        for child in self.listed(f'WorkflowId STARTS_WITH "{self.id}." AND WorkflowType != "FanOutShard"'):
            found.setdefault(child["execution"]["workflowId"], []).append(_plain(child["status"]))
        return found

    def count(self, status: str) -> int:
        """Children of this status, as Running or Completed; those of shards too."""
        query = f'WorkflowId STARTS_WITH "{self.id}." AND WorkflowType != "FanOutShard" AND ExecutionStatus="{status}"'
        return int(self.ask("workflow-count", query=query).get("count", 0))

    def listed(self, query: str) -> Iterator[Any]:
        token = ""
        while True:
            page = self.ask("workflows", query=query, pageSize=1000, nextPageToken=token)
            yield from page.get("executions", ())
            token = page.get("nextPageToken", "")
            if not token:
                return

    # -- its history

    def events(self, id: str = "") -> list[Event]:
        """The whole history, of the run or of another workflow."""
        events: list[Event] = []
        token = ""
        while True:
            page = self.ask(f"workflows/{id or self.id}/history", maximumPageSize=1000, nextPageToken=token)
            events += page["history"]["events"]
            token = page.get("nextPageToken", "")
            if not token:
                return events

    def tasks(self) -> list[Event]:
        """Events of workflow tasks of the run and its shards."""
        shards = [
            shard["execution"]["workflowId"]
            for shard in self.listed(f'WorkflowId STARTS_WITH "{self.id}." AND WorkflowType = "FanOutShard"')
        ]
        events = [event for id in ("", *shards) for event in self.events(id)]
        return [event for event in events if "WORKFLOW_TASK" in _type(event)]

    def workers(self) -> set[str]:
        """The pods that completed workflow tasks of the run and its shards."""
        return {_pod(event) for event in self.tasks() if _type(event) == "WORKFLOW_TASK_COMPLETED"}

    def holder(self) -> str:
        """The pod that completed the last workflow task of the run itself."""
        return _pod(self.seen("WORKFLOW_TASK_COMPLETED")[-1])

    def processes(self) -> list[str]:
        """The processes that held the run, by the queues of their own on which they wanted its next task, in order."""
        queues = [
            event["workflowTaskScheduledEventAttributes"]["taskQueue"] for event in self.seen("WORKFLOW_TASK_SCHEDULED")
        ]
        return list(dict.fromkeys(queue["name"] for queue in queues if queue["kind"].endswith("STICKY")))

    def seen(self, type: str) -> list[Event]:
        """The events of this type in the history of the run itself, none while it is not there."""
        return [event for event in self.events() if _type(event) == type] if self.status() else []

    def result(self) -> Any:
        """What it returned or, where it failed, the details of its failure."""
        last = self.events()[-1]
        if _type(last) == "WORKFLOW_EXECUTION_COMPLETED":
            payloads = last["workflowExecutionCompletedEventAttributes"]["result"]["payloads"]
        else:
            failure = last["workflowExecutionFailedEventAttributes"]["failure"]
            payloads = failure["applicationFailureInfo"]["details"]["payloads"]
        return _value(payloads[0])

    def outcomes(self) -> Counter[str]:
        """What became of its items, as it says itself."""
        return Counter(self.result()["outcomes"])


def _value(payload: Any) -> Any:
    if not isinstance(payload, dict) or "metadata" not in payload:
        return payload  # the API has decoded it
    return json.loads(base64.b64decode(payload["data"]))


def _type(event: Event) -> str:
    name: str = event["eventType"].removeprefix("EVENT_TYPE_")
    return name


def _plain(status: str) -> str:
    return status.removeprefix("WORKFLOW_EXECUTION_STATUS_")


def _pod(event: Event) -> str:
    """A worker is called PID@HOST, and a pod's host name is its own."""
    identity: str = event["workflowTaskCompletedEventAttributes"]["identity"]
    return identity.partition("@")[2]
