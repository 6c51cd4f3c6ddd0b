"""``python -m pure_cli`` is ``pure``."""

from pure_cli.app import main

main()
