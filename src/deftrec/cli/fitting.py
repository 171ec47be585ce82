"""A table that fits terminals of every width without losing a column or a letter of a cell."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Column, Table
from rich.text import Text

LEAST_TEXT = 16  # narrowest column of wrapped text that reads well, in letters


class FittingTable:
    """A table whose columns are all shown, in the first of three forms that fits.

    The forms are: a row for every row; the same with what stands in brackets on a line of its own; and, where that is
    too wide as well, a line `header  cell` for every cell.

    Args:
        columns: columns, or their headers. Cells of a column with `no_wrap` stay whole, others are wrapped. `min_width`
            holds as long as there is room.
        footer: last row, which sums up the others; empty: there is none.
    """

    def __init__(self, *columns: Column | str, footer: Sequence[str] = ()) -> None:
        self.columns = [Column(one) if isinstance(one, str) else one for one in columns]
        self.footer = [Text(cell, style="bold") for cell in footer]
        self.rows: list[list[Text]] = []

    def add_row(self, *cells: Text | str, style: str = "") -> None:
        """Add a row; strings are shown as they are, never read as markup."""
        self.rows.append([Text(cell, style=style) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The form that fits, as rich renders it."""
        lines = [[Text(str(one.header)) for one in self.columns], *self.rows, *([self.footer] if self.footer else [])]
        broken = self._broken(lines)
        for cells, padding in ((lines, 1), (broken, 0)):
            if self._least_width(cells, padding) <= options.max_width:
                yield self._table(cells, padding)
                return
        yield from _stacked(lines if _stacked_width(lines) <= options.max_width else broken, options.max_width)

    def _broken(self, lines: list[list[Text]]) -> list[list[Text]]:
        """The cells with brackets of whole cells on lines of their own."""
        return [
            [
                Text(cell.plain.replace(" (", "\n("), style=cell.style) if column.no_wrap else cell
                for column, cell in zip(self.columns, line, strict=True)
            ]
            for line in lines
        ]

    def _least_width(self, lines: list[list[Text]], padding: int) -> int:
        """Width in letters that the columns need, with `padding` spaces on both sides of a cell."""
        needed = 1
        for column, cells in zip(self.columns, zip(*lines, strict=True), strict=True):
            least = max(map(_width, cells)) if column.no_wrap else min(max(map(_width, cells)), LEAST_TEXT)
            needed += max(least, (column.min_width or 0) if padding else 0) + 2 * padding + 1
        return needed

    def _table(self, lines: list[list[Text]], padding: int) -> Table:
        header, *rows = lines
        footer = rows.pop() if self.footer else [Text()] * len(header)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, padding), show_footer=bool(self.footer))
        for one, top, bottom in zip(self.columns, header, footer, strict=True):
            least, most = one.min_width if padding else None, one.max_width
            table.add_column(
                top, bottom, justify=one.justify, no_wrap=one.no_wrap, overflow="fold", min_width=least, max_width=most
            )
        for cells in rows:
            table.add_row(*cells)
        return table


def _stacked(lines: list[list[Text]], width: int) -> Iterator[RenderableType]:
    """A line for every cell behind its header, and an empty one behind every row."""
    headers, *rows = lines
    labels = min(max(map(_width, headers)), width // 2)
    for cells in rows:
        grid = Table.grid(Column(width=labels, overflow="fold"), Column(overflow="fold"), padding=(0, 2, 0, 0))
        for header, cell in zip(headers, cells, strict=True):
            grid.add_row(header, cell)
        yield grid
        yield Text()


def _stacked_width(lines: list[list[Text]]) -> int:
    headers, *rows = lines
    return max(map(_width, headers)) + 2 + max((_width(cell) for cells in rows for cell in cells), default=0)


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))
