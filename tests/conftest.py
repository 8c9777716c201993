import pytest

import minivec  # noqa: F401  chooses an installed backend before a test module imports Keras
from minivec import cli


@pytest.fixture
def run(capsys):
    def run(*arguments):
        """Exit code, stdout and stderr of the command line."""
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run
