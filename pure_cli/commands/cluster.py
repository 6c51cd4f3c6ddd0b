"""pure cluster"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session


def cluster(session: Session) -> None:
    """Split each neuron into virtual neurons: clusters of its references by circuit.

    Shows the neurons, the most clearly split first. With --k auto, polysemanticity says how much clearer the split is
    than splits of one cloud of the same shape (0 to 1), and p how often such a cloud gives one as clear.

    Example: pure cluster --neurons 201,2,341 --k 2,3
    """
    outcome = session.do("cluster")
    tables = session.workspace.virtual_neuron_tables(session.json or session.verbose, **session.options("cluster"))
    session.show_virtual_neurons(tables)
    session.report(outcome, f"{outcome.computed:,} fits for {', '.join(outcome.layers)}", tables=tables)


COMMAND = Command(cluster, order=40, panel=STAGES, settings="pure_cli.settings.cluster:ClusterSettings")
