"""What was found out about one thing."""

from dataclasses import asdict, dataclass

from kibray_ops.errors import KibrayOpsError

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """Tell whether one thing is right, and what to do where it is not."""

    level: str
    subject: str
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as it is printed as JSON."""
        return asdict(self)


def ok(subject: str, message: str) -> Finding:
    """Return that something is right."""
    return Finding(OK, subject, message)


def warning(subject: str, message: str, hint: str) -> Finding:
    """Return that something deserves a look."""
    return Finding(WARNING, subject, message, hint)


def problem(subject: str, message: str, hint: str) -> Finding:
    """Return that something keeps jobs from working, or people from knowing."""
    return Finding(PROBLEM, subject, message, hint)


def wrong(subject: str, error: KibrayOpsError) -> Finding:
    """Return that something is as an error says."""
    return problem(subject, error.message, error.hint)


def sentence(words: str) -> str:
    """Return words as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."
