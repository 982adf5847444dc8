//! `table`: for people.

use super::{Format, Groups, List};
use crate::error::Result;
use crate::output::layout::{Layout, TITLE};
use crate::output::sums::{Sums, Totals};
use crate::output::{Output, grid};

/// A table that fits the terminal.
pub(crate) struct Table;

impl Format for Table {
    fn list(&self, list: List<'_>, output: &mut Output) -> Result<()> {
        let List { columns, may_leave_out, has_headings, view, rows, namespaces, groups } = list;
        let segments = rows.collect()?;
        let layout = Layout::new(&columns, may_leave_out, has_headings, &segments, &view, output.width());
        layout.print_titles(output)?;
        match namespaces.filter(|_| has_headings && groups != Groups::None) {
            None => layout.print(output, &segments, &view)?,
            Some(namespaces) => {
                let mut rest = &segments[..];
                for namespace in namespaces() {
                    let end = rest.iter().take_while(|segment| segment.namespace == Some(namespace.ns)).count();
                    let (group, others) = rest.split_at(end);
                    rest = others;
                    if !group.is_empty() || groups == Groups::All {
                        namespace.print_heading(output)?;
                        layout.print(output, group, &view)?;
                    }
                }
            }
        }
        if output.is_terminal() && has_headings {
            Totals::of(&segments, view.lookups).print(output)?;
        }
        Ok(())
    }

    fn sums(&self, sums: &Sums<'_>, output: &mut Output) -> Result<()> {
        print_sums(sums, Sums::TITLES[0], output)?;
        if output.is_terminal() && sums.has_headings {
            sums.all.print(output)?;
        }
        Ok(())
    }
}

/// Prints a row for each value. `title` is the header of the values.
pub(crate) fn print_sums(sums: &Sums<'_>, title: &str, output: &mut Output) -> Result<()> {
    let titles = Sums::TITLES.map(|name| if name == Sums::TITLES[0] { (title, false) } else { (name, true) });
    let lines = grid(&titles, sums.iter().map(|sum| sums.texts(sum).into()).collect());
    for (place, line) in lines.iter().enumerate() {
        match place {
            0 if !sums.has_headings => {}
            0 => output.styled_line(TITLE, line)?,
            _ => output.line(line)?,
        }
    }
    Ok(())
}
