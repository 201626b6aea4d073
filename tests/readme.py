"""What stands in README.md and crontab.example because the program says so: `python -m tests.readme` writes it anew.

In the README each such part stands between `<!-- name -->` and `<!-- /name -->`. A test compares.
"""

import ast
import re
import tempfile
import tomllib
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from kibray_ops import crontab, registry
from kibray_ops.schedule import described, spelled
from kibray_ops.settings import DECLARED
from tests.builder import Builder
from tests.world import VERSIONS, World

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLE = ROOT / "crontab.example"
PART = re.compile(r"<!-- (?P<name>[a-z-]+) -->\n(?P<text>.*?)<!-- /(?P=name) -->", re.DOTALL)


def main() -> None:
    """Write both files anew."""
    parts = generated()
    README.write_text(
        PART.sub(lambda part: marked(part["name"], parts.get(part["name"], part["text"])), README.read_text())
    )
    EXAMPLE.write_text(example())


def marked(name: str, text: str) -> str:
    return f"<!-- {name} -->\n{text}<!-- /{name} -->"


def generated() -> dict[str, str]:
    """Return what the program says, by the names of the parts."""
    return {"dry-run": dry_run(), "jobs": jobs(), "settings": settings(), "rooms": rooms()}


def example() -> str:
    """Return the crontab of a machine in Denver."""
    denver = ZoneInfo("America/Denver")
    # Where both zones are the same one, the day does not matter.
    same = crontab.Schedule(denver, denver, date(2026, 5, 1))
    return crontab.block(crontab.Program("/usr/local/bin/kibray-ops"), same)


def jobs() -> str:
    rows = [
        f"| {job.name} | `{' '.join((*job.command, *job.arguments))}` | {described(job.cron or '')} | "
        f"{f'within {spelled(job.deadline)}' if job.deadline else 'the next hour'} | {job.kind} |"
        for job in registry.JOBS
    ]
    return lines("| job | command | when | made up for | commits |", "|---|---|---|---|---|", *rows)


def settings() -> str:
    """Return every setting; the time limits of single jobs in one line."""
    rows = []
    for setting in DECLARED:
        limit, of, _job = setting.name.partition("_TIME_LIMIT_")
        if of:
            continue
        name = f"`{setting.name}`" + (f", `{limit}_…`" if setting.name.endswith("_TIME_LIMIT") else "")
        also = f"; or Django's `{setting.fallback}`" if setting.fallback else ""
        rows.append(f"| {name} | {f'`{setting.default}`' if setting.default else ''} | {setting.meaning}{also} |")
    return lines("| setting | default | meaning |", "|---|---|---|", *rows)


def rooms() -> str:
    """Return every module and package of the first level with its first words, in the order of the import rules."""
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = []
    for layer in layers:
        for name in (word.strip() for word in layer.split("|")):
            path = ROOT / name.replace(".", "/")
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            said = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
            rows.append(f"| `{name.partition('.')[2]}{'/' if path.is_dir() else ''}` | {said} |")
    return lines("| room | what is in it |", "|---|---|", *rows)


def dry_run() -> str:
    """Return what a terminal shows of a small office's payroll."""
    with tempfile.TemporaryDirectory() as directory:
        world = Builder(Path(directory), "").build("sqlite", VERSIONS[-1], Path(directory))
        small_office(world)
        words = ("payroll", "generate", "--week", "2025-W47", "--dry-run")
        told = world.run(*words)
    assert (told.returncode, told.stderr) == (0, ""), told.stderr
    return lines("```text", f"$ kibray-ops {' '.join(words)}", told.stdout.rstrip(), "```")


def small_office(world: World) -> None:
    """Employ five people, and let them work two weeks of which the second has what happens in an office."""
    world.office()
    elm, oak = world.project("Elm St"), world.project("Oak Ave")
    week: dict[str, tuple[str, list[str]]] = {
        "Ana Lucía Peña": ("28.50", ["8", "8", "8", "8", "8"]),
        "Cody Harper": ("23.50", ["8", "9", "9.5", "10", "9"]),
        "Heather Lindqvist": ("28.00", ["7.5", "8", "8", "8", "8.5"]),
        "Miguel Soto": ("26.50", ["8", "8", "", "8", "8"]),
        "Tyler Jensen": ("25.00", ["8", "8", "8", "8", "9.5"]),
    }
    for name, (rate, hours) in week.items():
        employee = world.employee(name, rate)
        for number, worked in enumerate(hours):
            world.entry(employee, f"2025-11-{10 + number}", "8", project_id=elm)
            if worked:
                raised = {"cost_rate_snapshot": "27.50"} if name == "Tyler Jensen" and number == 4 else {}
                world.entry(employee, f"2025-11-{17 + number}", worked, project_id=oak, **raised)
    world.entry(world.employee("Nora Quinn", "24.00"), "2025-11-21", None, end=None, project_id=oak)
    world.execute("generate-weekly-payroll", at="2025-11-17T07:00")


def lines(*written: str) -> str:
    return "".join(f"{line}\n" for line in written)


if __name__ == "__main__":
    main()
