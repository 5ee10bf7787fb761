use super::{Style, fit, styles, width, wrap};

/// The narrowest that a column is made so that a table fits.
const NARROWEST: usize = 8;

/// The narrowest that a column is made whose text goes on below.
const NARROWEST_WRAPPED: usize = 24;

/// What goes between two columns.
const GAP: &str = "  ";

/// A cell of a table.
#[derive(Clone, Debug)]
struct Cell {
    text: String,
    style: Style,
}

/// Rows under a header. Where a terminal is too narrow, the widest columns are cut; in a pipe nothing is.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    wraps: bool,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self { header: header.into_iter().collect(), rows: Vec::new(), wraps: false }
    }

    /// With a last column that is not cut: what does not fit goes on in the line below.
    pub(crate) const fn wrapping(mut self) -> Self {
        self.wraps = true;
        self
    }

    /// Adds a row of plain cells.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.styled(cells.into_iter().map(|text| (styles::PLAIN, text.into())));
    }

    /// Adds a row whose cells have styles.
    pub(crate) fn styled<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = (Style, T)>) {
        let cells = cells.into_iter().map(|(style, text)| Cell { text: text.into(), style });
        self.rows.push(cells.collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, the header first, in at most `room` columns.
    pub(super) fn lines(
        &self,
        room: Option<usize>,
        paint: impl Fn(Style, &str) -> String,
    ) -> Vec<String> {
        let widths = self.widths(room);
        let header = self.header.iter().map(|text| (styles::HEADER, *text));
        let mut lines = vec![line(header, &widths, &paint)];
        for row in &self.rows {
            let mut cells: Vec<_> = row.iter().map(|it| (it.style, it.text.as_str())).collect();
            let last = cells.pop().filter(|_| self.wraps && room.is_some());
            let (Some((style, text)), Some(columns)) = (last, widths.last()) else {
                let cells = row.iter().map(|it| (it.style, it.text.as_str()));
                lines.push(line(cells, &widths, &paint));
                continue;
            };
            for (at, piece) in wrap(text, *columns).iter().enumerate() {
                let before = cells.iter().map(|(style, text)| match at {
                    0 => (*style, *text),
                    _ => (styles::PLAIN, ""),
                });
                lines.push(line(before.chain([(style, piece.as_str())]), &widths, &paint));
            }
        }
        lines
    }

    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|it| width(it)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(&fit(&cell.text, usize::MAX)));
            }
        }
        let Some(room) = room else { return widths };
        let room = room.saturating_sub(GAP.len() * widths.len().saturating_sub(1));
        if self.wraps
            && let Some(last) = widths.pop()
        {
            narrow(&mut widths, room.saturating_sub(last.min(NARROWEST_WRAPPED)));
            let left = room.saturating_sub(widths.iter().sum());
            widths.push(last.min(left.max(NARROWEST_WRAPPED)));
            return widths;
        }
        narrow(&mut widths, room);
        widths
    }
}

/// Makes the widest columns narrower until all of them fit, or are as narrow as they get.
fn narrow(widths: &mut [usize], room: usize) {
    while let Some(over) = widths.iter().sum::<usize>().checked_sub(room).filter(|it| *it > 0) {
        let second = second_largest(widths).max(NARROWEST);
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= NARROWEST {
            break;
        }
        let target = if *widest > second { second } else { *widest - 1 };
        *widest = (*widest - over.min(*widest)).max(target).max(NARROWEST);
    }
}

fn second_largest(widths: &[usize]) -> usize {
    let mut sorted = widths.to_vec();
    sorted.sort_unstable();
    sorted.iter().rev().nth(1).copied().unwrap_or(0)
}

fn line<'a>(
    cells: impl Iterator<Item = (Style, &'a str)>,
    widths: &[usize],
    paint: &impl Fn(Style, &str) -> String,
) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for ((style, text), columns) in cells.zip(widths) {
        let text = fit(text, *columns);
        line.push_str(&" ".repeat(owed));
        if !text.is_empty() {
            line.push_str(&paint(style, &text));
        }
        // Nothing follows the last cell of a line, not even spaces.
        owed = columns.saturating_sub(width(&text)) + GAP.len();
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(table: &Table, room: Option<usize>) -> Vec<String> {
        table.lines(room, |_, text| text.to_owned())
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["HOST", "RELEASE", "AGE"]);
        table.row(["web-1", "web-1.0", "3s"]);
        table.row(["web-10", "", "4s"]);
        assert_eq!(
            plain(&table, None),
            ["HOST    RELEASE  AGE", "web-1   web-1.0  3s", "web-10           4s"]
        );
    }

    #[test]
    fn the_widest_column_is_cut_first() {
        let mut table = Table::new(["HOST", "REASON"]);
        table.row(["web-1", "a reason that takes much more room than there is"]);
        assert_eq!(plain(&table, Some(24)), ["HOST   REASON", "web-1  a reason that ta…"]);
        assert!(plain(&table, None).iter().any(|it| it.ends_with("there is")));
    }

    #[test]
    fn a_last_column_goes_on_below() {
        let mut table = Table::new(["HOST", "REASON"]).wrapping();
        table.row(["web-1", "nothing listens there (connection refused)"]);
        table.row(["web-2", ""]);
        let wanted = [
            "HOST   REASON",
            "web-1  nothing listens there",
            "       (connection refused)",
            "web-2",
        ];
        assert_eq!(plain(&table, Some(32)), wanted);
        assert_eq!(plain(&table, None)[1], "web-1  nothing listens there (connection refused)");
        assert_eq!(plain(&table, Some(80))[1], plain(&table, None)[1]);
    }

    proptest! {
        #[test]
        fn a_table_fits_where_it_can(
            cells in proptest::collection::vec("[a-z]{0,40}", 0..6),
            room in 30_usize..120,
        ) {
            let mut table = Table::new(["A", "B", "C"]);
            for chunk in cells.chunks(3) {
                table.row(chunk.to_vec());
            }
            for line in plain(&table, Some(room)) {
                prop_assert!(width(&line) <= room, "{line:?}");
            }
            let whole = plain(&table, None).concat().replace(' ', "");
            let wrapped = plain(&table.wrapping(), Some(room.max(44)));
            for line in &wrapped {
                prop_assert!(width(line) <= room.max(44), "{line:?}");
            }
            prop_assert!(wrapped.concat().contains('…') || wrapped.concat().replace(' ', "") == whole);
        }
    }
}
