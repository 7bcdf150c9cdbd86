"""The tables of what each job takes and refuses: every row has the tests that hold it, and a new row fails without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Table:
    """A table of a job's page: the file, how its header begins, and the tests of each row by its first cell."""

    page: str
    header: str
    tests: Mapping[str, tuple[str, ...]]


TEXTS = "jobs/test_dedup_exact_inputs.py::test_what_a_refusal_of_a_text_file_advises_works"
SCAN = "unit/test_dedup_text_scan.py::"
ODD = "jobs/test_dedup_odd_inputs.py::"
EXACT = "jobs/test_dedup_exact_inputs.py::"
JDBC = "jobs/test_dedup_jdbc_values.py::"
MERGES = "jobs/test_dedup_generated_merges.py::"
TARGETS = "jobs/test_dedup_postgres_target.py::"
TYPES = "jobs/test_migration_types.py::"
POSITION = "jobs/test_quantizer_position.py::"
IDENTITY = "jobs/test_quantizer_identity.py::"
ETL = "jobs/test_streaming_etl_types.py::"
ANOTHER_SOURCE = (f"{POSITION}test_another_source_than_the_one_rolled_up_so_far_is_refused",)
VALUES = (f"{ETL}test_a_thousand_values_in_every_type_are_exact_or_refused",)
TABLES = (
    Table("dedup.md", "| input | exact |", {
        "files of any format": (f"{ODD}test_a_file_that_spark_takes_for_hidden_is_not_left_out",
                                f"{ODD}test_a_table_of_another_format_is_more_than_its_files"),
        "text files": (f"{EXACT}test_folders_without_partition_names_are_not_left_out",
                       f"{EXACT}test_a_column_of_files_and_folders_is_refused_and_the_remedy_works",
                       "jobs/test_dedup_odd_inputs.py::test_text_that_is_not_utf8_is_refused_and_the_remedy_works"),
        "CSV": (TEXTS, f"{SCAN}test_what_is_no_csv_is_refused",
                f"{SCAN}test_a_header_that_is_not_the_schemas_is_refused"),
        "JSON": (TEXTS, f"{SCAN}test_what_is_no_json_is_refused",
                 f"{SCAN}test_names_in_another_case_are_found_in_every_line_and_depth"),
        "values in CSV and JSON": (TEXTS, f"{SCAN}test_a_text_is_exactly_a_value_or_none",
                                   f"{SCAN}test_a_value_of_json_is_exactly_one_of_its_type"),
        "Parquet": (f"{EXACT}test_files_that_disagree_on_nanoseconds_are_refused",
                    f"{EXACT}test_a_declared_column_that_no_file_has_is_refused",
                    f"{EXACT}test_dates_of_an_unknown_calendar_are_refused_and_the_remedy_works"),
        "JDBC (PostgreSQL)": (f"{JDBC}test_what_spark_would_change_is_refused_and_the_remedy_works",
                              f"{EXACT}test_a_type_that_jdbc_would_change_goes_as_text"),
        "Iceberg": ("jobs/test_dedup_sources.py::test_times_that_iceberg_would_misread_are_refused",),
        "nested values": (f"{TARGETS}test_a_type_without_a_counterpart_is_refused",
                          f"{SCAN}test_a_value_of_json_is_exactly_one_of_its_type"),
        "column names": (f"{TARGETS}test_a_name_that_a_target_cannot_have_is_refused",
                         f"{EXACT}test_any_name_goes_all_the_way"),
    }),
    Table("dedup.md", "| target | exact |", {
        "PostgreSQL's columns": (f"{TARGETS}test_a_target_is_refused_before_the_first_record_and_the_remedy_works",
                                 f"{TARGETS}test_a_column_with_a_length_takes_what_fits_and_nothing_is_cut"),
        "PostgreSQL's table": (f"{TARGETS}test_a_target_is_refused_before_the_first_record_and_the_remedy_works",
                               f"{TARGETS}test_a_role_that_may_not_write_is_told_before_the_work"),
        "a role without CREATE": (f"{TARGETS}test_a_role_without_create_is_told_both_ways_out_and_each_works",),
        "Redshift": (f"{EXACT}test_redshift_gets_no_key_that_it_takes_for_another",
                     f"{MERGES}test_redshift_takes_files_by_position_and_gets_columns_by_name"),
    }),
    Table("migration.md", "| the target |", {
        "has a column of a wider type": ("jobs/test_migration_oracle.py::"
                                         "test_generated_tables_arrive_exactly_by_copy_or_are_refused",),
        "has a column of another type": (
            f"{TYPES}test_a_column_that_would_change_values_is_refused_until_a_remedy_is_taken",),
        "has `timestamp` or `date` for": (f"{TYPES}test_a_zone_is_neither_lost_nor_made_up",),
        "has a number": (f"{TYPES}test_a_number_of_an_object_is_no_name_of_it",),
        "makes a column itself": (f"{TYPES}test_values_that_the_target_makes_itself_are_refused",
                                  f"{TYPES}test_values_that_both_make_in_other_ways_are_refused"),
        "refers to its own rows": (
            f"{TYPES}test_rows_that_refer_to_rows_of_other_ranges_are_refused_and_the_remedy_works",),
        "has a name of more than 63 bytes": (f"{TYPES}test_a_name_that_postgresql_would_cut_is_refused",),
        "is a view, or": (f"{TYPES}test_a_table_is_not_moved_into_itself_or_a_view",),
        "lacks a column of the source": (f"{TYPES}test_a_column_without_a_place_is_refused",),
        "lacks an enum": (f"{TYPES}test_types_that_the_target_lacks_are_listed_as_statements",
                          f"{TYPES}test_types_are_made_all_or_none"),
        "has a type of that name": (f"{TYPES}test_a_type_of_the_same_name_and_another_shape_is_refused",
                                    f"{TYPES}test_an_enum_that_lacks_labels_names_the_statements"),
    }),
    Table("quantizer.md", "| what happened |", {
        "the source was dropped": ANOTHER_SOURCE,
        "the source's snapshots": ANOTHER_SOURCE,
        "a column of the points was dropped": ANOTHER_SOURCE,
        "the target was rolled back": (f"{POSITION}test_a_target_that_was_rolled_back_is_rolled_up_again",),
        "the target was dropped": (f"{POSITION}test_too_late_rows_are_those_of_this_target_alone",),
        "the target was replaced": (f"{POSITION}test_a_target_that_was_replaced_never_takes_the_tags_position",),
        "a row is older than": (f"{POSITION}test_a_row_from_before_the_first_one_is_late_and_not_lost",),
    }),
    Table("quantizer.md", "| column | types |", dict.fromkeys(
        ("`org_id`, `metric_name`", "`wall_timestamp`", "`value`"),
        (f"{IDENTITY}test_what_would_be_a_guess_or_change_a_value_is_refused_in_one_line",),
    )),
    Table("streaming-etl.md", "| column type | takes |", {
        **dict.fromkeys((
            "smallint, integer, bigint", "double precision", "real", "numeric, numeric(p,s)", "boolean", "date",
            "timestamptz", "uuid", "bytea", "varchar(n), text", "the same with", "text[]",
        ), VALUES),
        "jsonb": (*VALUES, f"{ETL}test_what_jsonb_can_not_hold_is_refused"),
        "any": ("jobs/test_streaming_etl_odd_mappings.py::test_a_document_that_says_a_thing_twice_is_a_dead_letter",),
    }),
)  # fmt: skip


def rows_of(table: Table) -> list[str]:
    """The first cells of a table's rows."""
    lines = (ROOT / "docs" / table.page).read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(table.header))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page} {table.header}")
def test_every_row_of_what_is_refused_has_its_tests(table: Table) -> None:
    rows = rows_of(table)
    without = [row for row in rows if not any(row.startswith(known) for known in table.tests)]
    assert not without, "these rows have no test here"
    gone = [known for known in table.tests if not any(row.startswith(known) for row in rows)]
    assert not gone, "the page has no such rows any more"


@pytest.mark.parametrize("test", sorted({test for table in TABLES for tests in table.tests.values() for test in tests}))
def test_the_tests_of_refusals_are_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / "tests" / path).read_text()
