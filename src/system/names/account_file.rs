//! The lines of passwd(5) and group(5), which getent(1) prints as well.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;

use super::Database;

/// The maximum number of bytes read: more than any real file has. A file that grows while it is read must not block us.
const MAX_BYTES: u64 = 64 << 20;

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

/// Opens the file of the database. A FIFO or a device in its place is not opened, because reading it could wait forever.
fn open(database: Database) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path(database))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Returns the path of the database's file.
pub(super) fn path(database: Database) -> String {
    format!("/etc/{}", database.name())
}

/// Reads accounts from lines like `root:x:0:…`. Lines of another form are skipped.
pub(super) fn parse(file: impl Read) -> impl Iterator<Item = Account> {
    lines(file).map_while(Result::ok).filter_map(|line| account(&line))
}

fn lines(file: impl Read) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    BufReader::new(file.take(MAX_BYTES)).split(b'\n')
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
        let latin = parse(&b"m\xfcller:x:1000:"[..]).next().unwrap();
        assert_eq!(latin.name, b"m\xfcller");
    }
}
