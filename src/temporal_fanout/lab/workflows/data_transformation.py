"""A child of another type: makes one record of another."""

from typing import Any

from temporalio import workflow

from temporal_fanout.checks import InvalidInput
from temporal_fanout.lab import one_input


@workflow.defn(failure_exception_types=[Exception])
class DataTransformationWorkflow:
    """Makes `{"full_name", "email_domain"}` of `{"name", "email"}`: the name in capitals, and what follows the @."""

    @workflow.run
    async def run(self, *args: Any) -> dict[str, str]:
        record = one_input(args, "a record, as {name, email}")
        name, email = (_text(record, key) for key in ("name", "email"))
        _, at, domain = email.rpartition("@")
        if not at or not domain:
            raise InvalidInput(f"email: must have a domain after an @, not {email!r:.60}")
        return {"full_name": name.upper(), "email_domain": domain}


def _text(record: dict[str, Any], key: str) -> str:
    text = record.get(key)
    if not isinstance(text, str) or not text:
        raise InvalidInput(f"{key}: must be a text, not {text!r:.60}")
    return text
