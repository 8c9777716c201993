import pytest
from hypothesis import settings

import minivec  # noqa: F401  chooses an installed backend before a test module imports Keras
from minivec import cli

settings.register_profile("minivec", deadline=None)  # on a busy machine a slow example is no failure
settings.load_profile("minivec")


def pytest_addoption(parser):
    parser.addoption(
        "--no-missing", action="store_true", help="fail a test that would be skipped for a missing package"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.skipped and item.config.getoption("--no-missing"):
        reason = report.longrepr[2]
        if "could not import" in reason or "needs " in reason:
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: {reason}"
    return report


@pytest.fixture
def run(capsys):
    def run(*arguments):
        """Exit code, stdout and stderr of the command line."""
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run
