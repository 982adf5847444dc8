//! A segment's state, and the kernel's own table of them: `/proc/sysvipc/shm`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use procfs::{Current, FromBufRead, ProcError, ProcResult};

use super::ShmId;
use crate::values::{Key, Mode};

/// Marked for destruction (include/linux/shm.h).
const SHM_DEST: u16 = 0o1000;
/// Pages are not swapped out (include/linux/shm.h).
const SHM_LOCKED: u16 = 0o2000;

/// One segment, as the kernel told it: a row of `/proc/sysvipc/shm` (proc_sysvipc_shm(5)), or an answer of shmctl(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its key; [`Key::PRIVATE`] once it is marked for destruction.
    pub key: Key,
    /// Its identifier.
    pub id: ShmId,
    /// Permissions and the kernel's two flags.
    pub raw_mode: u16,
    /// Bytes, as they were asked for.
    pub size: u64,
    /// Who created it, 0 where that process cannot be seen from this pid namespace.
    pub cpid: i32,
    /// Who attached or detached last, 0 if nobody did or that process cannot be seen from here.
    pub lpid: i32,
    /// How many mappings of it there are.
    pub nattch: u64,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Last attach, in seconds since the epoch; 0 is never.
    pub atime: i64,
    /// Last detach, in seconds since the epoch; 0 is never.
    pub dtime: i64,
    /// Creation or the last `IPC_SET`, in seconds since the epoch.
    pub ctime: i64,
    /// Bytes in memory. Only the table tells.
    pub rss: Option<u64>,
    /// Bytes swapped out. Only the table tells.
    pub swap: Option<u64>,
    /// The inode of its IPC namespace, where more than one is looked at or it is to be shown. The kernel does not tell.
    pub namespace: Option<u64>,
}

/// What never changes in a segment's life: an identifier can be reused, and then another of these differs, as far as can
/// be told. The key goes with the mark, and ctime moves with every IPC_SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub id: ShmId,
    pub size: u64,
    pub cpid: i32,
    pub cuid: u32,
    pub cgid: u32,
}

impl Segment {
    /// The permission bits.
    pub fn mode(&self) -> Mode {
        Mode::from_raw(self.raw_mode)
    }

    /// Whether it was removed and waits for its last detach.
    pub fn is_marked(&self) -> bool {
        self.raw_mode & SHM_DEST != 0
    }

    /// Whether its pages are kept in memory (`SHM_LOCK`).
    pub fn is_locked(&self) -> bool {
        self.raw_mode & SHM_LOCKED != 0
    }

    /// Bytes in memory, unless they are more than the segment can hold in whole pages: recent kernels count huge pages
    /// up to 512 times too high.
    pub fn believable_rss(&self) -> Option<u64> {
        let most = self.size.checked_next_multiple_of(super::page_size()).unwrap_or(u64::MAX);
        self.rss.filter(|rss| *rss <= most)
    }

    /// The latest of attach, detach and change, in seconds since the epoch.
    pub fn last_used(&self) -> i64 {
        self.atime.max(self.dtime).max(self.ctime)
    }

    /// What tells it from a later one with the same identifier.
    pub fn identity(&self) -> Identity {
        let Segment { id, size, cpid, cuid, cgid, .. } = *self;
        Identity { id, size, cpid, cuid, cgid }
    }

    /// Whether `later` is this segment still, with the key and the settings that it had.
    pub fn is_same_as(&self, later: &Segment) -> bool {
        self.identity() == later.identity() && (self.key, self.ctime) == (later.key, later.ctime)
    }

    /// Whether, as far as these two looks tell, nobody attached or detached between them.
    pub fn attachments_are_as_in(&self, later: &Segment) -> bool {
        (self.nattch, self.lpid, self.atime, self.dtime) == (later.nattch, later.lpid, later.atime, later.dtime)
    }

    /// The segment before anybody attached it or marked it for destruction. Owner, mode and key are today's.
    pub fn at_birth(&self) -> Segment {
        Segment { raw_mode: self.raw_mode & !SHM_DEST, lpid: 0, nattch: 0, atime: 0, dtime: 0, ..self.clone() }
    }

    /// The answer of `IPC_STAT` or `SHM_STAT_ANY`.
    pub(super) fn from_status(id: ShmId, ds: &libc::shmid_ds) -> Segment {
        let perm = &ds.shm_perm;
        Segment {
            key: Key::from_raw(perm.__key),
            id,
            raw_mode: perm.mode,
            size: ds.shm_segsz as u64,
            cpid: ds.shm_cpid,
            lpid: ds.shm_lpid,
            nattch: ds.shm_nattch,
            uid: perm.uid,
            gid: perm.gid,
            cuid: perm.cuid,
            cgid: perm.cgid,
            atime: ds.shm_atime,
            dtime: ds.shm_dtime,
            ctime: ds.shm_ctime,
            rss: None,
            swap: None,
            namespace: None,
        }
    }

    /// A line of the table. Columns may touch no fixed places (long uids move them) and are split on blanks; the key
    /// is signed decimal, the mode octal. Columns that a later kernel may append are left alone.
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
            rss: Some(fields.number()?),
            swap: Some(fields.number()?),
            namespace: None,
        })
    }
}

/// The numbers of a line, with blanks before and between them. There are sixteen to a segment: split off and parsed as
/// strings, they take several times as long.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.digits(10)?.try_into().ok()
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

    /// Takes a field that is digits alone.
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

/// The rows of the table, read one at a time. The kernel hands out some 24 rows a read and takes its lock anew for
/// each: this is no snapshot. A row that is none is an error, and the next one comes; after one of the file there is
/// nothing more.
#[derive(Debug)]
pub struct Segments<R> {
    table: R,
    line: Vec<u8>,
    last: Option<ShmId>,
    failed: bool,
}

impl Segments<BufReader<File>> {
    /// Opens the table of this thread's IPC namespace.
    ///
    /// Errors: `NotFound` where /proc is not mounted or the kernel has no System V IPC.
    pub fn open() -> io::Result<Self> {
        File::open(Table::PATH).and_then(|file| Segments::new(BufReader::new(file)))
    }
}

impl<R: BufRead> Segments<R> {
    /// The rows of a table that begins with its line of titles.
    pub fn new(mut table: R) -> io::Result<Self> {
        let mut line = Vec::new();
        table.read_until(b'\n', &mut line)?;
        Ok(Segments { table, line, last: None, failed: false })
    }
}

impl<R: BufRead> Iterator for Segments<R> {
    type Item = io::Result<Segment>;

    fn next(&mut self) -> Option<io::Result<Segment>> {
        while !self.failed {
            self.line.clear();
            match self.table.read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Err(error) => {
                    // It would be as likely to come again, and for ever to one who passes over errors.
                    self.failed = true;
                    return Some(Err(error));
                }
                Ok(_) => {}
            }
            let Some(segment) = Segment::from_line(&self.line) else {
                let row = String::from_utf8_lossy(self.line.trim_ascii_end());
                let message = format!("{} has a row that is no segment: {row:?}", Table::PATH);
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
            };
            // Linux 5.6 and 5.7 can give a row twice, where one read ends and the next begins.
            if self.last.replace(segment.id) != Some(segment.id) {
                return Some(Ok(segment));
            }
        }
        None
    }
}

/// The whole table at once, by procfs's own traits: `Table::current()`.
///
/// procfs has a type for this file, `SharedMemorySegments`, but it keeps uids in 16 bits (one segment of uid 100000
/// makes the whole read fail) and takes the octal mode for decimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(pub Vec<Segment>);

impl FromBufRead for Table {
    fn from_buf_read<R: BufRead>(table: R) -> ProcResult<Self> {
        let rows = Segments::new(table).and_then(Iterator::collect);
        rows.map(Table).map_err(|error| ProcError::Io(error, None))
    }
}

impl Current for Table {
    const PATH: &'static str = "/proc/sysvipc/shm";
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const TITLES: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid \
                          atime      dtime      ctime                   rss                  swap\n";

    fn rows(table: &str) -> ProcResult<Vec<Segment>> {
        Table::from_buf_read(table.as_bytes()).map(|table| table.0)
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
    fn more_memory_than_a_segment_can_hold_is_not_believed() {
        let of = |size: u64, rss: u64| {
            let table = format!("{TITLES}42 3 600 {size} 1 0 0 0 0 0 0 0 0 1 {rss} 0\n");
            rows(&table).unwrap()[0].believable_rss()
        };
        let page = super::super::page_size();
        assert_eq!(of(1, page), Some(page));
        assert_eq!(of(1, page + 1), None);
        assert_eq!(of(10 * page, 0), Some(0));
        assert_eq!(of(u64::MAX, page), Some(page));
        // A huge page of 2 MiB that is counted 512 times.
        assert_eq!(of(2 << 20, 512 * (2 << 20)), None);
    }

    #[test]
    fn an_identifier_that_is_used_again_is_told_by_what_never_changes() {
        let [segment] = &rows(&format!("{TITLES}42 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n")).unwrap()[..] else { panic!() };
        for (other, what) in [
            (Segment { id: ShmId::new(4).unwrap(), ..segment.clone() }, "id"),
            (Segment { size: 2, ..segment.clone() }, "size"),
            (Segment { cpid: 2, ..segment.clone() }, "cpid"),
            (Segment { cuid: 2, ..segment.clone() }, "cuid"),
            (Segment { cgid: 2, ..segment.clone() }, "cgid"),
        ] {
            assert!(segment.identity() != other.identity() && !segment.is_same_as(&other), "{what}");
        }
        let set = Segment { ctime: 2, uid: 2, ..segment.clone() };
        let marked = Segment { key: Key::PRIVATE, raw_mode: 0o1600, ..segment.clone() };
        for later in [set, marked] {
            assert!(segment.identity() == later.identity() && !segment.is_same_as(&later), "{later:?}");
        }
        assert!(segment.is_same_as(&Segment { nattch: 1, lpid: 2, atime: 2, rss: Some(4096), ..segment.clone() }));
    }

    #[test]
    fn a_row_that_is_repeated_counts_once() {
        let row = "42 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n";
        assert_eq!(rows(&format!("{TITLES}{row}{row}")).unwrap().len(), 1);
    }

    #[test]
    fn a_table_that_cannot_be_read_on_ends_with_the_error() {
        let table = format!("{TITLES}42 3 600 1 1 0 0 0 0 0 0 0 0 1 0 0\n");
        let rows = Segments::new(BufReader::new(table.as_bytes().chain(Unreadable))).unwrap();
        let ids: Vec<_> = rows.take(9).map(|row| row.ok().map(|segment| segment.id.as_raw())).collect();
        assert_eq!(ids, [Some(3), None]);
    }

    /// A file of which every read fails.
    struct Unreadable;

    impl Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }

    #[test]
    fn a_row_that_is_none_is_an_error_and_names_it() {
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
        assert_eq!(rows("").unwrap(), []);
    }
}
