"""kibray-ops demo: a contractor's office in one file, with this week's payroll."""


def demo() -> None:
    """Make a demo database in the current directory and run this week's payroll on it."""
