"""Times as files have them: every form is one moment, order is kept to the nanosecond, and nothing is guessed."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from deftrec.data import Interactions
from deftrec.data.extend import conformed_events, extended, unknown_events
from deftrec.data.prepare import prepare
from deftrec.data.sources.columns import Place
from deftrec.data.sources.faults import Faults
from deftrec.data.sources.tabular import Columns, read_tabular
from deftrec.errors import ConfigError, DataError

PLACE = Place("f")

NANOSECOND = 1_718_695_894_123_456_789


def table(tmp_path: Path, times: list[str], name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_text("user,item,time\n" + "".join(f'u,i{n},"{time}"\n' for n, time in enumerate(times)))
    return path


def imported(tmp_path: Path, times: list[str], form: str | None = None) -> Interactions:
    return prepare(read_tabular(table(tmp_path, times), Columns(time_format=form)), name="x")


MORNING = datetime(2024, 6, 18, 7, 31, 34, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-06-18 07:31:34 -0800", datetime(2024, 6, 18, 15, 31, 34, tzinfo=UTC)),
        ("2024-06-18 07:31:34.25 +00:00", MORNING.replace(microsecond=250_000)),
        ("2024-06-18 07:31:34 UTC", MORNING),
        ("2024-06-18T07:31:34+02:00[Europe/Berlin]", datetime(2024, 6, 18, 5, 31, 34, tzinfo=UTC)),
        ("2024-06-18 07:31:34,500", MORNING.replace(microsecond=500_000)),
        ("2024/06/18 07:31", MORNING.replace(second=0)),
        ("06/18/2024 07:31", MORNING.replace(second=0)),
        ("18.06.2024", datetime(2024, 6, 18, tzinfo=UTC)),
        ("18-06-2024 07:31:34", MORNING),
        ("Sat Jun 18 07:31:34 -0700 2016", datetime(2016, 6, 18, 14, 31, 34, tzinfo=UTC)),  # Goodreads, Twitter
        ("Tue Jun  4 07:31:34 2024", datetime(2024, 6, 4, 7, 31, 34, tzinfo=UTC)),
        ("11/13/2019 8:36:57 AM", datetime(2019, 11, 13, 8, 36, 57, tzinfo=UTC)),  # MIND
        ("11/13/2019 12:00:01 AM", datetime(2019, 11, 13, 0, 0, 1, tzinfo=UTC)),
        ("11/13/2019 12:00:01 p.m.", datetime(2019, 11, 13, 12, 0, 1, tzinfo=UTC)),
        ("Tue, 18 Jun 2024 07:31:34 +0000", MORNING),  # RFC 2822
        ("Tuesday, 18 June 2024", datetime(2024, 6, 18, tzinfo=UTC)),
        ("18-JUN-2024", datetime(2024, 6, 18, tzinfo=UTC)),
        ("18/Jun/2024:07:31:34 +0000", MORNING),  # log of a web server
        ("June 18th, 2024 7:31 PM", datetime(2024, 6, 18, 19, 31, tzinfo=UTC)),
        ("Tue Jun 18 2024 07:31:34 GMT+0200 (CEST)", datetime(2024, 6, 18, 5, 31, 34, tzinfo=UTC)),
        ("09 13, 2009", datetime(2009, 9, 13, tzinfo=UTC)),  # Amazon
        ("20240618", datetime(2024, 6, 18, tzinfo=UTC)),
        ("20240618073134", MORNING),
        ("20240618T073134Z", MORNING),
    ],
)
def test_every_form_of_a_date_is_its_moment(text: str, moment: datetime, tmp_path: Path) -> None:
    assert imported(tmp_path, [text]).times.tolist() == [round(moment.timestamp() * 1000)]


def test_dates_as_integers_are_dates_in_every_format(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, 1], "item": [1, 2], "time": [20240301, 20240229]})
    frame.write_parquet(tmp_path / "a.parquet")
    days = [1_709_164_800_000, 1_709_251_200_000]
    assert prepare(read_tabular(tmp_path / "a.parquet"), name="x").times.tolist() == days
    assert Interactions.from_frame(frame.with_columns(pl.col("time").cast(pl.Float64))).times.tolist() == days
    numbers = frame.with_columns(time=pl.Series([20249901, 20247788]))
    assert Interactions.from_frame(numbers).times.tolist() == [20247788, 20249901]
    with pytest.raises(DataError, match=r"row 2, column 'time': 20240230 is not a date, as the others are"):
        Interactions.from_frame(frame.with_columns(time=pl.Series([20240301, 20240230])))


def test_which_of_day_and_month_comes_first_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2, .*'03/04/2024' is day-first \(%d/%m/%Y\) or month-first .*format"):
        imported(tmp_path, ["03/04/2024", "05/06/2024"])
    with pytest.raises(DataError, match=r"day-first .* or month-first .*; make the column one of datetimes first$"):
        Interactions.from_frame(pl.DataFrame({"user": ["a"], "item": ["b"], "time": ["03.04.2024"]}))
    april, march = 1_712_102_400_000, 1_709_510_400_000
    assert imported(tmp_path, ["03/04/2024"], "day-first").times.tolist() == [april]
    assert imported(tmp_path, ["03/04/2024"], "month-first").times.tolist() == [march]
    assert imported(tmp_path, ["03/04/2024", "13/04/2024"]).times[0] == april
    assert imported(tmp_path, ["03/04/2024", "03/14/2024"]).times[0] == march
    # 99/01/2024 is a slip, and tells nothing.
    with pytest.raises(DataError, match=r"day-first"):
        imported(tmp_path, ["03/04/2024", "99/01/2024"])
    with pytest.raises(DataError, match=r"line 4, .*'04/14/2024' is not a time like the others, such as '13/04/2024'"):
        imported(tmp_path, ["13/04/2024", "14/04/2024", "04/14/2024"])


def test_a_format_of_strptime(tmp_path: Path) -> None:
    assert imported(tmp_path, ["18/06/24 07:31"], "%d/%m/%y %H:%M").times.tolist() == [1_718_695_860_000]
    found = imported(tmp_path, ["2024|06|18 07:31:34.123456789 +0100"], "%Y|%m|%d %H:%M:%S.%f %z")
    assert found.times.tolist() == [NANOSECOND - 3_600_000_000_000]
    with pytest.raises(DataError, match=r"line 3, column 'time': '2024' is not a time of the form '%d/%m/%Y'"):
        imported(tmp_path, ["18/06/2024", "2024"], "%d/%m/%Y")
    for wrong, fault in (
        ("dayfirst", "unknown; give day-first"),
        ("%H:%M", "has no year"),
        ("%Y %Z", "the name of a zone tells no offset"),
    ):
        with pytest.raises(ConfigError, match=f"--time-format '{wrong}': {fault}"):
            imported(tmp_path, ["12:00"], wrong)
    pl.DataFrame({"user": [1], "item": [1], "time": [MORNING]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'time' holds dates already; leave out --time-format"):
        read_tabular(tmp_path / "a.parquet", Columns(time_format="%Y"))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_events_a_unit_apart_keep_their_order_and_their_times(unit: str, tmp_path: Path) -> None:
    begin = NANOSECOND // {"ms": 1_000_000, "us": 1_000, "ns": 1}[unit]
    # Whole milliseconds are stored as such, finer times in their unit.
    order = [4, 2, 6, 1, 5, 3]
    times = pl.Series("time", [begin + n for n in order]).cast(pl.Datetime(unit))  # type: ignore[arg-type]
    frame = pl.DataFrame({"user": "u", "item": [f"i{n}" for n in order], "time": times})
    frame.write_parquet(tmp_path / "a.parquet")
    integers = frame.with_columns(pl.col("time").cast(pl.Int64))
    integers.write_csv(tmp_path / "a.csv")
    integers.write_ndjson(tmp_path / "a.jsonl")
    frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")).write_csv(tmp_path / "iso.csv")
    files = [prepare(read_tabular(tmp_path / name), name="x") for name in ("a.parquet", "a.csv", "a.jsonl", "iso.csv")]
    for found in (*files, Interactions.from_frame(frame), Interactions.from_frame(integers)):
        assert found.history("u") == [f"i{n}" for n in range(1, 7)]
        assert found.times.tolist() == [begin + n for n in range(1, 7)]
        found.save(tmp_path / "d")
        loaded = Interactions.load(tmp_path / "d")
        assert loaded.times.tolist() == found.times.tolist()
        assert np.array_equal(loaded.sequences.items, found.sequences.items)
        assert found.units_per_second == {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        assert found.days is not None
        assert int(found.days[0]) == 19_892


def test_one_number_with_an_exponent_leaves_the_others_integers(tmp_path: Path) -> None:
    times = [str(NANOSECOND + 2), "1.7e18", str(NANOSECOND + 1), f"{NANOSECOND}.0"]
    found = imported(tmp_path, times)
    assert found.times.tolist() == [1_700_000_000_000_000_000, NANOSECOND, NANOSECOND + 1, NANOSECOND + 2]
    assert found.history("u") == ["i1", "i3", "i2", "i0"]


def test_seconds_with_nine_digits_behind_the_point_keep_their_order(tmp_path: Path) -> None:
    digits = [4, 2, 6, 1, 5, 3]
    found = imported(tmp_path, [f"1718695894.12345678{n}" for n in digits])
    assert found.history("u") == [f"i{digits.index(n)}" for n in range(1, 7)]


@pytest.mark.parametrize("large", ["9223372036854775808", "18446744073709551616", "1e19"])
def test_a_time_beyond_64_bits_is_an_error(large: str, tmp_path: Path) -> None:
    fault = "column 'time': .* is too large for a time; give a coarser unit"
    with pytest.raises(DataError, match=f"line 3, {fault}"):
        imported(tmp_path, ["1", large])
    faults = Faults(0.5)
    rows = read_tabular(table(tmp_path, ["1", large, "2"]), faults=faults).events
    assert rows["time"].to_list() == [1, 2]
    assert faults.counts == {"column 'time': is too large for a time": 1}
    unsigned = pl.DataFrame({"user": [1], "item": [1], "time": pl.Series([2**63], dtype=pl.UInt64)})
    with pytest.raises(DataError, match=f"row 1, {fault}"):
        Interactions.from_frame(unsigned)


def run_data(times: list[int | float]) -> Interactions:
    frame = pl.DataFrame({"user": [1] * len(times), "item": list(range(len(times))), "time": times})
    return Interactions.from_frame(frame)


@pytest.mark.parametrize("units", [1, 10**3, 10**6, 10**9])
def test_new_dates_take_the_unit_of_the_run(units: int) -> None:
    data = run_data([1_718_695_894 * units])
    events = pl.DataFrame({"user": [1, 1], "item": [0, 0], "time": ["2024-06-18 07:31:36", "2024-06-18T07:31:35.5"]})
    found = conformed_events(events, data, PLACE)
    assert found["time"].to_list() == [1_718_695_895 * units + units // 2, 1_718_695_896 * units]
    assert found["time"].dtype == pl.Int64


def test_new_dates_keep_their_parts_of_a_second_in_a_run_of_floats() -> None:
    data = run_data([1_718_695_894.25])
    found = conformed_events(pl.DataFrame({"user": [1], "item": [0], "time": ["2024-06-18T07:31:35.5"]}), data, PLACE)
    assert found["time"].to_list() == [1_718_695_895.5]


def test_a_date_beyond_the_unit_of_the_run_is_an_error() -> None:
    late = pl.DataFrame({"user": [1], "item": [0], "time": ["2300-01-01"]})
    with pytest.raises(
        DataError, match=r"f: row 1, column 'time': .* is too large for a time; give a date before 2262"
    ):
        conformed_events(late, run_data([NANOSECOND]), PLACE)


def test_new_dates_that_the_unit_merges_are_in_order() -> None:
    data = run_data([1_718_695_894_000])
    fine = pl.Series("time", [NANOSECOND + 2, NANOSECOND + 1]).cast(pl.Datetime("ns"))
    found = conformed_events(pl.DataFrame({"user": [1, 1], "item": [7, 8], "time": fine}), data, PLACE)
    assert found["item"].to_list() == [8, 7]
    assert found["time"].n_unique() == 1


def test_new_floats_leave_the_nanoseconds_of_a_run_alone() -> None:
    data = run_data([NANOSECOND, NANOSECOND + 1])
    one = pl.DataFrame({"user": [1], "item": [0], "time": [float(NANOSECOND)]})
    new = conformed_events(one, data, PLACE)
    assert unknown_events(data, new).height == 1, "the float is another moment than its neighbours"
    assert extended(data, data.catalogue[:0], new).times.tolist()[:2] == [int(float(NANOSECOND)), NANOSECOND]
    halves = run_data([1_718_695_894, 1_718_695_895])
    both = extended(halves, data.catalogue[:0], conformed_events(one.with_columns(time=1_718_695_894.5), halves, PLACE))
    assert both.times.tolist() == [1_718_695_894, 1_718_695_894.5, 1_718_695_895]
    with pytest.raises(DataError, match=r"f: some of its times are whole .* beyond 2\^53 they do not compare"):
        conformed_events(one.with_columns(time=1_718_695_894_123_456.5), run_data([NANOSECOND // 100]), PLACE)
