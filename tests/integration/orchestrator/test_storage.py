"""Storage that cannot be written is told before a search begins."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal import Journal
from orchestrator.lead import Place
from orchestrator.verbs import run
from workers.data.ingest import ingest
from workers.errors import StoreError

JOB = """\
name: tiny
dataset: {data}
data: {{size: [16, 16], batch: 4, epoch_samples: 8}}
search: {{scheduler: {{kind: none, max_epochs: 1}}}}
budget: {{trials: 1}}
retrain: {{top: 0}}
storage: {storage}
"""


def test_a_bucket_that_is_not_there_begins_no_search(
    s3: Any, red_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    monkeypatch.setenv("SEGSEARCH_JOURNAL", url)
    ingest(red_pictures, str(tmp_path / "data"))
    job, place = tmp_path / "job.yaml", Place(in_process=True, track=False)
    job.write_text(JOB.format(data=tmp_path / "data", storage="s3://no-such-bucket/runs"))
    with pytest.raises(StoreError, match=f"bucket 'no-such-bucket' not found at {s3.endpoint}"):
        run(job, place=place)
    assert Journal(url).names() == ()
    job.write_text(JOB.format(data=tmp_path / "data", storage=f"s3://{s3.bucket}/runs"))
    run(job, place=place)
    assert Journal(url).names() == ("tiny",)
