"""`python -m brainalign` is the command `brainalign`."""

from brainalign.cli import main

main()
