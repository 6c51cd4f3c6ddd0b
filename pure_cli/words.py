"""Words for the reader. Light: nothing is imported."""


def printable(text: str) -> str:
    """Text on one line, without what would steer a terminal: control characters and broken names are spelled out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def counted(count: int, noun: str) -> str:
    """A number with what it counts: "1 neuron", "1,600 neurons"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
