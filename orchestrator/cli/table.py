"""The table of commands: a row is a name and the sentence `pyorch --help` shows. The file is cli/<name>.py.

Names of two words ("agent start") share the file of their first word, which has a table `COMMANDS` of its own.
"""

from __future__ import annotations

from orchestrator.cli.option import Option

COMMANDS = {
    "up": "Bring the stack up: what is missing is started, what changed is replaced, the rest is left alone",
    "down": "Stop and remove the stack's containers and networks",
    "plan": "Say what `up` would do, each step with its reason; change nothing",
    "history": "List the revisions of the stack: when, why, how it went, what was different",
    "diff": "Show what one revision of the stack has otherwise than another",
    "rollback": "Go back to an earlier revision of the stack",
    "promote": "Let the rest of the replicas follow their canaries",
    "status": "Show how the stack stands: wanted against actual, health, drift, what is held back",
    "why": "Say why a service is as it is: symptom, cause, root, what changed, what happens next",
    "state": "Show how the stack was at some moment",
    "suspend": "Leave services alone for a while, whatever happens to them",
    "resume": "End a suspension",
    "ps": "List containers, and the reason of whatever is not as wanted",
    "logs": "Show what containers wrote",
    "exec": "Run a command in a running container",
    "run": "Run a command in a container of its own",
    "attach": "Join the first process of a running container",
    "start": "Start services that were stopped",
    "stop": "Stop services and keep their containers",
    "restart": "Restart services",
    "kill": "Send services a signal, SIGKILL unless another is named",
    "pause": "Let services stand still",
    "unpause": "Let paused services go on",
    "rm": "Remove containers that do not run",
    "scale": "Set how many replicas services have",
    "cp": "Copy files between a container and here",
    "wait": "Wait until services have ended",
    "top": "Show the processes of services",
    "stats": "Show what services use",
    "port": "Show where a port is published",
    "build": "Build the images of services from their Dockerfiles",
    "pull": "Fetch the images of the services",
    "push": "Send the images of the services to their registries",
    "images": "List the images that containers were made from",
    "image": "Look at images, pull, push, load, save, import and remove them",
    "lock": "Write down which content each image's name stands for now",
    "system": "Say what everything takes on the disk",
    "config": "Check the stack file and show it with everything filled in",
    "explain": "Explain a key of the stack file",
    "nodes": "List the nodes, and what is reserved on each",
    "capacity": "Show what is reserved, used and free on each node, with a bar",
    "drain": "Empty a node: its replicas move to others",
    "cordon": "Let a node take nothing new",
    "uncordon": "Let a cordoned or drained node take new replicas again",
    "rebalance": "Propose moves that would leave whole nodes empty",
    "advise": "Compare reservations with what was used, and print the better ones as a patch",
    "fit": "Say where everything would go on given nodes, or why it would not fit",
    "simulate": "Run the decider on nodes that are only on paper, in virtual time",
    "lint": "Look for what the stack file allows and its writer probably did not mean",
    "graph": "Show which service waits for which",
    "events": "Show what happens, and why, as it happens",
    "sync": "Follow git repositories: what is committed there is what runs here",
    "ls": "List the stacks on this machine",
    "volume": "List, make, copy, back up, restore and remove volumes",
    "volumes": "List the stack's volumes",
    "secret": "Keep contents by name, for external configs and secrets",
    "agent": "Run, start, stop or look at the agent",
    "doctor": "Name what this machine lacks, and the remedy",
    "completion": "Print the completion script for a shell",
    "version": "Show the version",
}

STRICT = Option("--strict", help="A variable without a value is a mistake, not empty with a warning.")
COMPAT = Option(
    "--compat",
    kind="text",
    choices=("refuse", "warn"),
    default="refuse",
    help="Keys that pyorch does not obey: refuse the file (usual), or warn and leave them out.",
)

GENERAL = (
    Option("-f", "--file", kind="many", metavar="FILE", help="Stack file; may be given again, the later wins."),
    Option("-p", "--project-name", kind="text", metavar="NAME", help="Name of the stack."),
    Option("--project-directory", kind="text", metavar="DIR", help="What relative paths start from."),
    Option("--profile", kind="many", metavar="NAME", help="Profile to switch on; may be given again."),
    Option("--env-file", kind="many", metavar="FILE", help="Instead of .env; may be given again."),
    Option("--root", kind="text", metavar="DIR", help="Where the agent keeps everything. [PYORCH_ROOT]"),
    Option(
        "--ansi",
        kind="text",
        choices=("auto", "never", "always"),
        metavar="WHEN",
        help="Colours and live progress: auto, never, always.",
    ),
    Option("--no-color", help="No colours."),
    Option("-v", "--verbose", help="Show the traceback of an unforeseen error. [PYORCH_DEBUG]"),
)
