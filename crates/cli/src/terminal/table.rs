//! Tables for people: bounded in width, long cells cut, numbers to the right.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use unicode_width::UnicodeWidthStr;

use super::text::{clean, clip};

/// The most columns that one cell takes.
pub(crate) const CELL_MAX: usize = 80;
/// What a cell is not made narrower than.
const CELL_MIN: usize = 6;
/// What a cell of a column that is cut first is not made narrower than.
const FIRST_CUT_MIN: usize = 3;

/// What a table shows. Every row has as many cells as the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Columns of numbers.
    pub(crate) right: Vec<bool>,
    /// Columns that are never cut, since what they show is to be copied; then the table may be wider than it should.
    pub(crate) whole: Vec<bool>,
    /// Columns that are cut before any other.
    pub(crate) first_cut: Vec<bool>,
}

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFrame {
    /// Columns apart by spaces, as kubectl prints them.
    Open,
    /// With lines around.
    Boxed,
}

impl Cells {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|&text| text.to_owned()).collect(),
            rows: Vec::new(),
            right: vec![false; header.len()],
            whole: vec![false; header.len()],
            first_cut: vec![false; header.len()],
        }
    }

    /// Columns of these names are never cut.
    pub(crate) fn never_cut(&mut self, names: &[&str]) {
        self.whole = self.header.iter().map(|name| names.contains(&name.as_str())).collect();
    }

    /// Columns of these names are cut before any other.
    pub(crate) fn cut_first(&mut self, names: &[&str]) {
        self.first_cut = self.header.iter().map(|name| names.contains(&name.as_str())).collect();
    }

    fn is_whole(&self, column: usize) -> bool {
        self.whole.get(column) == Some(&true)
    }

    fn is_first_cut(&self, column: usize) -> bool {
        self.first_cut.get(column) == Some(&true)
    }
}

/// The table as text with a line end, at most `width` columns wide if its columns are not too many for that.
pub(crate) fn render(cells: &Cells, frame: TableFrame, width: Option<usize>) -> String {
    let widths = widths(cells, frame, width);
    render_with(cells, frame, &widths, true)
}

/// As [`render`], with columns of at least `widths`, and with or without the header.
pub(crate) fn render_with(cells: &Cells, frame: TableFrame, widths: &[usize], with_header: bool) -> String {
    let mut table = Table::new();
    table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    table.load_style(match frame {
        TableFrame::Open => presets::NOTHING,
        TableFrame::Boxed => presets::UTF8_FULL_CONDENSED,
    });
    let is_whole = |column: usize| cells.is_whole(column);
    let cut = |row: &Vec<String>| -> Vec<String> {
        let cells = row.iter().zip(widths).enumerate();
        let fitted = cells.map(|(column, (cell, width))| match is_whole(column) {
            true => clean(cell),
            false => clip(&clean(cell), *width),
        });
        fitted.collect()
    };
    if with_header {
        table.set_header(cut(&cells.header));
    }
    table.add_rows(cells.rows.iter().map(cut));
    for (index, column) in table.column_iter_mut().enumerate() {
        if cells.right.get(index) == Some(&true) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if frame == TableFrame::Open {
            column.set_padding((0, 2));
            let width = widths.get(index).copied().unwrap_or_default().saturating_add(2);
            let width = u16::try_from(width).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// How wide each column becomes: as its content, but the widest are cut until all fit.
pub(crate) fn widths(cells: &Cells, frame: TableFrame, width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = (0..cells.header.len())
        .map(|index| {
            let all = std::iter::once(&cells.header).chain(&cells.rows);
            let widest = all.filter_map(|row| row.get(index)).map(|cell| clean(cell).width()).max();
            let most = if cells.is_whole(index) { usize::MAX } else { CELL_MAX };
            widest.unwrap_or(0).min(most)
        })
        .collect();
    let Some(width) = width else { return widths };
    let lines = match frame {
        TableFrame::Open => 2 * widths.len(),
        TableFrame::Boxed => 3 * widths.len() + 1,
    };
    let budget = width.saturating_sub(lines);
    narrow(&mut widths, budget, FIRST_CUT_MIN, |column| cells.is_first_cut(column));
    narrow(&mut widths, budget, CELL_MIN, |column| !cells.is_whole(column) && !cells.is_first_cut(column));
    widths
}

/// Takes from the widest of those columns that `may_be_cut`, until all fit or none is wider than `least`.
fn narrow(widths: &mut [usize], budget: usize, least: usize, may_be_cut: impl Fn(usize) -> bool) {
    while widths.iter().fold(0_usize, |sum, width| sum.saturating_add(*width)) > budget {
        let columns = widths.iter_mut().enumerate().filter(|(column, _)| may_be_cut(*column));
        match columns.map(|(_, width)| width).max() {
            Some(widest) if *widest > least => *widest -= 1,
            _ => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Cells {
        let mut cells = Cells::new(&["name", "total"]);
        cells.right = vec![false, true];
        cells.rows = vec![vec!["Kraków\n\x1b[31m".into(), "7".into()], vec!["日本".into(), "1234".into()]];
        cells
    }

    #[test]
    fn a_boxed_table() {
        let wanted = "\
┌───────────────────┬───────┐
│ name              ┆ total │
╞═══════════════════╪═══════╡
│ Kraków \\u{1b}[31m ┆     7 │
│ 日本              ┆  1234 │
└───────────────────┴───────┘
";
        assert_eq!(render(&cells(), TableFrame::Boxed, None), wanted);
    }

    #[test]
    fn an_open_table_has_no_lines() {
        let mut cells = Cells::new(&["NAME", "STATE"]);
        cells.rows = vec![vec!["a-long-name".into(), "RUNNING".into()], vec!["b".into(), "FAILED".into()]];
        assert_eq!(
            render(&cells, TableFrame::Open, None),
            "NAME         STATE\na-long-name  RUNNING\nb            FAILED\n"
        );
        let widths = widths(&cells, TableFrame::Open, None);
        cells.rows.truncate(1);
        cells.rows[0][0] = "x".into();
        assert_eq!(render_with(&cells, TableFrame::Open, &widths, false), "x            RUNNING\n");
    }

    #[test]
    fn no_table_is_wider_than_its_terminal() {
        let mut cells = Cells::new(&["a", "b"]);
        cells.rows = vec![vec!["x".repeat(500), "y".repeat(30)]];
        for frame in [TableFrame::Open, TableFrame::Boxed] {
            let text = render(&cells, frame, Some(60));
            assert!(text.lines().all(|line| line.width() <= 60), "{text}");
            assert!(text.contains('…'));
        }
        // More columns than fit: nothing is left out, and nothing panics.
        let many = Cells::new(&["column"; 50]);
        assert!(!render(&many, TableFrame::Boxed, Some(20)).is_empty());
    }

    #[test]
    fn some_columns_are_cut_first_and_some_never() {
        let mut cells = Cells::new(&["NAME", "STATE", "WORKLOAD", "REASON"]);
        cells.never_cut(&["NAME"]);
        cells.cut_first(&["WORKLOAD", "REASON"]);
        let name = "n".repeat(34);
        cells.rows = vec![vec![name.clone(), "CANCELLING".into(), "w".repeat(60), "r".repeat(20)]];
        let text = render(&cells, TableFrame::Open, Some(60));
        assert!(text.contains(&name) && text.contains("CANCELLING"), "{text}");
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
        let narrow = render(&cells, TableFrame::Open, Some(20));
        assert!(narrow.contains(&name), "too narrow for the name: {narrow}");
        let widths = widths(&cells, TableFrame::Open, Some(60));
        cells.rows[0][0] = "m".repeat(48);
        let later = render_with(&cells, TableFrame::Open, &widths, false);
        assert!(later.contains(&"m".repeat(48)), "a longer name that comes later: {later}");
    }

    #[test]
    fn ragged_rows_are_no_panic() {
        let mut cells = Cells::new(&["a", "b"]);
        cells.rows = vec![vec![], vec!["1".into(), "2".into(), "3".into()]];
        assert!(render(&cells, TableFrame::Boxed, Some(10)).contains('1'));
    }
}
