//! The kernel's table of segments: `/proc/sysvipc/shm` (proc_sysvipc_shm(5)).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::Segment;
use crate::values::{Key, ShmId};

const PATH: &str = "/proc/sysvipc/shm";
/// The maximum length of a line in bytes. The kernel's are shorter than 400, so a longer one is from another file.
const MAX_LINE: u64 = 4096;

impl Segment {
    /// Parses a line of the table. Columns have no fixed positions (long uids move them), so the line is split at
    /// spaces. The key is signed decimal, the mode octal. Columns that a later kernel may append are ignored.
    fn from_line(line: &[u8]) -> Option<Segment> {
        let mut fields = Fields(line);
        Some(Segment {
            key: Key::from_raw(fields.signed()?),
            id: ShmId::new(fields.number()?)?,
            raw_mode: fields.octal()?,
            size: fields.number()?,
            cpid: fields.number()?,
            lpid: fields.number()?,
            nattch: fields.number()?,
            uid: fields.number()?,
            gid: fields.number()?,
            cuid: fields.number()?,
            cgid: fields.number()?,
            atime: fields.number()?,
            dtime: fields.number()?,
            ctime: fields.number()?,
            rss: fields.number_or_dash()?,
            swap: fields.number_or_dash()?,
            namespace: None,
        })
    }

    /// Returns the segment as a line of a table that [`Segments`] reads, with a dash for what is not known.
    pub(crate) fn to_line(&self) -> String {
        let memory = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        let Segment { id, raw_mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, .. } = self;
        format!(
            "{} {id} {raw_mode:o} {size} {cpid} {lpid} {nattch} {uid} {gid} {cuid} {cgid} {atime} {dtime} {ctime} {} {}\n",
            self.key.as_raw(),
            memory(self.rss),
            memory(self.swap),
        )
    }
}

/// The numbers of a line, separated by spaces. A segment has 16 of them. To split and parse them as strings would take
/// several times as long.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.digits(10)?.try_into().ok()
    }

    fn number_or_dash(&mut self) -> Option<Option<u64>> {
        if let Some(rest) = self.0.trim_ascii_start().strip_prefix(b"-") {
            self.0 = rest;
            return self.0.first().is_none_or(u8::is_ascii_whitespace).then_some(None);
        }
        self.number().map(Some)
    }

    fn octal(&mut self) -> Option<u16> {
        self.digits(8)?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i32> {
        self.0 = self.0.trim_ascii_start();
        let positive = self.0.strip_prefix(b"-");
        let is_negative = positive.is_some();
        self.0 = positive.unwrap_or(self.0);
        let magnitude = i64::from(self.number::<u32>()?);
        i32::try_from(if is_negative { -magnitude } else { magnitude }).ok()
    }

    /// Takes a field that consists of digits only.
    fn digits(&mut self, radix: u8) -> Option<u64> {
        let field = self.0.trim_ascii_start();
        let mut number = 0_u64;
        let mut length = 0;
        for byte in field {
            let digit = byte.wrapping_sub(b'0');
            if digit >= radix {
                break;
            }
            number = number.checked_mul(radix.into())?.checked_add(digit.into())?;
            length += 1;
        }
        self.0 = &field[length..];
        let is_whole = length > 0 && self.0.first().is_none_or(u8::is_ascii_whitespace);
        is_whole.then_some(number)
    }
}

/// The rows of the table, read one at a time. This is not a snapshot: the kernel returns about 24 rows per read, and
/// takes its lock again for each. A malformed row yields an error and iteration continues; an I/O error ends it.
///
/// procfs has a type for this file, `SharedMemorySegments`. But it keeps uids in 16 bits, so that one segment of uid
/// 100000 makes the whole read fail. It also parses the octal mode as decimal.
#[derive(Debug)]
pub struct Segments<R> {
    table: R,
    line: Vec<u8>,
    last: Option<ShmId>,
    /// Whether the ids are those of this process's user namespace.
    was_read_here: bool,
    failed: bool,
}

impl Segments<BufReader<File>> {
    /// Opens the table of this thread's IPC namespace.
    ///
    /// # Errors
    /// `NotFound` if /proc is not mounted or the kernel has no System V IPC.
    pub fn open() -> io::Result<Self> {
        let segments = Segments::new(BufReader::new(File::open(PATH)?))?;
        Ok(Segments { was_read_here: true, ..segments })
    }
}

impl<R: BufRead> Segments<R> {
    /// Reads the header line of a table.
    ///
    /// # Errors
    /// `InvalidData` if there is none: the kernel always writes it, so this is another file, mounted over the table.
    pub fn new(mut table: R) -> io::Result<Self> {
        let mut line = Vec::new();
        table.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if !line.trim_ascii_start().starts_with(b"key") {
            let message = format!("{} does not begin with its line of titles", PATH);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Segments { table, line, last: None, was_read_here: false, failed: false })
    }

    /// Returns whether there are no more rows.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        self.table.fill_buf().map(<[u8]>::is_empty)
    }
}

impl<R: BufRead> Iterator for Segments<R> {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        while !self.failed {
            self.line.clear();
            match self.table.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Err(error) => {
                    // The error would probably repeat, and a caller that skips errors would never finish.
                    self.failed = true;
                    return Some(Err(error));
                }
                Ok(length) if length as u64 == MAX_LINE => {
                    // The rest of the line could be endless.
                    self.failed = true;
                    let message = format!("{PATH} has a row of more than {MAX_LINE} bytes");
                    return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                Ok(_) => {}
            }
            let Some(segment) = Segment::from_line(&self.line) else {
                let row = String::from_utf8_lossy(self.line.trim_ascii_end());
                let message = format!("{} has a malformed row: {row:?}", PATH);
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
            };
            // Linux 5.6 and 5.7 can return a row twice, at the border between two reads.
            if self.last.replace(segment.id) != Some(segment.id) {
                return Some(Ok(if self.was_read_here { segment.with_ids_of_here() } else { segment }));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid \
                          atime      dtime      ctime                   rss                  swap\n";

    fn rows(table: &str) -> io::Result<Vec<Segment>> {
        Segments::new(table.as_bytes())?.collect()
    }

    #[test]
    fn an_endless_line_ends_the_table() {
        for beginning in ["", "key\n", "key\n42 3 600 "] {
            let mut endless = BufReader::new(beginning.as_bytes().chain(io::repeat(b'1')));
            let mut rows = match Segments::new(&mut endless) {
                Ok(rows) => rows,
                Err(error) => {
                    assert_eq!((error.kind(), beginning), (io::ErrorKind::InvalidData, ""));
                    continue;
                }
            };
            let error = rows.next().expect("a row").expect_err("no segment");
            assert_eq!(error.to_string(), "/proc/sysvipc/shm has a row of more than 4096 bytes");
            assert!(rows.next().is_none());
        }
    }

    #[test]
    fn long_uids_signed_keys_and_octal_modes() {
        let table = format!(
            "{TITLES}-743314431 2147450879  3640 9223372036854775807 4739 0 18446744073709551615 4294967294 100000 \
             65534 0 0 1795427476 1795427476 4096 0\n"
        );
        let [segment] = &rows(&table).unwrap()[..] else { panic!("one row") };
        assert_eq!(segment.key.to_string(), "0xd3b1ec01");
        assert_eq!(segment.id.as_raw(), 2_147_450_879);
        assert_eq!(segment.mode().to_string(), "0640");
        assert!(segment.is_marked() && segment.is_locked());
        assert_eq!((segment.size, segment.nattch), (i64::MAX.cast_unsigned(), u64::MAX));
        assert_eq!((segment.uid, segment.gid, segment.cuid), (4_294_967_294, 100_000, 65534));
        assert_eq!((segment.atime, segment.ctime), (0, 1_795_427_476));
    }

    #[test]
    fn a_repeated_row_is_returned_once() {
        let row = "42 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n";
        assert_eq!(rows(&format!("{TITLES}{row}{row}")).unwrap().len(), 1);
    }

    #[test]
    fn a_read_error_ends_the_iteration() {
        let table = format!("{TITLES}42 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n");
        let rows = Segments::new(BufReader::new(table.as_bytes().chain(Unreadable))).unwrap();
        let ids: Vec<_> = rows.take(9).map(|row| row.ok().map(|segment| segment.id.as_raw())).collect();
        assert_eq!(ids, [Some(3), None]);
    }

    /// A file on which every read fails.
    struct Unreadable;

    impl Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }

    #[test]
    fn malformed_rows_are_errors() {
        for row in [
            "nonsense\n",
            "42 3 600 1 1 0 0 0 0 0 0 0 0 1 0\n",
            "42 -3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n",
            "\n",
            "42 3 608 1 1 0 0 0 0 0 0 0 0 1 0 0\n",
            "42 3 600 18446744073709551616 1 0 0 0 0 0 0 0 0 1 0 0\n",
            "2147483648 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n",
            "- 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n",
            "42 3 600 1x 1 0 0 0 0 0 0 0 0 1 0 0\n",
        ] {
            assert!(rows(&format!("{TITLES}{row}")).is_err(), "{row:?}");
        }
        assert_eq!(rows(TITLES).unwrap(), []);
        assert!(rows("").is_err(), "an empty file is not the kernel's table");
    }
}
