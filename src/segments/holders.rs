//! The programs that have a segment attached, by name.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::segments::attachments::Proof;
use crate::segments::cache::Lookups;
use crate::system::process::name_of;
use crate::sysv::Segment;

/// The processes found that have a segment attached: `postgres(6) python3`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holders(Vec<(String, usize)>);

impl Holders {
    /// Returns those of a segment. The first call reads the memory map of every process.
    pub(crate) fn of(segment: &Segment, lookups: &Lookups) -> Holders {
        // Without attachments the search can be skipped.
        if segment.nattch == 0 {
            return Holders(Vec::new());
        }
        let mut attached = lookups.attachments_of(segment);
        attached.dedup_by_key(|attached| attached.pid);
        let mut names = BTreeMap::new();
        for attached in attached {
            let Some(name) = name_of(attached.pid) else { continue };
            let doubt = if attached.proof == Proof::Unverified { "?" } else { "" };
            let name = format!("{name}{doubt}");
            *names.entry(name).or_default() += 1;
        }
        Holders::counted(names)
    }

    /// Sorts the names: the most frequent first, then by name.
    fn counted(names: BTreeMap<String, usize>) -> Holders {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|(_, count)| Reverse(*count));
        Holders(names)
    }

    /// Returns whether no process was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { " " } else { "" })?;
            f.write_str(name)?;
            if *count > 1 {
                write!(f, "({count})")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_comes_first() {
        let names = [("sh", 1), ("postgres", 6), ("awk", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(Holders::counted(names.into()).to_string(), "postgres(6) awk sh");
    }
}
