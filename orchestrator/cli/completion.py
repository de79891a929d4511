"""pyorch completion: click's own scripts; service names come from the agent."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Print the completion script for a shell: commands, options, and services as they run."""
EXAMPLES = """
  eval "$(pyorch completion bash)"                                  in ~/.bashrc
  pyorch completion zsh > "${fpath[1]}/_pyorch"
  pyorch completion fish > ~/.config/fish/completions/pyorch.fish
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish"),)


def run(given: Given) -> int:
    from click.shell_completion import get_completion_class

    from orchestrator.cli.app import group

    shell = get_completion_class(given.shell)
    assert shell is not None, "the choices above are click's"
    script = shell(group(), {}, "pyorch", "_PYORCH_COMPLETE")
    print(script.source_template % script.source_vars())
    return 0
