"""The command line: the only package that prints, reads the words of a command, or exits."""
