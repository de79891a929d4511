"""Dockerfiles as text: instructions, variables, stages, configuration; mistakes with line and column."""

from __future__ import annotations

import pytest

from orchestrator.images.build import ignore, modes, plan
from orchestrator.images.build.dockerfile import Wrong, parse
from orchestrator.images.build.instructions import apply, triggers
from orchestrator.images.build.state import Copy, Given, Make, Run, State, Step
from orchestrator.images.build.words import expand, split

EVERYTHING = r"""# syntax=docker/dockerfile:1
# escape=\
ARG VERSION=3
FROM base:${VERSION} AS one
ENV A=1 B="two words" C=it\ is
RUN echo \
    # a comment between

    $A && \
    true
RUN ["/bin/x", "a b"]
RUN <<EOF
first
second
EOF
COPY --chown=1:2 --from=other /a /b/
COPY <<a <<"b" /etc/
x=$A
a
x=$A
b
FROM one
CMD echo hi
"""


def test_every_form_of_an_instruction_is_read() -> None:
    parsed = parse(EVERYTHING)
    words = [one.keyword for one in parsed.instructions]
    assert words == ["ARG", "FROM", "ENV", "RUN", "RUN", "RUN", "COPY", "COPY", "FROM", "CMD"]
    joined, exec_form, document, copy, texts = parsed.instructions[3:8]
    assert joined.rest.split() == ["echo", "$A", "&&", "true"]
    assert exec_form.exec == ("/bin/x", "a b")
    assert document.heredocs[0].content == "first\nsecond\n"
    assert (copy.flag("chown"), copy.flag("from"), copy.rest) == ("1:2", "other", "/a /b/")
    assert [(one.name, one.expand) for one in texts.heredocs] == [("a", True), ("b", False)]
    assert joined.line == 6


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("FROM a\n  RUNN x\n", 2, 3, "unknown instruction 'RUNN'; did you mean RUN?"),
        ("RUN x\nFROM a\n", 1, 1, "only ARG may stand before the first FROM, and not RUN"),
        ("# nothing\n", 2, 1, "it has no FROM"),
        ("FROM a\nCOPY --frm=b c d\n", 2, 6, "COPY has no flag --frm; did you mean --from?"),
        ("FROM a\nCOPY --link \\\n  --zzz c d\n", 3, 3, "COPY has no flag --zzz; it has --chmod, --chown"),
        ("FROM a\nADD --chmod 777 a b\n", 2, 5, "--chmod needs a value: --chmod=…"),
        ("FROM a\nRUN <<E\nx\n", 2, 5, "the here-document 'E' has no end"),
        ("FROM a\nRUN a && \\\n# aside\n  cat <<E\nx\n", 4, 7, "the here-document 'E' has no end"),
        ("# escape=x\nFROM a\n", 1, 10, "the escape character must be"),
        ("FROM a\nENV\n", 2, 1, "ENV says nothing"),
    ],
)
def test_a_mistake_has_its_place(text: str, line: int, column: int, why: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$a-${a}", "1-1"),
        ("${none}", ""),
        ("${none:-x}${a:-x}${empty:-x}${empty-x}", "x1x"),
        ("${a:+y}${none:+y}", "y"),
        (r"\$a '$a' \"$a\"", '$a $a "1"'),
        ('"$a"', "1"),
        ("${none:-${a}}", "1"),
        ("${path#*/}|${path##*/}|${path%/*}|${path%%/*}", "b/c|c|a/b|a"),
        ("${path/b/x}|${path//?/-}", "a/x/c|-----"),
        (r"${star#\*}|${star//\*/+}|${path//[ac]/-}", "x*|+x+|a/b/c"),
        (r"${path//\//-}", "a-b-c"),
        (r"a\\", "a\\"),
        ("a\\", "a"),
        (r"${none:-\${a}z}", "${az}"),
        ("$999|$?|${-:-x}", "||x"),
        ("$", "$"),
    ],
)
def test_variables_are_filled_in(text: str, result: str) -> None:
    assert expand(text, {"a": "1", "empty": "", "path": "a/b/c", "star": "*x*"}) == result


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${a", "not closed"),
        ("${}", "followed by a name"),
        ("${none:?must be set}", "none: must be set"),
        ("${a^x}", "unknown modifier"),
        ("a'b", "a quote ' is not closed"),
        ('"a', 'a quote " is not closed'),
    ],
)
def test_what_is_no_variable_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        expand(text, {"a": "1"})


def test_words_are_parted_outside_quotes() -> None:
    assert split(r"""a "b c" 'd e' f\ g""") == ["a", '"b c"', "'d e'", r"f\ g"]
    with pytest.raises(ValueError, match="not closed"):
        split('a "b')


NOTHING = Given()
EMPTY = State()


def applied(text: str, given: Given = NOTHING, begin: State = EMPTY) -> tuple[State, list[Step]]:
    steps: list[Step] = []
    for one in parse(f"FROM x\n{text}").instructions[1:]:
        begin, step = apply(one, begin, given)
        if step is not None:
            steps.append(step)
    return begin, steps


def test_instructions_make_the_configuration() -> None:
    made, steps = applied(
        "ENV A=1\nENV B=$A A=2\nWORKDIR /x\nWORKDIR y\nUSER web\nEXPOSE 80 53/udp 8000-8001\nVOLUME /d /e\n"
        'LABEL k=v\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK --interval=5s --retries=2 CMD x y\nENTRYPOINT ["e"]\nCMD a b\n'
    )
    assert made.config["Env"] == ["A=2", "B=1"]
    assert made.config["WorkingDir"] == "/x/y"
    assert steps == [Make("/x"), Make("/x/y")]
    assert set(made.config["ExposedPorts"]) == {"80/tcp", "53/udp", "8000/tcp", "8001/tcp"}
    assert set(made.config["Volumes"]) == {"/d", "/e"}
    assert made.config["Healthcheck"] == {"Test": ["CMD-SHELL", "x y"], "Interval": 5 * 10**9, "Retries": 2}
    assert (made.config["Entrypoint"], made.config["Cmd"]) == (["e"], ["/bin/sh", "-c", "a b"])


def test_an_entrypoint_takes_away_the_command_of_the_base_and_not_ones_own() -> None:
    base = State({"Cmd": ["old"]})
    assert applied('ENTRYPOINT ["e"]', begin=base)[0].config["Cmd"] is None
    assert applied('CMD ["c"]\nENTRYPOINT ["e"]', begin=base)[0].config["Cmd"] == ["c"]


def test_arguments_have_their_scope() -> None:
    given = Given({"A": "outside", "HTTP_PROXY": "http://p"}, {"B": "global"}, {"TARGETARCH": "arm64"})
    _, steps = applied("ARG A=x\nARG B\nARG TARGETARCH\nARG C=$A\nENV C=env\nRUN x", given)
    (run,) = steps
    assert isinstance(run, Run)
    assert dict(run.environment) == {"A": "outside", "B": "global", "TARGETARCH": "arm64", "C": "env"}
    assert dict(run.proxies) == {"HTTP_PROXY": "http://p"}, "known without ARG, and no part of the step's meaning"


def test_files_of_here_documents_are_filled_in_unless_quoted() -> None:
    _, (step,) = applied('ENV A=1\nCOPY <<a <<"b" /etc/\nx=$A\na\nx=$A\nb\n')
    assert isinstance(step, Copy)
    assert step.texts == (("a", "x=1\n"), ("b", "x=$A\n"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("RUN --mount=type=ssh x", "type=ssh is refused: no agent or key"),
        ("RUN --mount=type=cache,target=/c,sharing=some x", "sharing must be"),
        ("RUN --security=insecure x", "is refused"),
        ("RUN --network=host x", "--network"),
        ("ADD https://x/y /z", "only where --checksum=sha256:"),
        ("ADD --checksum=sha256:0 a b", "for one source that is fetched"),
        ("ADD --keep-git-dir=true https://x/y.git /z", "--keep-git-dir is refused"),
        ("ADD https://x/y.git#main:../../etc /z", "leads out of the repository"),
        ("COPY --chmod=u~x a b", "must be octal digits such as 0644, or symbols"),
        ("COPY --parents=maybe a b", "--parents is true or false"),
        ("EXPOSE 99999", "no range of ports"),
        ("STOPSIGNAL SIGNOTHING", "unknown signal"),
        ("HEALTHCHECK x", "expected CMD"),
        ("SHELL bash", "JSON form"),
        ("ONBUILD FROM x", "may not follow"),
        ("COPY one", "at least one source"),
        ("ENV name", "has no value"),
    ],
)
def test_what_an_instruction_cannot_mean_is_said(text: str, why: str) -> None:
    with pytest.raises(Wrong, match=why):
        applied(text)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("EXPOSE 80 x", 2, 11),
        ("ENV A=1 \\\n    B", 3, 5),
        ("COPY --chmod=9 a b", 2, 14),
        ("RUN --mount=type=cache,target=/c,sharing=some x", 2, 13),
        ("HEALTHCHECK --interval=soon CMD x", 2, 24),
        ("\tLABEL a=$" + "{b", 2, 10),
        ("ADD https://x/y /z", 2, 5),
    ],
)
def test_a_mistake_is_shown_at_its_word(text: str, line: int, column: int) -> None:
    with pytest.raises(Wrong) as caught:
        applied(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_forms_that_are_less_known() -> None:
    made, steps = applied(
        "ENV\tTABBED\tby tabs\nEXPOSE 127.0.0.1:8080:80 9000-9001/UDP\nWORKDIR /w\n"
        "RUN --mount=from=tools cat x\nRUN --mount=type=bind,target=/t,ro=false,z x\n"
        "ADD https://example.org/a.git#v1:sub git@host:b /src/\nADD --unpack=false a.tar /\n"
        "HEALTHCHECK --interval=3s\tCMD\tprobe it\nRUN echo $((1<<x)) && cat 3<<E\ntext\nE\n"
    )
    assert made.config["Env"] == ["TABBED=by tabs"]
    assert set(made.config["ExposedPorts"]) == {"80/tcp", "9000/udp", "9001/udp"}
    assert made.config["Healthcheck"]["Test"] == ["CMD-SHELL", "probe it"]
    _, tools, written, added, whole, shifted = steps
    assert isinstance(tools, Run) and isinstance(written, Run) and isinstance(shifted, Run)
    assert (tools.mounts[0].target, tools.mounts[0].read_only) == ("/w", True), "the working directory"
    assert not written.mounts[0].read_only
    assert isinstance(added, Copy) and isinstance(whole, Copy)
    assert added.repositories == ("https://example.org/a.git#v1:sub", "git@host:b")
    assert not whole.unpacks
    assert shifted.arguments[-1] == "echo $((1<<x)) && cat 3<<E\ntext\nE\n"


def test_two_escapes_at_the_end_of_a_line_are_one_of_them() -> None:
    made, _ = applied("ENV A=a\\\\\nENV B=b\n")
    assert made.config["Env"] == ["A=a\\", "B=b"]


def test_a_step_asks_for_the_network_of_the_host_only_where_the_stack_allows_it() -> None:
    _, (step,) = applied("RUN --network=host x", Given(host_network=True))
    assert isinstance(step, Run) and step.network == "host"
    with pytest.raises(Wrong, match="entitlements"):
        applied("RUN --network=host x")


@pytest.mark.parametrize(
    ("mode", "file", "directory"),
    [
        ("0640", 0o640, 0o640),
        ("u+x,go-rwx", 0o700, 0o700),
        ("a=rX", 0o444, 0o555),
        ("g=u,+t", 0o1664, 0o1775),
        ("u+s,o=", 0o4640, 0o4750),
        ("=rw", 0o666, 0o666),
    ],
)
def test_modes_are_digits_or_symbols(mode: str, file: int, directory: int) -> None:
    change = modes.parse(mode)
    assert change is not None
    assert oct(change(0o644, False)) == oct(file)
    assert oct(change(0o755, True)) == oct(directory)


def test_stages_know_what_they_need_and_what_is_asked_for() -> None:
    text = "ARG B=base\nFROM $B AS one\nFROM one AS two\nFROM scratch\nCOPY --from=two /a /\nCOPY --from=0 /b /\n"
    stages, _ = plan.stages(parse(text).instructions, Given())
    assert [stage.base for stage in stages] == ["base", "one", "scratch"]
    assert {one.label for one in plan.foreseen(stages, stages[2])} == {"one", "two"}
    assert plan.target(stages, "TWO").index == 1
    with pytest.raises(ValueError, match="there is no stage 'three'; there are one, two, stage-2"):
        plan.target(stages, "three")


def test_triggers_of_a_base_image_are_instructions_of_ours() -> None:
    base, _ = applied("ONBUILD RUN make\nONBUILD COPY . /src")
    assert [one.keyword for one in triggers(base.config, 1)] == ["RUN", "COPY"]


@pytest.mark.parametrize(
    ("pattern", "hidden", "seen"),
    [
        ("*.key", ["a.key"], ["d/a.key", "a.keys"]),
        ("**/*.key", ["a.key", "d/e/a.key"], ["a.txt"]),
        ("d", ["d", "d/x", "d/e/x"], ["dd", "x/d"]),
        ("/d/", ["d/x"], ["e"]),
        ("d/*/x", ["d/e/x"], ["d/x", "d/e/f/x"]),
        ("a?c", ["abc"], ["ac", "abbc"]),
        ("[a-c]x", ["bx"], ["dx"]),
        ("[^a-c[]x", ["dx"], ["bx", "[x"]),
        ("a[[]0].txt", ["a[0].txt"], ["a0.txt"]),
        ("**", ["a", "d/x"], []),
    ],
)
def test_dockerignore_hides(pattern: str, hidden: list[str], seen: list[str]) -> None:
    rules = ignore.rules([pattern])
    assert [path for path in hidden if not ignore.ignored(path, rules)] == []
    assert [path for path in seen if ignore.ignored(path, rules)] == []


def test_the_last_line_of_dockerignore_that_fits_decides() -> None:
    rules = ignore.rules(ignore.lines("# all\n*\n!keep\n!src/*.py\nsrc/no.py\n"))
    told = {path: ignore.ignored(path, rules) for path in ("x", "keep", "src/a.py", "src/no.py", "src/b.c")}
    assert told == {"x": True, "keep": False, "src/a.py": False, "src/no.py": True, "src/b.c": True}
