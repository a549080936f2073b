"""The command line. Each command returns its exit code; only this package prints."""

from __future__ import annotations

import sys
import traceback
from typing import NoReturn

import typer
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli import compare, demo, exporter, operate, results, retry, run, scenarios, worker
from temporal_fanout.cli.output import complain
from temporal_fanout.histories.events import HistoryGone
from temporal_fanout.operations.connect import NoServer
from temporal_fanout.process.exit import ExitCode, end

app = typer.Typer(
    name="fanout",
    help="A Distributed Map for Temporal: run a workflow or an activity once for every item, under limits.",
    epilog="Exit codes: 0 done, 1 the run failed or breached its tolerance, 2 wrong usage or input, "
    "3 no server (try again), 4 an unexpected error (try again, and report it), 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("worker")(worker.worker)
app.command("exporter")(exporter.exporter)
app.command("run")(run.run)
app.command("scenarios")(scenarios.scenarios)
app.command("compare")(compare.compare)
app.command("progress")(operate.show_progress)
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.command("resize")(operate.resize)
app.command("abort")(operate.abort)
app.command("held")(operate.held)
app.command("retry-item")(operate.retry_item)
app.command("skip")(operate.skip)
app.command("results")(results.results)
app.command("retry")(retry.retry)

_UNREACHABLE = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


def main() -> NoReturn:
    """Entry point of the command `fanout`."""
    end(_main())


def _main() -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.DONE
    except InvalidInput as error:
        complain(error.message)
        return ExitCode.WRONG_INPUT
    except HistoryGone as error:
        complain(str(error))
        return ExitCode.WRONG_INPUT
    except NoServer as error:
        complain(str(error))
        return ExitCode.NO_SERVER
    except RPCError as error:
        if error.status in _UNREACHABLE:
            complain(f"the Temporal server does not answer ({error.message}): try again")
            return ExitCode.NO_SERVER
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            complain(f"the Temporal server refuses: {error.message}; check TEMPORAL_NAMESPACE and the credentials")
            return ExitCode.WRONG_INPUT
        complain(f"the Temporal server refuses: {error.message}")
        return ExitCode.UNEXPECTED
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes the second of the first: who read us has enough
        return ExitCode.DONE
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is not None:  # typer's: wrong usage
            known = {command.name for command in app.registered_commands}
            command = " ".join(["fanout", *(word for word in sys.argv[1:2] if word in known)])
            complain(f"{message()} See: {command} --help")
            return ExitCode.WRONG_INPUT
        traceback.print_exc()
        complain(f"{type(error).__name__}: {error}; this should not happen: please report it with the lines above")
        return ExitCode.UNEXPECTED
