"""The order of the test files: each of them once, waiting beside computing, the quick ones last."""

from pathlib import Path

from tests.order_of_files import woven


def test_files_that_wait_stand_between_files_that_compute():
    names = ["airflow/a", "airflow/b", "browser/c", "jobs/d", "jobs/e", "jobs/f", "local/g", "unit/h"]
    found = [file.parent.name for file in woven([Path("tests") / name for name in names])]
    assert found == ["browser", "jobs", "airflow", "jobs", "airflow", "jobs", "local", "unit"]


def test_each_file_stays_once():
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("test_*.py"))
    assert sorted(woven(files)) == files
    assert woven(files[:1]) == files[:1]
    assert woven([]) == []
