"""pyorch version."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

HELP = """Show the version."""
EXAMPLES = """
  pyorch version
  pyorch version --short
  pyorch version --format json
"""
OPTIONS = (
    Option("--short", help="Only the number."),
    Option("-f", "--format", kind="text", choices=("pretty", "json"), default="pretty", help="How it is printed."),
)
ARGUMENTS = ()


def run(given: Given) -> int:
    from orchestrator import __version__

    if given.short:
        print(__version__)
    elif given.format == "json":
        print(f'{{"version":"{__version__}"}}')
    else:
        print(f"pyorch version {__version__}")
    return 0
