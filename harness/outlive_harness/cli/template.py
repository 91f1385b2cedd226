"""The texts of scenario files that ``outlive new`` writes: one to start from, and one for a command."""

from __future__ import annotations

import keyword
import re
import sys
import textwrap
from collections.abc import Collection, Sequence

from outlive_harness.golden.advice.cures import as_keywords
from outlive_harness.golden.advice.guesses import in_ascii, shown
from outlive_harness.golden.advice.proposal import Proposal

_TEXT = '''"""Say in one sentence what this scenario shows."""

from pathlib import Path

from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="out/*")
def {name}() -> None:
    """The body is the pipeline: it runs as a process of its own, in an empty directory."""
    Path("out").mkdir(exist_ok=True)
    if not step_done("report"):
        atomic_write("out/report.csv", "day,total\\n" + "monday,1\\n" * 1000)
        mark_done("report")
'''

# Columns of ruff's formatter with its default configuration.
_WIDTH = 88
#: How many entries of a kind, and lines of a comment, are written.
_MOST = 4
_PROPOSED = '''"""The outputs of {{ name }} survive being killed at any moment.

{{ seen }}
"""

{% for line in imports %}
{{ line }}
{% endfor %}
{% if uses_root %}
ROOT = Path(__file__).parent.parent

{% endif %}
{% if copied %}

def _inputs() -> None:
    """Copy into the box what the command reads there."""
{% if files %}
    for name in {{ files }}:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, name)
{% endif %}
{% for name in directories %}
    shutil.copytree(ROOT / {{ name }}, {{ name }}, dirs_exist_ok=True)
{% endfor %}


{% endif %}
{{ name }} = scenario(
{% for line in lines %}
    {{ line }}
{% endfor %}
)
'''


def scenario_text(name: str) -> str:
    """Return the text of a scenario file that runs at once, and holds."""
    return _TEXT.format(name=name)


def objection(name: str) -> str:
    """Return why a scenario and its file cannot have a name; "" if they can."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return "must be a Python identifier: letters, digits and underscores"
    if name.startswith(("_", "test_")) or name == "conftest":
        return "is the name of a helper: files that begin with _ or test_ are no scenarios"
    if name in sys.stdlib_module_names or name in ("outlive", "outlive_harness"):
        return "is the name of a module that pipelines import, and the scenario file would hide it"
    if name in ("Path", "atomic_write", "mark_done", "step_done", "scenario"):
        return "is a name that the scenario file itself imports"
    return ""


def proposed_text(
    name: str,
    command: Sequence[str],
    proposal: Proposal,
    *,
    seen: str,
    given: Sequence[str] = (),
    files: Collection[str] = (),
    directories: Collection[str] = (),
) -> str:
    """Return the text of a scenario file for a command that was observed.

    Args:
        name: the scenario's name; see objection().
        command: the program and its arguments, as Python expressions that may name ``ROOT`` and ``sys``.
        proposal: what the scenario may declare.
        seen: a sentence about the observation.
        given: lines of the declaration that say where the command runs, and with what.
        files: paths of files to copy into each box, relative to the root.
        directories: likewise, paths of directories.
    """
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - nothing else here needs it

    copied = bool(files or directories)
    uses_root = copied or any("ROOT" in code for code in (*command, *given))
    modules = [("shutil", copied), ("sys", "sys.executable" in command)]
    imports = [f"import {module}" for module, is_used in modules if is_used]
    imports += ["from pathlib import Path"] * uses_root
    environment = Environment(  # noqa: S701 - the text is Python; what goes in is escaped as such
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_PROPOSED).render(
        name=name,
        seen="\n".join(textwrap.wrap(seen, _WIDTH - 4)),
        imports=[*imports, *([""] if imports else []), "from outlive_harness import scenario", ""],
        uses_root=uses_root,
        copied=copied,
        files=_tuple(files) if files else "",
        directories=[python_string(path) for path in directories],
        lines=_arguments(command, proposal, given, copied=copied),
    )


def _arguments(
    command: Sequence[str], proposal: Proposal, given: Sequence[str], *, copied: bool
) -> list[str]:
    """Return the lines between the parentheses of the declaration."""
    lines = _listed("command", command)
    lines += [*given, *["setup=_inputs,"] * copied]
    lines += [
        *_comment(f"{proposal.how[0].upper()}{proposal.how[1:]}."),
        *_patterns("outputs", proposal.outputs),
    ]
    if proposal.cures:
        lines += _comment("Judged by what they mean, since their bytes differ from run to run.")
        lines += [f"{code}," for code in as_keywords(proposal.cures)]
    if proposal.append_only:
        lines += _comment("Appended to by whole lines: a prefix that ends with one is complete.")
        lines += _patterns("append_only", proposal.append_only)
    uncompared = (("Checkpoints, not compared", proposal.checkpoints), ("Not compared", proposal.apart))
    for head, several in uncompared:
        for pattern, why in several[:_MOST]:
            lines += _comment(f"{head}: {shown(pattern)} ({why}).")
        lines += _comment(f"{head}: {len(several) - _MOST} more.") if len(several) > _MOST else []
    if proposal.ignore:
        lines.append("ignore=[")
        for pattern, why in proposal.ignore:
            lines += [f"    {line}" for line in _comment(f"{why[0].upper()}{why[1:]}.")]
            lines.append(f"    {python_string(pattern)},")
        lines.append("],")
    if proposal.timeout is not None:
        lines += [*_comment("Seconds of one run."), f"timeout={proposal.timeout},"]
    for note in proposal.notes:
        lines += _comment(note)
    return lines


def _comment(text: str) -> list[str]:
    wrapped = textwrap.wrap(in_ascii(" ".join(text.split())), _WIDTH - 10, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped[:_MOST]]


def _patterns(key: str, patterns: Sequence[str]) -> list[str]:
    codes = [python_string(pattern) for pattern in patterns]
    return [f"{key}={codes[0]},"] if len(codes) == 1 else _listed(key, codes)


def _listed(key: str, codes: Sequence[str]) -> list[str]:
    """Return the lines of a list of expressions, broken as a formatter does."""
    line = f"{key}=[{', '.join(codes)}],"
    if len(line) <= _WIDTH - 4:
        return [line]
    lines = [f"{key}=["]
    for code in codes:
        pieces = _pieces(code)
        if len(pieces) == 1:
            lines.append(f"    {code},")
        else:
            lines += ["    (", *(f"        {piece}" for piece in pieces), "    ),"]
    return [*lines, "],"]


def _pieces(code: str) -> list[str]:
    """Return the pieces of a literal, cut after newlines or else spaces if it is too long for a line."""
    quote = code[0]
    if len(code) <= _WIDTH - 9 or quote not in "'\"" or code[-1] != quote or " + str(" in code:
        return [code]
    words = re.findall(r"(?:[^\\ ]|\\(?!n).)*(?:\\n| +|$)", code[1:-1])
    pieces = [""]
    for word in words:
        if pieces[-1] and (len(pieces[-1]) + len(word) > _WIDTH - 20 or pieces[-1].endswith("\\n")):
            pieces.append("")
        pieces[-1] += word
    return [f"{quote}{piece}{quote}" for piece in pieces if piece]


def _tuple(texts: Collection[str]) -> str:
    codes = [python_string(text) for text in texts]
    line = f"({codes[0]},)" if len(codes) == 1 else f"({', '.join(codes)})"
    if len(line) <= _WIDTH - 20:
        return line
    return "\n".join(["(", *(f"        {code}," for code in codes), "    )"])


def python_string(text: str) -> str:
    """Return a literal of a text, in ASCII, with the quotes that a formatter chooses."""
    inner = ascii(f"{text}\"'")[1:-1]  # ascii() escapes single quotes if there are both kinds
    inner = inner.removesuffix("\"\\'").replace("\\'", "'")
    if text.count('"') > text.count("'"):
        return "'" + inner.replace("'", "\\'") + "'"
    return '"' + inner.replace('"', '\\"') + '"'
