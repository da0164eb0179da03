"""What the errors of environments have in common."""

import pytest


def refusal(function, *arguments, **settings):
    """Returns the message of the ValueError that a call raises; it is one line."""
    with pytest.raises(ValueError) as error:
        function(*arguments, **settings)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)
