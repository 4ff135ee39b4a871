"""What keeps the stack from starting."""


class StackError(Exception):
    """One line for the person at the terminal: what is wrong and what to do."""
