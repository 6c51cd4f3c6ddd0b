"""pure benchmark"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped, print_json


def benchmark(session: Session) -> None:
    """Hold methods that split neurons against frozen units whose meanings are known.

    A method is a function from the references of a unit to a label for each (docs/benchmark.md). The digits come with
    pure; other tracks want their network and images.

    Example: pure benchmark --method mine.py:split --row mine.csv
    """
    from pure_cli import api, config
    from pure_cli.settings.benchmark import BenchmarkSettings
    from pure_cli.words import counted, duration

    given = {name: value for name, value in session.own_options("benchmark").items() if value not in (None, [])}
    settings = config.make("benchmark", given, BenchmarkSettings)
    with session.progress("benchmark", "steps") as progress:
        outcome = api.measured(settings, [], progress)
    found = outcome.details
    for table in found["tables"]:
        session.show(table)
    for sentence in outcome.notes:
        session.note(sentence)
    track = f"{found['track']} ({found['version']})"
    methods = f"{counted(len(found['methods']), 'method')} on {outcome.computed:,} units of {track}"
    session.say(f"[green]✓[/] benchmark: {escaped(methods)} in {duration(outcome.seconds)}")
    if settings.row is not None:
        session.say(f"  rows for the leaderboard: {escaped(str(settings.row))}")
    if session.json:
        print_json({"stage": "benchmark", "seconds": round(outcome.seconds, 3), "notes": outcome.notes, **found})


COMMAND = Command(
    benchmark, order=92, panel=BEYOND, settings="pure_cli.settings.benchmark:BenchmarkSettings", without=("workspace",)
)
