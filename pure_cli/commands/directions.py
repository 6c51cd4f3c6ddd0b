"""pure directions"""

import shlex

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import DEFAULT_WORKSPACE, Session, escaped


def directions(session: Session) -> None:
    """Find directions in a layer's own activations, for pure collect --directions.

    Takes model, images and layers of the workspace, and writes a file of directions for each layer.

    Example: pure directions pca -m 64 --layer layer4
    """
    outcome = session.do("directions")
    found = outcome.details
    what, of, more = KINDS[found["how"]]
    parts = [f"{found['components'][name]} {what} of {name} with {found['explained'][name] * 100:.1f} % of the {of}"
             for name in outcome.layers]  # fmt: skip
    session.report(outcome, f"{', '.join(parts)}, from {found['images']:,} images")
    for table in found.get("tables", []):
        session.show(table)
    for name, file in found["files"].items():
        here = str(session.workspace.local(file))
        words = ["pure", "collect", "-w", session.workspace.place, "--layer", name, "--directions", here]
        if session.workspace.place == DEFAULT_WORKSPACE:
            words[2:4] = []
        session.say(f"  next: {escaped(shlex.join([*words, *more]))}")


VARIANCE, RELU = "variance", "--directions-relu"
KINDS: dict[str, tuple[str, str, list[str]]] = {  # what is found, what it explains, and options that collect needs
    "pca": ("components", VARIANCE, []),
    "nmf": ("components", "sum of squares", [RELU]),
    "sae": ("latents", f"{VARIANCE} in images not trained on", ["--directions-part", "encoder", RELU]),
    "kmeans": ("centroids", VARIANCE, []),
    "random": ("random directions", VARIANCE, []),
}
COMMAND = Command(directions, order=100, panel=BEYOND, settings="pure_cli.settings.directions:DirectionsSettings")
