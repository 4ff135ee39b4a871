"""Errors that keep the stack from starting."""


class StackError(Exception):
    """The message is one line for the terminal: what is wrong and what to do."""
