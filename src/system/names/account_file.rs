//! The lines of passwd(5) and group(5), which getent(1) prints as well.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::iter;

use super::Database;
use crate::system::regular_file::{self, MAX_BYTES};

/// The maximum number of bytes kept of a line. The members of a group follow its number, and can be many.
const MAX_LINE: u64 = 1 << 20;

/// A name and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: Vec<u8>,
    pub(super) number: u32,
}

/// Returns the accounts of /etc/passwd or /etc/group as far as they can be read.
pub(super) fn read(database: Database) -> impl Iterator<Item = Account> {
    open(database).into_iter().flat_map(parse)
}

/// Returns the first account of /etc/passwd or /etc/group with this name. A missing file has none, as in an empty
/// container.
///
/// # Errors
/// The file cannot be read up to such an account.
pub(super) fn find(database: Database, name: &[u8]) -> io::Result<Option<Account>> {
    let file = match open(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    for line in lines(file) {
        let account = account(&line?).filter(|account| account.name == name);
        if account.is_some() {
            return Ok(account);
        }
    }
    Ok(None)
}

/// Opens the file of the database.
fn open(database: Database) -> io::Result<File> {
    regular_file::open(path(database))
}

/// Returns whether the file is too large to be read. Then getent(1) should not read it either.
pub(super) fn is_too_large(database: Database) -> bool {
    open(database).is_err_and(|error| error.kind() == io::ErrorKind::FileTooLarge)
}

/// Returns the path of the database's file.
pub(super) fn path(database: Database) -> String {
    format!("/etc/{}", database.name())
}

/// Reads accounts from lines like `root:x:0:…`. Lines of another form are skipped.
pub(super) fn parse(file: impl Read) -> impl Iterator<Item = Account> {
    lines(file).map_while(Result::ok).filter_map(|line| account(&line))
}

/// Returns the lines, cut to [`MAX_LINE`]. A file that grows while it is read must not block us.
fn lines(file: impl Read) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let mut reader = BufReader::new(file.take(MAX_BYTES));
    iter::from_fn(move || next_line(&mut reader).transpose())
}

fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_none() && line.len() as u64 == MAX_LINE {
        reader.skip_until(b'\n')?;
        // Without a third colon the number may be cut.
        if line.iter().filter(|byte| **byte == b':').nth(2).is_none() {
            line.clear();
        }
    }
    Ok(Some(line))
}

fn account(line: &[u8]) -> Option<Account> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
    // `+name` and `-name` include or exclude accounts of NIS (nsswitch.conf(5), "compat"): they are not accounts.
    let is_name = !name.is_empty() && !name.starts_with(b"+") && !name.starts_with(b"-");
    let number = str::from_utf8(number).ok()?.parse().ok()?;
    is_name.then(|| Account { name: name.to_owned(), number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_accounts() {
        let text = "root:x:0:0:root:/root:/bin/bash\n+nis:x:7:7\n\nodd\n:x:3\nbig:x:4294967296:\nwww:x:33:www,root";
        let accounts: Vec<_> = parse(text.as_bytes()).map(|account| (account.name, account.number)).collect();
        assert_eq!(accounts, [(b"root".to_vec(), 0), (b"www".to_vec(), 33)]);
        // The members of a group do not matter, but a number must be whole.
        let group = |name: usize| format!("{}:x:123:{}\nnext:x:9:\n", "g".repeat(name), "member,".repeat(1 << 18));
        let numbers = |name| parse(group(name).as_bytes()).map(|account| account.number).collect::<Vec<_>>();
        assert_eq!(numbers(10), [123, 9]);
        for cut in 0..9 {
            let found = numbers(usize::try_from(MAX_LINE).unwrap() - cut);
            assert_eq!(found, if cut < 7 { vec![9] } else { vec![123, 9] }, "{cut}");
        }
        let latin = parse(&b"m\xfcller:x:1000:"[..]).next().unwrap();
        assert_eq!(latin.name, b"m\xfcller");
    }
}
