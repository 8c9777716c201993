import time

import pytest

from minivec.record import Record, Step


def test_stages_are_timed_and_a_stage_entered_again_adds_up():
    record = Record()
    for _ in range(2):
        with record.stage("anchors"):
            time.sleep(0.01)
    assert list(record.seconds) == ["anchors"] and 0.02 <= record.seconds["anchors"] < 1


def test_steps_count_from_one_in_each_stage_and_reach_every_callback():
    seen, also = [], []
    record = Record([seen.append, also.append])
    with record.stage("anchors", steps=2):
        assert record.step() is False and record.step(score=0.5) is False
    with record.stage("refinement"):
        record.step(objective=1.0)
    assert (
        seen
        == also
        == [
            Step("anchors", 1, 2, {}),
            Step("anchors", 2, 2, {"score": 0.5}),
            Step("refinement", 1, None, {"objective": 1.0}),
        ]
    )
    assert record.steps[-1] == {"stage": "refinement", "step": 1, "objective": 1.0}


def test_a_callback_that_returns_true_stops_the_run_for_good():
    record = Record([lambda step: step.step == 2, lambda step: None])
    with record.stage("refinement"):
        assert [record.step(), record.step(), record.step()] == [False, True, True]
    assert record.stopped is True


def test_a_callback_that_returns_something_else_does_not():
    record = Record([lambda step: "done"])
    with record.stage("refinement"):
        assert record.step() is False
    assert record.stopped is False


@pytest.mark.parametrize("callbacks", [[print, 3], 3, print])
def test_what_cannot_be_called_is_refused(callbacks):
    with pytest.raises(TypeError, match="callbacks must be"):
        Record(callbacks)


def test_verbose_shows_each_stage_with_its_last_diagnostics(capsys):
    record = Record(verbose=1)
    with record.stage("anchors"):
        pass
    with record.stage("refinement", steps=9):
        record.step(objective=0.125)
        record.step(objective=0.25)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("anchors")
    assert second.startswith("refinement") and "2/2" in second and "objective 0.25" in second


def test_silent_by_default(capsys):
    with Record().stage("anchors"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [0, 1])
def test_an_interrupt_passes_through_a_stage_and_leaves_it_timed(verbose):
    record = Record(verbose=verbose)
    with pytest.raises(KeyboardInterrupt), record.stage("anchors"):
        raise KeyboardInterrupt
    assert "anchors" in record.seconds


@pytest.mark.parametrize("verbose", ["yes", 2, None])
def test_verbose_is_on_or_off(verbose):
    with pytest.raises(ValueError, match=f"verbose .* got {verbose!r}"):
        Record(verbose=verbose)
