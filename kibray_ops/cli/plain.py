"""Commands whose options are flags and texts only.

Typer would import pydantic to check them, which costs more than all the rest of a small command.
"""

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _AsTyped:
    """Take a word as it was typed."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


def _as_typed(options: Any) -> Any:
    for option in options:
        option._runtime_param = _AsTyped()
    return options


class PlainGroup(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> Any:
        return _as_typed(super().get_params(ctx))


class PlainCommand(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> Any:
        return _as_typed(super().get_params(ctx))
