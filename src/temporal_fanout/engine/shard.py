"""The workflow of a shard; `FanOutPlugin` registers it."""

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.control import NOTHING, Control
from temporal_fanout.engine.node import Node
from temporal_fanout.wire.protocol import SHARD_WORKFLOW, Carried, ShardSpec


@workflow.defn(name=SHARD_WORKFLOW)
class FanOutShard:
    """A part of a fan-out, started by `fan_out` when there are more items than one history takes."""

    @workflow.run
    async def run(self, spec: RawValue = NOTHING, carried: RawValue = NOTHING) -> RawValue:
        # Given another number of inputs, the SDK decodes them without regard to these types.
        if not isinstance(spec, RawValue) or not isinstance(carried, RawValue) or carried is NOTHING:
            raise InvalidInput("input: a shard is started by fan_out only; start the workflow that calls it instead")
        own = ShardSpec.from_payload(spec.payload)
        node = Node(own, Carried.of(own, carried.payload), Control.of_workflow(), is_shard=True)
        tally = await node.run()
        return RawValue(tally.packed(own.version, node.stop))
