"""`python -m dwcp`."""

from dwcp.cli import main

main()
