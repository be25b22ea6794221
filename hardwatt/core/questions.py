"""Questions at the terminal that are asked before anything is changed."""


def ask(question: str) -> str:
    """Return the answer without blanks around it; empty after Ctrl-D, or where nobody is there.

    Raises ``KeyboardInterrupt`` after Ctrl-C, with the words that the command ends with.
    """
    try:
        return input(question).strip()
    except EOFError:
        print()  # the question's line has no end yet
        return ""
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: nothing was changed") from None
