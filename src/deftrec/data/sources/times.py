"""Times of interactions: numbers in the unit of the source, or dates in the forms that files have."""

from collections.abc import Mapping

import polars as pl

from deftrec.data.sources.columns import Place, exact_to, first_true
from deftrec.errors import ConfigError, DataError, first_line

DAY_FIRST, MONTH_FIRST = "day-first", "month-first"
NAME_FORM = f"or name the form with --time-format, such as '%d.%m.%Y %H:%M', {DAY_FIRST} or {MONTH_FIRST}"
PARSE_FIRST = "or make the column one of datetimes first"

_CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9})[0-9]*)?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = r"(?P<zone>Z|UTC|(?:UTC|GMT)?[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?|GMT)"
_NOTE = r"(?: ?[\[(][A-Za-z/_ ]+[\])])?"  # the name of a zone behind its offset
_THEN = rf"(?:(?:T|:|,? +){_CLOCK}(?: ?{_ZONE}{_NOTE})?)?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTH = rf"(?P<name>{_MONTHS})[a-z]*\.?"
_YEAR, _DAY = r"(?P<year>[0-9]{4})", r"(?P<day>[0-9]{1,2})"

COMPACT = (
    rf"(?i)^{_YEAR}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})"
    rf"(?:T?(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}})?{_ZONE}?)?$"
)
EITHER_ORDER = rf"(?i)^(?P<one>[0-9]{{1,2}})[-/.](?P<two>[0-9]{{1,2}})[-/.]{_YEAR}{_THEN}$"
FORMS = (
    rf"(?i)^{_YEAR}[-/.](?P<month>[0-9]{{1,2}})[-/.]{_DAY}{_THEN}$",  # ISO 8601, also 2024/06/18
    EITHER_ORDER,  # 06/18/2024, 18.06.2024
    rf"(?i)^{_WEEKDAY}{_MONTH} +{_DAY} {_CLOCK}(?: {_ZONE})? {_YEAR}$",  # Sat Jun 18 07:31:34 -0700 2016: C, Goodreads
    rf"(?i)^{_WEEKDAY}{_DAY}[-/ ]{_MONTH}[-/ ,]+{_YEAR}{_THEN}$",  # Tue, 18 Jun 2024 07:31:34 +0000: RFC 2822
    rf"(?i)^{_WEEKDAY}{_MONTH} +{_DAY}(?:st|nd|rd|th)?,? +{_YEAR}{_THEN}$",  # June 18, 2024
    rf"^(?P<month>[0-9]{{2}}) {_DAY}, {_YEAR}$",  # 06 18, 2024: Amazon reviews
    COMPACT,  # 20240618, 20240618T073134Z
)
"""Patterns of dates; the parts of a pattern are its groups. No text fits two patterns."""

MONTHS = {name: number for number, name in enumerate(_MONTHS.lower().split("|"), 1)}
COMPACT_NUMBERS = ((19000101, 20991231), (190001010000, 209912312359), (19000101000000, 20991231235959))
"""Ranges of dates that are written as integers, without and with a clock."""

COMMON = {
    "%Y-%m-%d %H:%M:%S": False,
    "%Y-%m-%dT%H:%M:%S": False,
    "%Y-%m-%d": False,
    "%Y-%m-%dT%H:%M:%SZ": True,
    "%Y-%m-%d %H:%M:%S UTC": True,
}
"""The commonest formats, which polars parses several times faster than a pattern, and whether they have a zone."""

PARTS = ("year", "month", "name", "day", "hour", "minute", "second", "fraction", "half", "zone")
YEARS = ("%Y", "%y", "%G", "%s", "%D", "%F", "%c", "%x", "%v", "%+")  # directives of strptime that hold a year

SAMPLE = 1000  # texts that choose the pattern of a column
LONG_NUMBER = 16  # characters of a number beyond which a float may not tell it from its neighbours
SECOND = 1_000_000_000  # in nanoseconds
LAST_YEAR = 5000  # of a date; 9999-12-31 stands for "never"
LARGEST = 2**63 - 1  # integer of 64 bits
LAST_NANOSECOND = 9_223_372_036  # seconds since 1970 that nanoseconds in 64 bits reach


def times(column: pl.Series, place: Place, form: str | None = None, mend: str = PARSE_FIRST) -> pl.Series:
    """Convert times to numbers in the unit of the source, or to dates in UTC.

    A column holds numbers, dates with a zone, or dates without a zone, which are UTC; these do not mix. Integers stay
    integers, however they are written; integers that are all dates without separators (20240618) are dates.

    Args:
        column: numbers, dates or texts.
        place: names of the entries.
        form: `day-first` or `month-first` for dates such as 03/04/2024, or a format of `strptime`; None: as they are.
        mend: advice at the end of the error about an unknown form.

    Raises a `DataError` if a value is missing, NaN, infinite, too large, neither a number nor a date, or of another
    kind than most, or nothing tells whether the day or the month comes first.
    """
    if column.dtype in (pl.Duration, pl.Time, pl.Object) or column.dtype.is_nested():
        raise DataError(
            f"{place.file}: column {column.name!r} holds {column.dtype}, which are no times; give numbers or dates"
        )
    if form is not None and form not in (DAY_FIRST, MONTH_FIRST):
        return _with_format(column, place, form)
    if column.dtype.is_temporal() or column.dtype.is_numeric():
        missing = ~column.is_finite().fill_null(False) if column.dtype.is_float() else column.is_null()
        place.refuse(missing, column, "is not a time")
        if column.dtype.is_temporal():
            return _of_this_age(column, column, place)
        if column.dtype.is_float() and column.dtype != pl.Float64:
            merged = column.abs() >= exact_to(column.dtype)
            stands = f"of {column.dtype} stands for several times"
            place.refuse(merged, column, stands, "write times as integers or as floats of 64 bits")
        return _compact_dates(_in_64_bits(column, column, place) if column.dtype.is_integer() else column, place)
    text = column.cast(pl.String).str.strip_chars()
    numbers = _numbers(text, column, place)
    if not numbers.null_count():
        return _compact_dates(numbers, place)
    dates, zoned = _dates(text, numbers.is_null(), place, form, mend)
    unknown = numbers.is_null() & dates.is_null() & zoned.is_null()
    known = text.filter(~unknown)
    like = f"like the others, such as {known[0]!r}" if len(known) else "like 1718695894 or 2024-06-18 07:31:34 +0200"
    if form is not None and text.filter(unknown).head(1).str.contains(EITHER_ORDER).any():
        like = f"with its numbers {form}"
    place.refuse(unknown, column, f"is not a time {like}", f"correct the value or remove the row, {mend}")
    best = min(numbers, dates, zoned, key=pl.Series.null_count)
    what = "is written unlike the others: all numbers, all dates with a zone, or all dates without one"
    place.refuse(best.is_null(), column, what)
    return _of_this_age(best, column, place)


def as_numbers(found: pl.Series, place: Place, units_per_second: int | None = None) -> pl.Series:
    """Convert the result of `times` to numbers; integers stay integers.

    Dates become integers since 1970, with 1, 10^3, 10^6 or 10^9 `units_per_second`, rounded down; None: the first of
    10^3, 10^6 and 10^9 that holds them all. Raises a `DataError` if a date does not fit 64 bits in these units.
    """
    if found.dtype.is_temporal():
        unit = found.dtype.time_unit if isinstance(found.dtype, pl.Datetime) else "us"
        found = found.cast(pl.Datetime(unit))
        there = {"ms": 1_000, "us": 1_000_000, "ns": SECOND}[unit]
        whole = found.cast(pl.Int64)
        if units_per_second is None:
            units_per_second = 1_000
            while units_per_second < there and (whole % (there // units_per_second) != 0).any():
                units_per_second *= 1_000
        if units_per_second < there:
            return whole // (there // units_per_second)
        more = units_per_second // there
        place.refuse(whole.abs() > LARGEST // more, found, "is too large for a time", "give a date before 2262")
        return whole * more
    return found if found.dtype == pl.Int64 else found.cast(pl.Int64 if found.dtype.is_integer() else pl.Float64)


def _of_this_age(found: pl.Series, column: pl.Series, place: Place) -> pl.Series:
    """The times; dates in the far future, which stand for "never" and would alter the unit of all, are refused."""
    if found.dtype.is_temporal():
        place.refuse(found.dt.year() > LAST_YEAR, column, "is too far in the future for a time")
    return found


def _in_64_bits(numbers: pl.Series, column: pl.Series, place: Place) -> pl.Series:
    """Cast whole numbers to 64 bits with a sign; the entries of `column` that need more are refused."""
    whole = numbers.cast(pl.Int64, strict=False)
    place.refuse(whole.is_null() & numbers.is_not_null(), column, "is too large for a time", "give a coarser unit")
    return whole


def _numbers(text: pl.Series, column: pl.Series, place: Place) -> pl.Series:
    """Parse numbers, null for other texts: integers if all are whole, such as 1.7e18, else floats.

    Decimals replace floats that would merge neighbours, such as seconds with nine digits behind the point.
    """
    whole = text.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole
    floats = text.cast(pl.Float64, strict=False)
    floats = floats.set(~floats.is_finite().fill_null(True), None)
    if floats.null_count() == len(floats):
        return floats
    exact = text.cast(pl.Decimal(38, 9), strict=False)
    if (floats == floats.round()).all():
        large = floats.is_not_null() & exact.is_null()
        place.refuse(large, column, "is too large for a time", "give a coarser unit")
        return _in_64_bits(exact.set(floats.is_null(), None), column, place)
    long = text.filter(floats.is_not_null()).str.len_chars().max()
    exact_is_complete = exact.null_count() == floats.null_count()
    return exact if exact_is_complete and isinstance(long, int) and long > LONG_NUMBER else floats


def _compact_dates(numbers: pl.Series, place: Place) -> pl.Series:
    """The dates that integers are if most of them are written like 20240618; otherwise the numbers."""
    if not len(numbers) or not numbers.dtype.is_numeric() or numbers.dtype.is_decimal():
        return numbers
    if not any(bool(numbers.is_between(low, high).mean() > 0.5) for low, high in COMPACT_NUMBERS):  # type: ignore
        return numbers
    if numbers.dtype.is_float() and (numbers != numbers.round()).any():
        return numbers
    dates, _ = _parsed(numbers.cast(pl.Int64, strict=False).cast(pl.String), COMPACT)
    if dates.null_count() * 2 > len(dates):
        return numbers
    place.refuse(dates.is_null(), numbers, "is not a date, as the others are")
    return dates


def _dates(
    text: pl.Series, candidates: pl.Series, place: Place, form: str | None, mend: str
) -> tuple[pl.Series, pl.Series]:
    """Parse dates by the pattern that most of the `candidates` fit: dates without a zone, and dates with one."""
    sample = text.filter(candidates & (text != ""))
    sample = sample.gather_every(max(1, len(sample) // SAMPLE))
    for common, has_zone in COMMON.items():
        if len(sample) and not _by_format(sample, common).null_count():
            found = _by_format(text, common)
            if not found.null_count():
                none = found.clear(len(found))
                return (none, found) if has_zone else (found, none)
    pattern = max(FORMS, key=lambda one: sample.str.contains(one).sum())
    if pattern != EITHER_ORDER:
        return _parsed(text, pattern)
    if form is None:
        form = _order(text, place, mend)
    names = {"one": "day", "two": "month"} if form == DAY_FIRST else {"one": "month", "two": "day"}
    return _parsed(text, pattern, names)


def _by_format(text: pl.Series, form: str) -> pl.Series:
    return text.str.to_datetime(form, strict=False, time_unit="us")


def _order(text: pl.Series, place: Place, mend: str) -> str:
    """`day-first` or `month-first`, by the days that can be no month; a `DataError` if there are none."""
    parts = text.str.extract_groups(EITHER_ORDER).struct.unnest().select(pl.col("one", "two").cast(pl.Int64))
    one, two = (pl.col(name).is_between(13, 31) for name in ("one", "two"))
    days, months = parts.select((one & (pl.col("two") <= 12)).sum(), (two & (pl.col("one") <= 12)).sum()).row(0)
    if days or months:
        return DAY_FIRST if days >= months else MONTH_FIRST
    entry = first_true(parts["one"].is_not_null())
    either = f"{text[entry]!r} is {DAY_FIRST} (%d/%m/%Y) or {MONTH_FIRST} (%m/%d/%Y), and no value tells which"
    raise place.error(entry, text.name, f"{either}; {mend.removeprefix('or ')}")


def _parsed(text: pl.Series, pattern: str, names: Mapping[str, str] = {}) -> tuple[pl.Series, pl.Series]:
    """Parse dates of one pattern to UTC, as two columns: dates without a zone, and dates with one; null otherwise."""
    parts = text.str.extract_groups(pattern).struct.unnest().rename(names)
    parts = parts.with_columns(pl.lit(None, pl.String).alias(name) for name in PARTS if name not in parts.columns)
    month = pl.coalesce(
        "month", pl.col("name").str.to_lowercase().replace_strict(MONTHS, default=None, return_dtype=pl.Int64)
    )
    day = pl.concat_str("year", month, "day", separator="-").str.to_date("%Y-%m-%d", strict=False)
    hour, minute, second = (pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second"))
    of_half = pl.col("half").is_not_null()
    valid = (hour < 24) & (minute < 60) & (second < 60) & (~of_half | ((hour > 0) & (hour <= 12)))
    hour = pl.when(of_half).then(hour % 12 + 12 * (pl.col("half").str.to_lowercase() == "p")).otherwise(hour)
    digits = pl.col("zone").str.replace_all("[^0-9]", "").str.pad_end(4, "0")
    ahead = (digits.str.head(2).cast(pl.Int64) * 60 + digits.str.tail(2).cast(pl.Int64)).fill_null(0)
    ahead = ahead * (1 - 2 * pl.col("zone").str.contains("-", literal=True).fill_null(False).cast(pl.Int64))
    seconds = day.cast(pl.Int64) * 86_400 + hour * 3600 + (minute - ahead) * 60 + second
    found = parts.select(
        seconds=pl.when(valid).then(seconds),
        nanoseconds=pl.col("fraction").str.pad_end(9, "0").cast(pl.Int64).fill_null(0),
        zoned=pl.col("zone").is_not_null(),
    )
    fine = bool((found["nanoseconds"] % 1000 != 0).any()) and _fit_nanoseconds(found["seconds"])
    if fine:
        dates = (found["seconds"] * SECOND + found["nanoseconds"]).cast(pl.Datetime("ns"))
    else:
        dates = (found["seconds"] * 1_000_000 + found["nanoseconds"] // 1000).cast(pl.Datetime("us"))
    return dates.set(found["zoned"], None), dates.set(~found["zoned"], None)


def _fit_nanoseconds(seconds: pl.Series) -> bool:
    """Whether all times fit 64 bits as nanoseconds since 1970."""
    most = seconds.abs().max()
    return most is None or bool(most < LAST_NANOSECOND)  # type: ignore[operator]


def _with_format(column: pl.Series, place: Place, form: str) -> pl.Series:
    """Parse dates of a format of `strptime`; those without a zone are UTC."""
    if "%" not in form:
        known = f"{DAY_FIRST}, {MONTH_FIRST} or a format of strptime, such as '%d.%m.%Y'"
        raise ConfigError(f"--time-format {form!r}: unknown; give {known}")
    if column.dtype.is_temporal():
        raise DataError(f"{place.file}: column {column.name!r} holds dates already; leave out --time-format")
    if "%Z" in form:
        raise ConfigError(f"--time-format {form!r}: the name of a zone tells no offset; write %z, or the name itself")
    if not any(one in form for one in YEARS):
        raise ConfigError(f"--time-format {form!r}: has no year, such as %Y; give the format of whole dates")
    chrono = form.replace(".%f", "%.f").replace("%f", "%6f")
    text = column.cast(pl.String).str.strip_chars()
    try:
        dates, finer = (text.str.to_datetime(chrono, strict=False, time_unit=unit) for unit in ("us", "ns"))
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"--time-format {form!r}: no format of strptime ({first_line(error)})") from error
    place.refuse(dates.is_null(), column, f"is not a time of the form {form!r}")
    seconds = dates.cast(pl.Int64) // 1_000_000
    return finer if _fit_nanoseconds(seconds) else dates
