"""pyorch image load, save, import: images out of files, and into them."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any


class Load:
    """`image load`"""

    HELP = """Take images out of an archive (docker save, podman save, skopeo) or an OCI layout."""
    EXAMPLES = """
  pyorch image load -i app.tar
  docker save app | pyorch image load
"""
    OPTIONS = (
        Option("-i", "--input", kind="text", metavar="FILE", help="Instead of stdin."),
        Option("-q", "--quiet", help="Say nothing while it goes on."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.cli.image_work import work

        with _spooled(given.input) as path:
            code, loaded = work(given, "load", [{"reference": os.path.abspath(path)}])
        for message in loaded:
            print(f"Loaded image: {message['name'] or message['digest']}")
        return code


class Save:
    """`image save`"""

    HELP = """Write images into one tar, which docker load, podman load and skopeo read."""
    EXAMPLES = """
  pyorch image save -o app.tar app:1 app:2
  pyorch image save app:1 | ssh other pyorch image load
"""
    OPTIONS = (Option("-o", "--output", kind="text", metavar="FILE", help="Instead of stdout."),)
    ARGUMENTS = (Argument("names", many=True, metavar="IMAGE"),)

    @staticmethod
    def run(given: Given) -> int:
        import os
        import shutil
        import sys
        import tempfile

        from orchestrator.cli.image_work import work
        from orchestrator.errors import Mistake

        if given.output:
            return work(given, "save", [{"reference": os.path.abspath(given.output), "images": given.names}])[0]
        if sys.stdout.isatty():
            raise Mistake("cannot save to a terminal: write -o FILE, or send it somewhere")
        with tempfile.TemporaryDirectory(prefix="pyorch-") as directory:
            path = os.path.join(directory, "images.tar")
            code, _ = work(given, "save", [{"reference": path, "images": given.names}])
            if not code:
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        return code


class Import:
    """`image import`"""

    HELP = """Make an image of one layer out of a tar of a root directory."""
    EXAMPLES = """
  pyorch image import rootfs.tar.gz debian:own -c 'CMD ["bash"]'
  tar -C rootfs -c . | pyorch image import - own:1
"""
    OPTIONS = (
        Option("-c", "--change", kind="many", metavar="INSTRUCTION", help="Such as CMD, ENTRYPOINT, ENV, USER."),
        Option("-m", "--message", kind="text", metavar="TEXT", default="", help="A comment for the history."),
        Option("-q", "--quiet", help="Say nothing while it goes on."),
    )
    ARGUMENTS = (Argument("archive", metavar="FILE|-"), Argument("name", required=False, metavar="[REPOSITORY[:TAG]]"))

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.cli.image_work import work

        with _spooled(None if given.archive == "-" else given.archive) as path:
            asked = {"name": given.name or "", "changes": list(given.change), "comment": given.message}
            code, made = work(given, "import", [{"reference": os.path.abspath(path), **asked}])
        for message in made:
            print(message["digest"])
        return code


def _spooled(path: str | None) -> Any:
    """A context: the path of the file, or of a copy of stdin."""
    import contextlib
    import shutil
    import sys
    import tempfile

    from orchestrator.errors import Mistake

    if path:
        return contextlib.nullcontext(path)
    if sys.stdin.isatty():
        raise Mistake("cannot read an archive from a terminal: name a file, or send one")

    @contextlib.contextmanager
    def copied() -> Any:
        with tempfile.NamedTemporaryFile(prefix="pyorch-") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
            file.flush()
            yield file.name

    return copied()
