"""The commands in click, made from the same data: for help, usage errors and completion."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from orchestrator import __version__
from orchestrator.cli.main import load
from orchestrator.cli.option import Argument, Given, Option, beside, merged
from orchestrator.cli.printing import say
from orchestrator.cli.table import COMMANDS, GENERAL

ALSO = "The general options (pyorch --help) may stand after the command's name too."
HELP = """A declarative multi-container orchestrator: Compose files, healed and explained.

\b
  pyorch up stack.yaml     bring a stack up and follow its output
  pyorch up -d --wait      bring it up, return when everything is healthy
  pyorch ps                what runs, and why something does not
  pyorch down              take it away again
"""


def read(words: Sequence[str]) -> Given | int:
    """The command line read with courtesy: what was given, or the exit code where help or an error was shown."""
    application = group()
    if instruction := os.environ.get("_PYORCH_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(application, {}, "pyorch", "_PYORCH_COMPLETE", instruction)
    try:
        answer = application.main(list(words) or ["--help"], prog_name="pyorch", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.UsageError as error:
        say(_sentence(error))
        if error.ctx is not None:
            click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)
        return 2
    except click.exceptions.Abort:
        return 130
    return answer if isinstance(answer, Given | int) else 0


def group() -> click.Group:
    return LazyGroup(
        "pyorch",
        help=HELP,
        params=[_option(option) for option in GENERAL] + [_version()],
        rows=COMMANDS,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


class LazyGroup(click.Group):
    """A group that loads a command's file when that command is asked for; the list needs none."""

    def __init__(self, name: str, *, rows: dict[str, str], **settings: Any) -> None:
        super().__init__(name, **settings)
        self.rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.rows:
            return None
        module = load(cmd_name)
        if not hasattr(module, "COMMANDS"):
            return command(cmd_name, module)
        firsts = [part.EXAMPLES.strip("\n").partition("\n")[0] for part in module.COMMANDS.values()]
        group = click.Group(cmd_name, help=module.HELP, epilog=examples("\n".join(firsts)))
        for action, part in module.COMMANDS.items():
            group.add_command(command(f"{cmd_name} {action}", part), action)
        return group

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.rows.items()))


def command(name: str, module: Any) -> click.Command:
    """A click command that does nothing but hand back what was given."""
    options = [*module.OPTIONS, *beside(module.OPTIONS, GENERAL)]

    @click.pass_context
    def hand_back(ctx: click.Context, /, **values: Any) -> Given:
        root = ctx.find_root()
        return Given(name, merged(_plain(root.params), _plain(values)))

    return click.Command(
        name.rpartition(" ")[2],
        callback=hand_back,
        help=module.HELP,
        short_help=module.HELP.strip().partition("\n")[0],
        epilog=f"{examples(module.EXAMPLES)}\n\n{ALSO}",
        params=[*map(_option, options), *map(_argument, module.ARGUMENTS)],
        context_settings={"allow_interspersed_args": getattr(module, "INTERSPERSED", True)},
    )


def examples(lines: str) -> str:
    """As the end of a help: click wraps it unless it is told not to (\\b)."""
    return "\b\nExamples:\n" + lines.strip("\n")


def _option(option: Option) -> click.Option:
    kind: click.ParamType[Any] | type = {"number": float, "integer": int}.get(option.kind, str)
    common: dict[str, Any] = {"help": option.help, "hidden": option.hidden}
    if option.kind == "flag":
        return click.Option([*option.names, option.name], is_flag=True, default=False, **common)
    return click.Option(
        [*option.names, option.name],
        type=click.Choice(option.choices) if option.choices else kind,
        multiple=option.kind == "many",
        default=() if option.kind == "many" else option.default,
        metavar=option.metavar,
        **common,
    )


def _argument(argument: Argument) -> click.Argument:
    return click.Argument(
        [argument.name],
        nargs=-1 if argument.many else 1,
        required=argument.required,
        metavar=f"[{argument.metavar}]..." if argument.many and not argument.required else argument.metavar,
        type=click.Choice(argument.choices) if argument.choices else str,
        shell_complete=_services if argument.complete else None,
    )


def _version() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(f"pyorch version {__version__}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, default=False, expose_value=False, callback=show, help="Show the version."
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """click's tuples as the lists that the small parser makes."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _services(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of services, asked of the agent; none where it does not answer: completion must never complain."""
    from orchestrator.cli.where import agent, scope
    from orchestrator.errors import OrchestratorError

    given = Given("ps", merged(_plain(ctx.find_root().params), _plain(ctx.params)))
    try:
        containers = agent(given).get("/v1/containers", all=1, **scope(given))
    except OrchestratorError:
        return []
    names = sorted({str(container["Service"]) for container in containers})
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _sentence(error: click.UsageError) -> str:
    """click's words in our tone; a mistyped command gets its nearest relative."""
    sentence = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption) or "No such command" not in sentence:
        return sentence[:1].lower() + sentence[1:]
    wanted = sentence.partition("'")[2].partition("'")[0]
    near = difflib.get_close_matches(wanted, COMMANDS, n=1)
    return f"no such command '{wanted}'" + (f"; did you mean '{near[0]}'?" if near else "")
