"""`python -m relight.cli`: how `relight dev` starts its worker, whatever is on PATH."""

from relight.cli import main

main()
