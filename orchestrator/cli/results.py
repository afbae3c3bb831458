"""Commands that show, export, check and use what a search found."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import (
    Address,
    AllowOpen,
    AsJson,
    Cluster,
    InProcess,
    NoTracking,
    Search,
    Storage,
    forward,
)
from orchestrator.cli.output import console, count, print_json, print_table, watching
from orchestrator.places import DEFAULT_STORAGE, tracking_uri
from orchestrator.progress import duration_text

if TYPE_CHECKING:
    from orchestrator.engine.decisions import Followed
    from orchestrator.engine.events import Event
    from workers.predict import Prediction

Export = Annotated[str, typer.Argument(help="An export: a folder or s3://…", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the application."""
    for command in (leaderboard, audit, retrain, export, verify, predict, ui):
        app.command()(command)


def leaderboard(
    name: Search,
    top: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """Trials of a search, best first, and its final comparison.

    Example: segsearch leaderboard hippocampus --top 10
    """
    command = ["leaderboard", name, "--top", str(top)]
    forward(command, address, storage=storage, allow_open=allow_open, as_json=as_json)
    from orchestrator import reading

    board = reading.leaderboard_of(name, storage=storage)
    front, result = board.front(), board.result
    growth = board.growth() if front else None
    if as_json:
        told = {"front": front, "hypervolume": growth, "result": result}
        print_json({"trials": [asdict(row) for row in board.rows], **told})
        return
    print_trials(board.rows, top)
    if front is not None:
        members = ", ".join(map(str, front["trials"]))
        print(
            f"front of the search: trials {members}; its knee, farthest out between the extremes: trial {front['knee']}"
        )
    if growth and growth["grown"]:
        print(growth_text(growth))
    if result:
        print_comparison(result)


def growth_text(growth: dict[str, Any]) -> str:
    """When the hypervolume had reached half, nine tenths and all of what it is now."""
    volume = growth["grown"][-1][1]
    when = [
        duration_text(next(at for at, reached in growth["grown"] if reached >= share * volume))
        for share in (0.5, 0.9, 1.0)
    ]
    corner = ", ".join(f"{name} {value:g}" for name, value in growth["reference"].items())
    return f"hypervolume from {corner}: {volume:.4g}; half of it after {when[0]}, 90 % after {when[1]}, all after {when[2]}"


def audit(
    name: Search,
    files: Annotated[bool, typer.Option(help="Look at checkpoints, too.")] = True,
    decisions: Annotated[
        bool,
        typer.Option("--decisions", help="Decide all that was decided again, too, from the journal alone."),
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = None,
    allow_open: AllowOpen = False,
    as_json: AsJson = False,
) -> None:
    """Check that a search lost nothing and counts nothing twice.

    Checkpoints are looked at, too. Exit 1 where anything is wrong.

    With --decisions also that each decision follows from the events before it: which candidate is asked or turned down, which
    trial goes on, stops or ends and when, what a leg is, when the search is over.

    Example: segsearch audit hippocampus --decisions
    """
    command = ["audit", name, "--files" if files else "--no-files", *(["--decisions"] if decisions else [])]
    forward(command, address, storage=storage, allow_open=allow_open, as_json=as_json)
    from orchestrator.audit import faults
    from orchestrator.journal import Journal
    from orchestrator.places import journal_url

    written = Journal(journal_url(storage)).read(name)
    found = faults(written, files=files)
    followed, seconds = _decide_again(name, written) if decisions else (None, 0.0)
    if as_json:
        more = {} if followed is None else {"decisions": asdict(followed) | {"seconds": seconds}}
        print_json({"events": len(written), "faults": found, **more})
    else:
        lines = [f"{name}: {len(written)} events, {len(found)} faults", *(f"  - {fault}" for fault in found)]
        print("\n".join([*lines, *([] if followed is None else _follow_lines(name, followed, seconds))]))
    if found or (followed is not None and followed.difference is not None):
        raise typer.Exit(1)


def _decide_again(name: str, written: "Sequence[Event]") -> tuple["Followed", float]:
    """How far the decisions follow, and seconds of one core that deciding them again took."""
    from orchestrator.engine.decisions import follow
    from orchestrator.plugins import make_importable
    from orchestrator.rules import settings_of

    make_importable(Path())
    settings = settings_of(name, written)
    begun = time.process_time()
    return follow(written, settings), time.process_time() - begun


def _follow_lines(name: str, followed: "Followed", seconds: float) -> list[str]:
    """What was decided again, in a line; then the first difference, and what could only be taken as it is."""
    same = sum(followed.same.values())
    lines = [
        f"{name}: {same:,} of {followed.decisions:,} decisions follow from the journal ({seconds:.1f} s)"
    ]
    if followed.difference is not None:
        lines.append(
            f"  - event {followed.difference.seq}: {followed.difference.message}; what comes after it was not looked at"
        )
    if followed.requests:
        lines.append(f"  {followed.requests} trainings outside the search were asked for, not decided")
    if followed.twins:
        lines.append(
            f"  {followed.twins} are taken as they stand: the version that decided them took one candidate for two"
        )
    if followed.untold:
        lines.append(
            f"  {followed.untold} drivers did not tell their slots: as many count as legs ran side by side"
        )
    return lines


def retrain(
    name: Search,
    top: Annotated[int, typer.Option(min=1, max=100, help="How many of the best.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; default those of the job.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of each.")] = 1,
    storage: Storage = DEFAULT_STORAGE,
    cluster: Cluster = None,
    in_process: InProcess = False,
    no_tracking: NoTracking = False,
    as_json: AsJson = False,
) -> None:
    """Train the best candidates of a search anew, with seeds.

    Example: segsearch retrain hippocampus --top 1 --epochs 50 --seeds 3
    """
    from orchestrator import verbs
    from orchestrator.lead import Place

    with watching(as_json) as view:
        place = Place(cluster, in_process, view, not no_tracking)
        rows = verbs.retrain(name, top=top, epochs=epochs, seeds=seeds, storage=storage, place=place)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_trials(rows, len(rows))


def export(
    name: Search,
    trial: Annotated[
        int | None, typer.Option(help="Trial; default the one that the search hands over, else the best.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder or s3://… to write.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files; default the job's.")] = None,
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Export a network with the proof that it is the trained one.

    Exit 1 where the proof fails; then there is no export.

    Example: segsearch export hippocampus --trial 3 --out best
    """
    from orchestrator import verbs

    place = verbs.export_trial(name, trial=trial, out=out, raw=raw, storage=storage)
    if as_json:
        print_json({"export": place})
    else:
        print(f"exported and proved: {place}")


def verify(
    place: Export,
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files; default where they lay.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove an export again; exit 1 where the proof fails.

    Files are unaltered, torch and onnxruntime agree, the recorded metric is met.

    Example: segsearch verify runs/hippocampus/exports/trial-00021
    """
    from workers.export import verify as verify_export
    from workers.export_store import local_export

    with local_export(place) as folder:
        proof = verify_export(folder, raw=raw)
    if as_json:
        print_json(proof)
        return
    outputs = proof["outputs"]
    print(f"{place}: unaltered; {outputs['cases']} {proof['split']} cases from {proof['evidence']}.")
    print(
        f"  torch and onnxruntime differ by at most {outputs['difference']:.3g}, logits reach {outputs['largest']:.3g}"
    )
    for metric in ("dice", "miou"):
        if metric in proof["recorded"]:
            again = ", ".join(f"{scores[metric]:.6f} by {name}" for name, scores in proof["measured"].items())
            print(f"  {metric}: recorded {proof['recorded'][metric]:.6f}, measured again {again}")


def predict(
    place: Export,
    inputs: Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for label maps and overlays.", show_default=False)],
    engine: Annotated[str, typer.Option(help="torch or onnx.")] = "torch",
    as_json: AsJson = False,
) -> None:
    """Segment new files with an exported network.

    Of each file a label map in its own geometry is written, or a mask of each region, and an overlay. An altered export is
    refused.

    Example: segsearch predict runs/hippocampus/exports/trial-00021 scan.nii.gz --out predictions
    """
    from workers.export_store import local_export
    from workers.predict import predict as predict_files

    if engine not in ("torch", "onnx"):
        raise typer.BadParameter(f"--engine: expected torch or onnx, got {engine!r}.")
    with local_export(place) as folder:
        done = predict_files(folder, inputs, out, engine=engine)
    if as_json:
        print_json(
            [{"input": str(p.source), **_files(p), "overlay": str(p.overlay), **p.shares} for p in done]
        )
        return
    names = list(done[0].shares)
    rows = [("\n".join(map(str, p.files.values())), *p.shares.values()) for p in done]
    print_table("predictions", ("files", *names), rows)


def _files(done: "Prediction") -> dict[str, Any]:
    """The label map under ``labels``, or of regions the mask of each under ``masks``."""
    files = {name: str(path) for name, path in done.files.items()}
    return files if list(files) == ["labels"] else {"masks": files}


def ui(
    storage: Storage = DEFAULT_STORAGE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on the loopback address.")] = 5000,
) -> None:
    """Serve the MLflow UI on this machine until Ctrl-C.

    What MLflow lacks is published first.

    Example: segsearch ui --port 5000
    """
    from orchestrator.ui import serve

    serve(storage, port=port, say=print)


def print_trials(rows: Sequence[Any], top: int) -> None:
    """The leaderboard, without trials that only measured what an epoch costs."""
    from orchestrator.reading import PROBE

    shown = [row for row in rows if not row.name.endswith(PROBE)]
    columns = ("rank", "trial", "name", "purpose", "epochs", "value", "parameters", "worker-s", "status")
    table = [
        (
            rank,
            row.trial,
            row.name if row.parent is None else f"{row.name} (began as trial {row.parent})",
            row.purpose,
            row.epoch,
            row.value,
            int(row.profile["parameters"]) if row.profile else None,
            round(row.worker_seconds),
            row.status,
        )
        for rank, row in enumerate(shown[:top], 1)
    ]
    print_table(f"leaderboard ({min(top, len(shown))} of {len(shown)} trials)", columns, table)


def print_comparison(result: dict[str, Any]) -> None:
    """The final table: the winner beside the preset, on test cases, and which is better."""
    entries = [("winner", result["winner"])] + ([("preset", result["preset"])] if "preset" in result else [])
    labels = list(result["winner"]["test"])
    rows = []
    for kind, entry in entries:
        cells = [
            f"{entry['test'][k]['dice']:.4f} [{entry['test'][k]['low']:.4f}, {entry['test'][k]['high']:.4f}]"
            for k in labels
        ]
        rows.append(
            (
                kind,
                f"{entry['name']} (trial {entry['trial']})",
                int(entry["parameters"]),
                entry["epochs"],
                *cells,
            )
        )
    cases = result["winner"]["cases"]
    title = f"Dice on {result['split']} ({count(cases, 'case')}), with 95 % intervals over cases"
    print_table(title, ("", "network", "parameters", "epochs", *labels), rows)
    print_metrics(dict(entries), result["split"])
    cost = f"search {result['search_worker_seconds']:.0f} + retraining {result['retrain_worker_seconds']:.0f}"
    if "preset" in result:
        cost += f" worker-seconds; the preset alone: {result['baseline_worker_seconds']:.0f}"
    console().print(cost, highlight=False)
    if "difference" in result:
        said = verdict(result["difference"], result["preset"]["name"], cases=cases)
        console().print(said, highlight=False, soft_wrap=True)


def print_metrics(entries: dict[str, dict[str, Any]], split: str) -> None:
    """Every metric of the set, without its classes; a search of an older version recorded none."""
    found = {kind: entry.get("metrics", {}) for kind, entry in entries.items()}
    names = sorted({name for metrics in found.values() for name in metrics if "/" not in name})
    if names:
        rows = [(name, *(metrics.get(name) for metrics in found.values())) for name in names]
        print_table(f"Metrics on {split}; distances in mm, of images in pixels", ("", *found), rows)


def verdict(difference: dict[str, float], preset: str, *, cases: int) -> str:
    """Plainly which of the two is better, as far as these cases show."""
    if cases < 2:
        return (
            f"One case cannot show whether the winner or {preset} is better: {difference['dice']:+.4f} Dice."
        )
    text = f"{difference['dice']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    if difference["low"] > 0:
        return f"The winner is better than {preset}: {text} Dice."
    if difference["high"] < 0:
        return f"{preset} is better than the winner: {text} Dice."
    return f"These cases show no difference between the winner and {preset}: {text} Dice."


def nearby(place: str) -> str:
    """A location as short as it works from here."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def print_result(name: str, result: dict[str, Any], storage: str) -> None:
    """What a finished search prints: leaderboard, comparison, and the next lines to type."""
    from orchestrator import reading

    print_trials(reading.leaderboard_of(name, storage=storage).rows, 15)
    if result:
        print_comparison(result)
        best = reading.best_network(result)
        if best["trial"] != result["winner"]["trial"]:
            scores = f"{result['preset']['validation']:.4f} against {result['winner']['validation']:.4f}"
            print(f"\n{best['name']} scores higher on validation ({scores}), so it is handed over.")
        place = nearby(best["export"])
        print(f"\nbest network, exported and proved: {place}")
        print(f"  check it again:   segsearch verify {place}")
    server = tracking_uri(storage)
    if server.startswith(("http://", "https://")):
        print(f"  compare all runs: {server}")
        return
    option = "" if storage == DEFAULT_STORAGE else f" --storage {storage}"
    print(f"  compare all runs: segsearch ui{option}   (MLflow on http://127.0.0.1:5000)")
