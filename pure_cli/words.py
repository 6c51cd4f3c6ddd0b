"""Words for the reader. Light: nothing is imported."""


def counted(count: int, noun: str) -> str:
    """A number with what it counts: "1 neuron", "1,600 neurons"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
