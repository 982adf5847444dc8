//! The kernel's own table of segments, /proc/sysvipc/shm.

/// A row of the table: each field as the kernel writes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Signed, in decimal.
    pub key: String,
    pub id: String,
    /// In octal, with 1000 for a segment that is marked for destruction and 2000 for a locked one.
    pub mode: String,
    pub size: String,
    pub cpid: String,
    pub lpid: String,
    pub nattch: String,
    pub uid: String,
    pub gid: String,
    pub cuid: String,
    pub cgid: String,
    pub atime: String,
    pub dtime: String,
    pub ctime: String,
    pub rss: String,
    pub swap: String,
}

/// Returns the rows of the table, without the line of titles.
#[track_caller]
pub(crate) fn rows(table: &str) -> Vec<Row> {
    table.lines().skip(1).map(Row::new).collect()
}

impl Row {
    #[track_caller]
    fn new(line: &str) -> Row {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let words: [String; 16] = words.try_into().unwrap_or_else(|_| panic!("{line:?} has not 16 columns"));
        let [key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap] = words;
        Row { key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap }
    }

    /// Returns all fields, in the order of the table.
    pub(crate) fn fields(&self) -> [&str; 16] {
        let Row { key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap } =
            self;
        [key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap]
    }
}
