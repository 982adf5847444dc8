//! `csv`: RFC 4180.

use std::io::{self, Write};

use super::delimited::{Delimited, RowWriter};

/// Comma-separated values.
pub struct Csv;

impl Delimited for Csv {
    const HAS_TITLES: bool = true;
    const HAS_ALL_COLUMNS: bool = true;

    fn writer<'a>(out: &'a mut dyn Write) -> Box<dyn RowWriter + 'a> {
        Box::new(csv::Writer::from_writer(out))
    }
}

impl RowWriter for csv::Writer<&mut dyn Write> {
    fn field(&mut self, _: &str, text: &str) -> io::Result<()> {
        Ok(self.write_field(text)?)
    }

    fn end_row(&mut self) -> io::Result<()> {
        Ok(self.write_record(None::<&[u8]>)?)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::delimited::row_of;
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(row_of::<Csv>(&["a,b", "say \"x\"", ""]), "\"a,b\",\"say \"\"x\"\"\",\n");
    }
}
