"""The one exception a user's mistake raises."""


class InputError(ValueError):
    """A mistake in what the user handed in: one sentence saying what is wrong, where, and what would be right.

    The command line prints the sentence and exits with code 2; everything else that is raised is a defect of the
    library.
    """
