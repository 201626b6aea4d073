"""Every command there is, and all that each says."""

from dataclasses import dataclass
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

from kibray_ops import registry
from kibray_ops.cli.app import app
from tests.here import here
from tests.world import World


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return f"{self.out}\n{self.err}"


def typed(world: World, *words: str, **environment: str) -> Said:
    """Type a command into this process."""
    ended = here(world, *words, **environment)
    return Said(words, ended.returncode, ended.stdout, ended.stderr)


def commands() -> set[tuple[str, ...]]:
    """Return the words of every command there is, but for those that start a job."""

    def under(group: TyperGroup, words: tuple[str, ...]) -> Any:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from under(command, (*words, name))
            else:
                yield (*words, name)

    root = get_command(app)
    assert isinstance(root, TyperGroup)
    jobs = {job.command for job in (*registry.JOBS, *registry.ACTIONS)}
    return {words for words in under(root, ()) if words not in jobs and words[:2] != ("jobs", "run")}
