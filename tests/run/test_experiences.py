"""The loop over experiences: what a learner is given and told, what is tested, and runs over seeds."""

import json
import multiprocessing
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import retain as rt
from retain import state
from retain.compose import Consolidating
from retain.core import Batch
from retain.errors import SchemaError, SettingError, StateError
from retain.report import Continual, Run, write_continual
from retain.run import Experiences, continual
from retain.run import scenarios as sc
from retain.run.experiences import accuracy
from retain.streams import train_test

RNG = np.random.default_rng(0)
CENTRES = 4 * RNG.normal(size=(6, 5))
Y = np.arange(600) % 6
DATA = train_test((CENTRES[Y] + RNG.normal(size=(600, 5))).astype(np.float32), Y)


class Spy(Consolidating):
    """Writes down what it is given; says the classes it has seen last."""

    def __init__(self, k=6):
        self.blocks, self.ended, self.k = [], [], k

    def learn(self, batch):
        self.blocks.append(batch)
        return self.predict(batch.x)

    def predict(self, x):
        said = np.zeros((len(x), self.k if self.blocks else 0))
        if self.blocks:
            said[:, self.blocks[-1].y.max()] = 1
        return said

    def consolidate(self, experience):
        self.ended.append((list(experience), list(experience)))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def rls(seed):
    return rt.RLS()


def linear(rate, seed):
    return rt.Linear(loss=rt.Multinomial(), update=rt.SGD(learning_rate=rate))


def dies(seed):
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    return rt.RLS()


def walk(scenario, **settings):
    spy = Spy()
    loop = Experiences(scenario, lambda seed: spy, **settings)
    return spy, loop, list(loop)


def test_rows_are_gone_through_as_often_as_asked_in_another_order_each_time():
    scenario = sc.class_incremental(DATA, experiences=3)
    spy, loop, steps = walk(scenario, epochs=2, block=50)
    per = len(scenario.stage(0))
    assert [len(block) for block in spy.blocks[:4]] == [50, 50, 50, per - 150]
    seen = np.concatenate([block.x for block in spy.blocks])
    first, second = seen[:per], seen[per : 2 * per]
    assert not (first == second).all()
    assert (first[np.lexsort(first.T)] == second[np.lexsort(second.T)]).all()
    assert steps[-1].samples == loop.total == loop.run().samples == 2 * len(DATA.train)


def test_the_end_of_an_experience_is_told_with_its_rows_in_the_order_of_arrival():
    scenario = sc.class_incremental(DATA, experiences=3)
    spy, _, _ = walk(scenario, epochs=2, block=50)
    assert len(spy.ended) == 3
    once, again = (np.concatenate([block.x for block in blocks]) for blocks in spy.ended[0])
    arrived = np.concatenate([block.x for block in spy.blocks])[: len(once)]
    assert (once == again).all()
    assert (once == arrived).all()


def test_task_free_means_that_nothing_is_told():
    spy, _, _ = walk(sc.task_free(sc.task_incremental(DATA, experiences=3)))
    assert not spy.ended
    assert all(block.task is None for block in spy.blocks)


def test_a_learner_that_knows_nothing_guesses_and_one_that_says_the_last_class_is_right_as_often():
    scenario = sc.class_incremental(DATA, experiences=3)
    _, loop, _ = walk(scenario)
    matrix = loop.run().matrix
    assert matrix.shape == (4, 3)
    assert matrix[0] == pytest.approx(1 / 6)
    assert (matrix[1:] == np.where(np.eye(3) > 0, 0.5, 0.0)).all()


def test_with_tasks_told_only_classes_of_the_task_compete():
    scenario = sc.task_incremental(DATA, experiences=3)
    _, loop, _ = walk(scenario)
    assert loop.run().matrix == pytest.approx(np.full((4, 3), 0.5))  # nothing said of the others' classes: a guess


def test_the_matrix_holds_what_scikit_learn_says_of_the_predictions():
    metrics = pytest.importorskip("sklearn.metrics")
    scenario = sc.class_incremental(DATA, experiences=3)
    learner = rt.RLS()
    loop = Experiences(scenario, lambda seed: learner)
    for step in loop:
        if step.accuracy is not None and step.stage:
            for experience, said in zip(scenario.experiences, step.accuracy, strict=True):
                decided = learner.predict(experience.test.x).argmax(axis=1)
                assert said == pytest.approx(metrics.accuracy_score(experience.test.y, decided))


def test_an_analytic_learner_ends_where_joint_learning_ends():
    scenario = sc.class_incremental(DATA, experiences=3)
    runs = [continual(s, rls) for s in (scenario, sc.joint(scenario), sc.cumulative(scenario))]
    finals = np.array([run.matrix[-1] for run in runs])
    assert (finals == finals[0]).all()
    assert runs[1].matrix.shape == (2, 3)
    assert np.isnan(runs[1].forgetting.mean)


def test_cumulative_is_by_a_new_learner_or_warm():
    scenario = sc.class_incremental(DATA, experiences=3)
    made = []

    def make(seed):
        made.append(seed)
        return rt.RLS()

    list(Experiences(sc.cumulative(scenario), make, seed=7))
    assert made == [7, 7, 7]
    list(Experiences(sc.cumulative(scenario, fresh=False), make))
    assert made == [7, 7, 7, 0]


def test_rows_may_be_record_batches_in_front_of_encoders(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "x,c,y\n" + "".join(f"{i % 7},{'abcd'[i % 4]},{'pqrs'[i % 4]}\n" for i in range(400))
    )
    data = rt.streams.collect(rt.streams.csv(tmp_path / "rows.csv", target="y"))
    result = continual(sc.class_incremental(data, experiences=2), lambda seed: rt.OneHot() | rt.RLS())
    assert result.acc.mean > 0.99
    with pytest.raises(SettingError, match="array"):
        sc.permuted(data)


def test_a_seed_decides_everything_and_seeds_differ():
    scenario = sc.class_incremental(DATA, experiences=3)
    first, again, other = (continual(scenario, partial(linear, 0.5), seeds=[seed]) for seed in (1, 1, 2))
    assert (first.matrix == again.matrix).all()
    assert not (first.matrix == other.matrix).all()


def test_workers_change_nothing(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # another process finds this module by its name
    scenario = sc.class_incremental(DATA, experiences=3)
    heard = []
    kept = {"epochs": 2, "seeds": 3}
    alone = continual(scenario, partial(linear, 0.5), **kept)
    spread = continual(scenario, partial(linear, 0.5), workers=2, watch=lambda *a: heard.append(a), **kept)
    assert [run.seed for run in spread.runs] == [0, 1, 2]
    assert sorted(seed for seed, _ in heard) == [0, 1, 2]
    assert (alone.matrices == spread.matrices).all()


def replaying(seed):
    replay = rt.strategies.Replay(rt.memory.Reservoir(30, seed=seed), size=8)
    module = rt.neural.MLP(5, 16, 6, seed=seed)
    return rt.Scale() | rt.Neural(module, strategies=[replay, rt.strategies.EWC()], batch_size=8, seed=seed)


@pytest.mark.parametrize(
    "arrange", [sc.class_incremental, lambda data, experiences: sc.cumulative(sc.split(data, experiences=experiences))]
)
@pytest.mark.parametrize("at", range(0, 26, 3))
def test_stopped_between_any_two_steps_and_resumed_a_run_ends_the_same(arrange, at):
    pytest.importorskip("torch")
    scenario, settings = arrange(DATA, experiences=3), {"epochs": 2, "block": 64, "seed": 3}
    whole = Experiences(scenario, replaying, **settings)
    steps = list(whole)
    first = Experiences(scenario, replaying, **settings)
    for _ in zip(range(at + 1), first, strict=False):
        pass
    saved = state.decode(state.encode(first.state_dict()))
    again = Experiences(scenario, replaying, **settings)
    again.load_state_dict(saved)
    rest = list(again)
    assert [step.samples for step in rest] == [step.samples for step in steps[at + 1 :]]
    assert (again.run().matrix == whole.run().matrix).all()
    assert state.equal(dict(again.learner.state_dict()), dict(whole.learner.state_dict()))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_kept_in_a_folder_is_not_run_again(tmp_path, monkeypatch, workers):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    scenario = sc.class_incremental(DATA, experiences=3)
    whole = continual(scenario, partial(linear, 0.5), seeds=2)

    def stop(seed, step):
        if step.stage == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        continual(scenario, partial(linear, 0.5), seeds=2, state=tmp_path, watch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-0"]
    heard = []
    rest = continual(
        scenario,
        partial(linear, 0.5),
        seeds=2,
        workers=workers,
        state=tmp_path,
        watch=lambda seed, step: heard.append((seed, step.stage)),
    )
    assert (rest.matrices == whole.matrices).all()
    assert (0, 1) not in heard
    again = continual(scenario, partial(linear, 0.5), seeds=2, state=tmp_path)
    assert (again.matrices == whole.matrices).all()
    assert again.seconds == rest.seconds  # read, not run
    with pytest.raises(StateError, match="epochs = 1, this run has 2"):
        continual(scenario, partial(linear, 0.5), epochs=2, state=tmp_path)


def test_a_recipe_that_other_processes_cannot_find_is_refused():
    with pytest.raises(SettingError, match="function of a module"):
        continual(sc.split(DATA), lambda seed: rt.RLS(), seeds=2, workers=2)


def test_a_process_that_dies_is_told(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    with pytest.raises(SettingError, match="workers=1"):
        continual(sc.split(DATA), dies, seeds=2, workers=2)


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"block": 0}, {"seeds": 0}, {"seeds": [1, 1]}, {"workers": 0}], ids=str
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(SettingError, match="expected"):
        continual(sc.split(DATA), rls, **settings)


def test_online_rows_may_be_seen_only_once():
    with pytest.raises(SettingError, match="only once"):
        continual(sc.online(sc.split(DATA)), rls, epochs=2)


def test_a_learner_of_numbers_and_an_unfinished_walk_are_told():
    scenario = sc.split(DATA)
    loop = Experiences(scenario, lambda seed: rt.Mean())
    with pytest.raises(SchemaError, match="a classifier"):
        list(loop)
    with pytest.raises(SettingError, match="iterate to the end"):
        loop.run()


def test_accuracy_of_one_experience_by_hand():
    spy = Spy()
    spy.learn(Batch(np.zeros((1, 5)), y=np.array([2])))
    experience = sc.Experience(DATA.train, Batch(np.zeros((4, 5)), y=np.array([2, 2, 1, 0])), "all")
    assert accuracy(spy, experience, classes=np.arange(6), block=3) == 0.5
    assert accuracy(spy, experience, classes=np.array([0, 1]), block=3) == pytest.approx(0.5)


def result(seeds=3):
    matrices = [np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.8]]) + seed / 100 for seed in range(seeds)]
    runs = tuple(Run(seed, matrix, 100, 2.0, 1.5, 0.5) for seed, matrix in enumerate(matrices))
    return Continual("class", ("a <b>", "c"), runs, {"strategy": "replay"})


def test_seeds_are_summed_up_by_mean_and_standard_error():
    found = result()
    assert found.acc.mean == pytest.approx(0.66)
    assert found.acc.error == pytest.approx(np.std([0.65, 0.66, 0.67], ddof=1) / np.sqrt(3))
    assert np.isnan(result(1).acc.error)
    assert found.samples_per_cpu_second == pytest.approx(200)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["forgetting"] == {"mean": 0.4, "standard_error": 0.0}
    assert plain["matrix"][1] == [0.91, 0.11]
    assert json.loads(json.dumps(result(1).to_json(), allow_nan=False))["acc"]["standard_error"] is None


def test_results_of_other_seeds_merge_and_of_the_same_do_not():
    parts = [Continual("class", ("a", "b"), (run,)) for run in result().runs]
    assert (Continual.merge(parts).matrices == result().matrices).all()
    with pytest.raises(SettingError, match="different seeds"):
        Continual.merge([parts[0], parts[0]])
    with pytest.raises(SettingError, match="same scenario"):
        Continual("class", ("a",), result().runs)


def test_a_result_shows_itself(tmp_path):
    found = result()
    bound = Continual(
        "class, joint", found.experiences, (Run(0, np.array([[0.1, 0.1], [0.9, 0.95]]), 1, 1.0, 1.0, 1.0),)
    )
    found = Continual(
        found.scenario, found.experiences, found.runs, found.settings, {"joint": bound, "naive": result(1)}
    )
    assert list(found.figures()) == ["curves", "matrix"]
    assert list(bound.figures()) == ["matrix"]
    page = write_continual(found, tmp_path / "page.html", title="A <title>").read_text()
    assert "A &lt;title&gt;" in page
    assert "<script" not in page
    assert "a &lt;b&gt;" in page
    assert found._repr_html_().startswith('<div class="retain">')
