"""E-mail as .eml files in a directory: for trials and the demo."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from pathlib import Path

from kibray_ops import files
from kibray_ops.delivery import Message, Unreachable
from kibray_ops.delivery.mime import as_email
from kibray_ops.errors import ConfigurationError


@dataclass
class Files:
    """A directory that takes e-mails; a message that is sent again replaces itself."""

    directory: Path
    sender: Address
    clock: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Return what to call it."""
        return f"the directory {self.directory}"

    def open(self) -> None:
        """Make the directory where it does not exist; raises ConfigurationError."""
        try:
            files.make_directory(self.directory)
        except OSError as error:
            raise self._unusable(error) from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise self._unusable(PermissionError(13, "Permission denied"))

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self.directory} cannot be used for e-mail: {error.strerror}.",
            hint="Correct KIBRAY_OPS_EMAIL_DIR; nothing was sent.",
        )

    def send(self, message: Message) -> str:
        """Write a message as a file of its own and return the file's name; raises Refused or Unreachable."""
        email = as_email(message, sender=self.sender, at=self.clock())
        path = self.directory / f"{message.id.strip('<>').partition('@')[0]}.eml"
        try:
            files.replace(path, email.as_bytes())
        except OSError as error:
            raise Unreachable(f"{self.name} takes no file: {error.strerror}") from error
        return path.name

    def close(self) -> None:
        """Do nothing: every file is complete."""
