"""A search played on a table: the same engine, in virtual time, with no database and no training.

What is drawn at random from the space is drawn from the table instead, whose candidates were drawn evenly from the space. A
sampler that scores candidates chooses among those of the table. For any other, the nearest recorded candidate that was not
tried yet takes the place of what it proposes; or, if asked for, a forest fitted to the table predicts the curve of what the
table lacks. Either is counted.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from orchestrator.engine.encoding import Array, Encoding, encoding_of
from orchestrator.engine.engine import Engine, Finished, Start, Wait
from orchestrator.engine.events import Draft, Event, leading, opened
from orchestrator.engine.objective import Vector
from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.samplers.sobol import QuasiRandom
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.trial import Trial
from orchestrator.executors.simulated import Recording, SimulatedExecutor
from orchestrator.table import Table, Training
from search_spaces.candidate import Candidate, canonical, from_json
from search_spaces.domain import Scalar
from search_spaces.space import Space, Trace, encode, sample
from workers.contract import DataView, EpochResult, Leg

VIEW = DataView(dataset="", digest="", view="slices", size=(), batch=1)
FOREVER = 1e12
TREES = 40

Key = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The best so far became better: virtual seconds since the start, worker-seconds spent, and the new best."""

    wall_s: float
    worker_s: float
    best: float


@dataclass(frozen=True, slots=True)
class Played:
    """One simulated search.

    Attributes:
        seed: Seed of the search.
        steps: How the best value at any epoch of any trial rose, or fell where less is better.
        wall_s: Virtual seconds it took.
        worker_s: Worker-seconds it took.
        trials: Trials begun.
        epochs: Epochs trained.
        moved: Proposals that stood for the nearest recorded candidate.
        predicted: Trials whose curve was predicted.
        finish: Why it ended.
        points: Worker-seconds spent and scores of each epoch of the search, in order.
        ends: How the best value after the last epoch of a whole training rose, or fell where less is better.
    """

    seed: int
    steps: tuple[Step, ...]
    wall_s: float
    worker_s: float
    trials: int
    epochs: int
    moved: int
    predicted: int
    finish: str
    points: tuple[tuple[float, Vector], ...] = ()
    ends: tuple[Step, ...] = ()

    def best_after(self, worker_s: float) -> float | None:
        """The best value when so many worker-seconds were spent, if there was any."""
        return next((step.best for step in reversed(self.steps) if step.worker_s <= worker_s), None)

    def cost_of(self, value: float, sign: float) -> float | None:
        """Worker-seconds until a value was reached, if it was."""
        return next((step.worker_s for step in self.steps if sign * step.best >= sign * value), None)


class Playground:
    """A table made ready to be played on by many searches.

    Args:
        space: What searches choose from.
        table: Recorded trainings, all in the space.
        predict: Predict the curves of unseen candidates rather than move to recorded ones.
    """

    def __init__(self, space: Space, table: Table, *, predict: bool = False) -> None:
        self.table = table
        self.encoding = encoding_of(space)
        self.candidates = [
            canonical(from_json(Candidate, trainings[0].candidate)) for trainings in table.by_digest.values()
        ]
        traces = [encode(space, candidate) for candidate in self.candidates]
        self.digests = list(table.by_digest)
        self.places = {key_of(trace): index for index, trace in enumerate(traces)}
        self.features = features(self.encoding, traces)
        self.profiles = {
            candidate: {"parameters": first.parameters, "macs": first.macs}
            for candidate, (first, *_) in zip(self.candidates, table.by_digest.values(), strict=True)
        }
        self.recordings = {
            (training.digest, training.seed): recording_of(training) for training in table.trainings
        }
        self.forest = _Forest(self) if predict else None

    def play(self, settings: EngineSettings, *, workers: int) -> Played:
        """Run one search to its end; nobody inherits, as recorded trainings began with weights of their own.

        Args:
            settings: The search; its trials are at most the candidates of the table, where curves are not predicted.
            workers: Slots side by side.
        """
        moves = _Moves()
        sampler, trials = settings.sampler, settings.trials
        if self.forest is None:
            sampler = Recorded(sampler, self, moves)
            trials = min(trials, len(self.candidates))

        def known(candidate: Candidate) -> Mapping[str, float] | str:
            if self.forest is None and candidate not in self.profiles:
                return "not recorded"  # drawn at random, as all of the table was tried
            if "memory_bytes" in settings.constraints:
                return settings.gate(candidate)  # tables do not hold it
            numbers = self.profiles.get(candidate)
            if numbers is None:
                assert self.forest is not None
                numbers = self.forest.profile(encode(settings.space, candidate))
            return numbers

        told = replace(settings, sampler=sampler, trials=trials, gate=known, slots=workers, inherit=False)
        return _Run(self, told, moves).run()

    def nearest(self, trace: Trace, left: Sequence[int]) -> tuple[int, bool]:
        """Of the candidates at these places the one that a trace is, or is nearest to, and whether it is another."""
        index = self.places.get(key_of(trace))
        if index is not None and index in left:
            return index, False
        distances = np.abs(self.features[left] - features(self.encoding, [trace])).sum(axis=1)
        return left[int(distances.argmin())], True

    def recording(self, trial: Trial) -> tuple[Recording, bool]:
        """The curve of a trial and whether it is predicted; of several recorded seeds each stands for some seeds."""
        trainings = self.table.by_digest.get(trial.digest)
        if trainings is not None:
            training = trainings[trial.seed % len(trainings)]
            return self.recordings[training.digest, training.seed], False
        assert self.forest is not None
        return self.forest.predict(trial.trace), True


@runtime_checkable
class Scoring(Protocol):
    """A sampler that says how much it likes candidates, so that it can choose among those of a table."""

    def scores(self, space: Space, history: History, features: Array, *, seed: int) -> Array | None:
        """The higher the better; None while it draws at random."""
        ...


@dataclass(slots=True)
class _Moves:
    count: int = 0


@dataclass(frozen=True, slots=True)
class Recorded(Sampler):
    """A sampler whose proposals are moved to the nearest candidate of a table that was not proposed yet."""

    inner: Sampler
    playground: Playground
    moves: _Moves

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """Of what is left: any, where the sampler draws at random; the one that it scores best, or the nearest."""
        place = self.playground
        tried = {place.places.get(key_of(item.trace)) for item in history.observations}
        left = [index for index in range(len(place.candidates)) if index not in tried]
        if not left:
            return place.candidates[0]
        if isinstance(self.inner, Scoring):
            liked = self.inner.scores(space, history, place.features[left], seed=seed)
            return place.candidates[left[seed % len(left) if liked is None else int(liked.argmax())]]
        candidate = self.inner.propose(space, history, seed=seed)
        if isinstance(self.inner, QuasiRandom) or candidate == sample(space, random.Random(seed)):
            return place.candidates[left[seed % len(left)]]
        index, moved = place.nearest(encode(space, candidate), left)
        self.moves.count += moved
        return place.candidates[index]


class _Run:
    """The loop of ``orchestrator.search`` without a journal."""

    def __init__(self, playground: Playground, settings: EngineSettings, moves: _Moves) -> None:
        self.playground, self.settings, self.moves = playground, settings, moves
        self.engine = Engine(settings)
        self.place = SimulatedExecutor(self._curve, slots=settings.slots)
        self.seq = 0
        self.steps: list[Step] = []
        self.ends: list[Step] = []
        self.points: list[tuple[float, Vector]] = []
        self.epochs = self.predicted = 0
        self.curves: dict[int, Recording] = {}

    def run(self) -> Played:
        engine, place = self.engine, self.place
        self._write([opened({}, "", protocol={}, versions={}, seed=self.settings.seed), leading({}, 1)])
        while True:
            answer = engine.ask(place.now)
            self._write(answer.drafts)
            match answer.step:
                case Start(order):
                    place.start(order.to_leg(search="simulated", data=VIEW, storage=""))
                    continue
                case Finished(reason):
                    return self._played(reason)
                case Wait() if answer.drafts:
                    continue
            for result in place.poll(FOREVER):
                if isinstance(result, EpochResult):
                    self.epochs += 1
                    reaction = engine.report(result, place.now)
                    self._write(reaction.drafts)
                    self._note(result)
                    if reaction.stop:
                        place.stop(result.trial)
                else:
                    self._write(engine.tell(result, place.now))

    def _curve(self, leg: Leg) -> Recording:
        if leg.trial not in self.curves:
            found, predicted = self.playground.recording(self.engine.state.trials[leg.trial])
            self.curves[leg.trial] = found
            self.predicted += predicted
        return self.curves[leg.trial]

    def _write(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            self.seq += 1
            self.engine.apply(Event(self.seq, draft.kind, draft.version, self.place.now, draft.body))

    def _note(self, result: EpochResult) -> None:
        name, sign = learned(self.settings)
        value = result.metrics.get(name)
        if score := self.engine.state.trials[result.trial].score:
            self.points.append((self.engine.state.spent_s(self.place.now), score))
        if value is None:
            return
        whole = result.epoch == self.settings.scheduler.max_epochs
        for kept in (self.steps, self.ends) if whole else (self.steps,):
            if not kept or sign * value > sign * kept[-1].best:
                now = self.place.now
                kept.append(Step(now, self.engine.state.spent_s(now), value))

    def _played(self, finish: str) -> Played:
        state, now = self.engine.state, self.place.now
        return Played(
            seed=self.settings.seed,
            steps=tuple(self.steps),
            wall_s=now,
            worker_s=state.spent_s(now),
            trials=len(list(state.of("search"))),
            epochs=self.epochs,
            moved=self.moves.count,
            predicted=self.predicted,
            finish=finish,
            points=tuple(self.points),
            ends=tuple(self.ends),
        )


class _Forest:
    """Predicts the curve and the seconds of a candidate from those of a table: a forest, so never beyond what it saw."""

    def __init__(self, playground: Playground) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self.encoding = playground.encoding
        whole = [t for t in playground.table.trainings if t.status == "completed"]
        rows = {name: index for index, name in enumerate(playground.digests)}
        inputs = playground.features[[rows[training.digest] for training in whole]]
        self.metrics = sorted({name for t in whole for epoch in t.epochs for name in epoch.metrics})
        self.epochs = len(whole[0].epochs)
        self.model = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0, n_jobs=1)
        self.last: tuple[Key, tuple[Array, list[float]]] = ((), (np.zeros((0, 0)), []))
        self.model.fit(inputs, np.array([self._target(training) for training in whole]))

    def _target(self, training: Training) -> list[float]:
        curves = [epoch.metrics.get(name, 0.0) for epoch in training.epochs for name in self.metrics]
        seconds = statistics.mean(epoch.seconds for epoch in training.epochs)
        numbers = [max(seconds, 1e-3), max(training.startup_s, 1e-3), training.parameters, training.macs]
        return [*curves, *np.log(numbers).tolist()]

    def predict(self, trace: Trace) -> Recording:
        """The mean curve of the trees."""
        curves, (seconds, startup_s, *_) = self._found(key_of(trace))
        metrics = tuple({name: float(v) for name, v in zip(self.metrics, row, strict=True)} for row in curves)
        return Recording(metrics, (seconds,) * self.epochs, startup_s=startup_s)

    def profile(self, trace: Trace) -> dict[str, float]:
        """The numbers of the gate, predicted too: counting them takes longer than all the rest."""
        *_, parameters, macs = self._found(key_of(trace))[1]
        return {"parameters": parameters, "macs": macs}

    def _found(self, key: Key) -> tuple[Array, list[float]]:
        if key != self.last[0]:
            found = self.model.predict(features(self.encoding, [dict(key)]))[0]
            curves = found[:-4].reshape(self.epochs, len(self.metrics))
            self.last = (key, (curves, np.exp(found[-4:]).tolist()))
        return self.last[1]


def learned(settings: EngineSettings) -> tuple[str, float]:
    """Name of the objective that is followed, and 1 where more of it is better, -1 where less is."""
    return settings.objectives[0].name, settings.objectives[0].score(1.0)


def recording_of(training: Training) -> Recording:
    """A training as the simulated executor plays it."""
    seconds = tuple(epoch.seconds for epoch in training.epochs)
    broke = training.status != "completed"
    return Recording(
        metrics=tuple(epoch.metrics for epoch in training.epochs),
        seconds=(*seconds, training.lost_s) if broke else seconds,
        startup_s=training.startup_s,
        breaks=training.status if broke else None,
    )


def features(encoding: Encoding, traces: Sequence[Trace]) -> Array:
    """Candidates as numbers, one row each."""
    points = np.array([encoding.point(trace) for trace in traces])
    return encoding.features(points, np.array([encoding.present(trace) for trace in traces]))


def key_of(trace: Trace) -> Key:
    """A trace as something to look up; equal traces name their decisions in the same order."""
    return tuple(trace.items())
