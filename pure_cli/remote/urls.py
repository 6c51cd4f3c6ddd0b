"""What is a URL, and how it is remembered and shown: without what must stay secret."""

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*|hf:.*", re.DOTALL)


def is_url(text: str) -> bool:
    """Whether a place is not on this machine's disks: ``SCHEME://…``, or ``hf:NAME`` on the hub of Hugging Face."""
    return _URL.fullmatch(text) is not None
