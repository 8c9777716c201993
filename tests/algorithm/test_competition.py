"""Starts that compete: what becomes of maps that agree in part."""

import numpy as np
import pytest

from minivec.algorithm import competition
from minivec.algorithm.problem import Problem, Start
from minivec.algorithm.procrustes import polar
from minivec.algorithm.schedule import Level, Refined
from minivec.frame import unit
from minivec.record import Record

D = 32


def near(truth, error, rng):
    """The truth with an error of its own."""
    return polar(truth + error * rng.standard_normal((D, D)).astype(np.float32) / np.sqrt(D))


def share(W):
    """How near a map is to the truth: 1 where it is the truth."""
    return float(np.vdot(W, TRUTH)) / D


def staged(monkeypatch, rng):
    """A problem, and the list of the maps that are refined, each of which stays as it is."""
    problem = Problem.of(*(unit(rng.standard_normal((500, D)).astype(np.float32)) for _ in range(2)))
    source, target = problem.principal
    refined = []

    def refine(record, W, level, rng, problem):
        refined.append(W)
        return Refined(W, share(W), source.directions.T @ W @ target.directions, W)

    monkeypatch.setattr(competition, "refine", refine)
    return problem, refined


def winner(monkeypatch, starts):
    """The winner of ``starts``, lists of whole, half and half, and the maps that were refined for it."""
    rng = np.random.default_rng(0)
    problem, refined = staged(monkeypatch, rng)
    made = [lambda *_, maps=maps: Start(maps[0], tuple(maps[1:])) for maps in starts]
    return competition.compete(problem, None, Record(), rng, starts=made), refined


TRUTH = polar(np.random.default_rng(1).standard_normal((D, D)))


def test_maps_that_agree_in_part_are_made_one_which_is_nearer_to_the_truth(monkeypatch):
    rng = np.random.default_rng(2)
    starts = [[near(TRUTH, 1.2, rng) for _ in range(3)] for _ in range(2)]
    found, refined = winner(monkeypatch, starts)
    best = max(share(W) for start in starts for W in start)
    assert found.refined.objective > best + 0.1
    assert len(refined) == 8  # each start's three, and one made of all that agree


def test_maps_that_agree_by_chance_are_left_as_they_are(monkeypatch):
    rng = np.random.default_rng(3)
    starts = [[polar(rng.standard_normal((D, D))) for _ in range(3)] for _ in range(2)]
    _, refined = winner(monkeypatch, starts)
    for number, made_one in enumerate((refined[3], refined[7])):
        alone = [np.abs(made_one - W).max() < 1e-4 for start in starts[: number + 1] for W in start]
        assert sum(alone) == 1


def test_halves_that_agree_are_not_refined_again(monkeypatch):
    rng = np.random.default_rng(4)
    _, refined = winner(monkeypatch, [[near(TRUTH, 0.3, rng) for _ in range(3)]])
    assert len(refined) == 3


@pytest.mark.parametrize(("errors", "low", "high"), [((0.5, 0.5), 0.2, 1 / 3), ((0.5, 20), -0.1, 0.1)])
def test_starts_that_find_the_same_map_vouch_for_it_where_halves_have_too_few_rows(monkeypatch, errors, low, high):
    rng = np.random.default_rng(8)
    starts = [[near(TRUTH, error, rng), *(polar(rng.standard_normal((D, D))) for _ in range(2))] for error in errors]
    assert abs(winner(monkeypatch, starts[:1])[0].agreement) < 0.1  # the halves know nothing
    assert low < winner(monkeypatch, starts)[0].agreement < high


@pytest.mark.parametrize("agreement", [0.1, 0.45])
def test_maps_are_bred_from_the_best_where_the_halves_do_not_agree(monkeypatch, agreement):
    rng = np.random.default_rng(6)
    problem, refined = staged(monkeypatch, rng)
    wholes = [near(TRUTH, error, rng) for error in (1.2, 1.2, 1.5)]
    halves = [near(TRUTH, 2.5, rng) for _ in range(2)]
    *halves, one, two, three = (competition.refine(None, W, None, rng, problem) for W in (*halves, *wholes))
    found = [[*halves, whole] for whole in (one, two, three)]
    refined.clear()
    best = max((whole for *_, whole in found), key=competition.OBJECTIVE)
    winner = competition.Winner(best.W, best, agreement, found)
    better = competition.bred(problem, winner, Level(16, 20, 100, 5), Record(), rng)
    if agreement < competition.POOR:
        assert better.refined.objective > best.objective + 0.1
        assert len(refined) == 3 * competition.GENERATIONS  # one between two maps; one after soft steps, and before
        pairs = (halves, (one, two), (one, three), (two, three))
        halves_agree, *starts_agree = (competition._agreement(problem, *pair) for pair in pairs)
        assert better.agreement in [max(halves_agree, competition.RIVALS_WORTH * agree) for agree in starts_agree]
        assert any(better.refined is one for one in better.bred)  # the level after this one has them all
        assert len(better.bred) == 2 * competition.GENERATIONS
        assert better.found is found  # the maps that judge stay as they are
    else:
        assert better is winner and not refined


def test_a_lone_start_breeds_with_itself(monkeypatch):
    rng = np.random.default_rng(7)
    problem, refined = staged(monkeypatch, rng)
    whole = competition.refine(None, near(TRUTH, 1.2, rng), None, rng, problem)
    winner = competition.Winner(whole.W, whole, 0.0, [[whole] * 3])
    found = competition.bred(problem, winner, Level(16, 20, 100, 5), Record(), rng)
    assert share(found.refined.W) == pytest.approx(share(whole.W), abs=1e-4)


@pytest.mark.parametrize(("agreement", "one"), [(0.3, True), (0.6, False), (0.05, False)])
def test_what_agrees_at_the_second_level_is_made_one_where_the_first_left_it_open(monkeypatch, agreement, one):
    rng = np.random.default_rng(5)
    problem, refined = staged(monkeypatch, rng)
    unrelated = [polar(rng.standard_normal((D, D))) for _ in range(2)]
    maps = [near(TRUTH, 1.2, rng) for _ in range(3)] + unrelated + [near(TRUTH, 1.2, rng) for _ in range(3)]
    best, *others = (competition.refine(None, W, None, rng, problem) for W in maps)
    refined.clear()
    winner = competition.Winner(best.W, best, agreement, [others[:3], [*others[3:5], best]], bred=others[5:])
    W = competition.carried(problem, winner, Level(16, 20, 100, 5, bags=6), Record(), rng)
    if one:
        assert len(refined) == competition.CARRIED  # the others are farther from the winner
        assert share(W) > max(map(share, maps)) + 0.1
    else:
        assert W is best.W and not refined
