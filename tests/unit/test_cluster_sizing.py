from pathlib import Path

import pytest
import yaml

from pipeline_tuner.analysis.cluster_sizing import Cluster, check_layout, propose_layouts
from pipeline_tuner.space import Space

SEED = Cluster(nodes=15, cores=24, memory_gb=256)


def test_the_documents_own_layout_leaves_cores_unused() -> None:
    layout = check_layout(SEED, executors=30, cores=10, heap_gb=100)
    assert layout.unused_cores == 60
    assert layout.problems == (
        "30 x 10 uses 300 of 360 cores",
        "a node needs 250 GB for its executors and has 248 GB beside the system",
    )


def test_proposals_fit_and_the_best_use_every_core() -> None:
    layouts = propose_layouts(SEED)
    assert layouts[0].unused_cores == 0
    for layout in layouts:
        assert layout.unused_cores >= 0
        assert layout.executors_a_node * (layout.heap_gb + layout.overhead_gb) <= 256 - 8
        assert not layout.problems or layout.unused_cores
    assert [each.unused_cores for each in layouts] == sorted(each.unused_cores for each in layouts)


def test_too_much_memory_or_too_many_cores_are_named() -> None:
    assert "GB" in check_layout(SEED, executors=30, cores=12, heap_gb=120).problems[0]
    assert "more than there are" in check_layout(SEED, executors=60, cores=10, heap_gb=20).problems[0]


def test_settings_are_sparks() -> None:
    settings = propose_layouts(Cluster(1, 16, 128))[0].settings
    assert settings["spark.executor.cores"] == "4"
    assert int(settings["spark.executor.instances"]) * 4 == 16


def test_a_cluster_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="more memory"):
        Cluster(1, 4, 8)


def test_the_cluster_settings_in_the_docs_are_parameters():
    text = (Path(__file__).parents[2] / "docs" / "quantizer.md").read_text(encoding="utf-8")
    block = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    space = Space.model_validate({"parameters": block})
    best = propose_layouts(Cluster(15, 24, 256))[0].settings
    assert {name: str(space.parameters[name].default) for name in best} == best
