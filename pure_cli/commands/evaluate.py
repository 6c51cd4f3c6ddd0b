"""pure evaluate"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session
from pure_cli.errors import PureError
from pure_cli.registry import METRICS
from pure_cli.words import counted


def evaluate(session: Session) -> None:
    """Measure how good the virtual neurons are, for all kinds of features and numbers of clusters.

    Tables here, as CSV and JSON in the workspace; figures beside them; values of each neuron and virtual neuron in
    evaluate.h5. A run on some --neurons, --k or --features stands beside the whole one.

    Example: pure evaluate --metric clip --metric labels
    """
    if not session.options("evaluate").get("metric"):
        raise PureError(f"Name what to measure: --metric clip (or any embeddings), {', '.join(METRICS)}.")
    outcome = session.do("evaluate")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{counted(outcome.computed, 'metric')} of {', '.join(outcome.layers)}")
    session.say_folders(outcome.details["tables"], outcome.details["folders"])


COMMAND = Command(evaluate, order=50, panel=STAGES, settings="pure_cli.settings.evaluate:EvaluateSettings")
