//! Messages to the process that removes an incomplete segment.

use crate::values::{Key, ShmId};

/// What the child learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// The pid that new segments have as their creator, and whether all segments that have it already will follow.
    Creator { pid: i32, can_search: bool },
    /// A segment with this creator that existed before.
    Earlier(ShmId),
    /// A segment will be created.
    Begun { key: Key, size: u64, time: i64 },
    /// It was created.
    Created(ShmId),
    /// It is complete, or was removed, or could not be created.
    Over,
}

/// The number of bytes of a message.
pub(super) const LENGTH: usize = 32;

impl Message {
    pub(super) fn to_bytes(self) -> [u8; LENGTH] {
        let words: [i64; LENGTH / 8] = match self {
            Self::Creator { pid, can_search } => [0, pid.into(), can_search.into(), 0],
            Self::Earlier(id) => [1, id.as_raw().into(), 0, 0],
            Self::Begun { key, size, time } => [2, key.as_raw().into(), size.cast_signed(), time],
            Self::Created(id) => [3, id.as_raw().into(), 0, 0],
            Self::Over => [4, 0, 0, 0],
        };
        let mut bytes = [0; LENGTH];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_ne_bytes()));
        bytes
    }

    /// Returns the message; `None` if [`Message::to_bytes`] did not write it.
    pub(super) fn from_bytes(bytes: [u8; LENGTH]) -> Option<Message> {
        let mut words = [0; LENGTH / 8];
        let (chunks, _) = bytes.as_chunks();
        words.iter_mut().zip(chunks).for_each(|(word, bytes)| *word = i64::from_ne_bytes(*bytes));
        let [kind, first, second, third] = words;
        let number = i32::try_from(first).ok()?;
        Some(match kind {
            0 => Self::Creator { pid: number, can_search: second != 0 },
            1 => Self::Earlier(ShmId::new(number)?),
            2 => Self::Begun { key: Key::from_raw(number), size: second.cast_unsigned(), time: third },
            3 => Self::Created(ShmId::new(number)?),
            4 => Self::Over,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: i32) -> ShmId {
        ShmId::new(id).expect("an identifier")
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let (key, size, time) = (Key::from_raw(-7), u64::MAX, i64::MIN);
        for message in [
            Message::Creator { pid: 7, can_search: true },
            Message::Creator { pid: i32::MAX, can_search: false },
            Message::Earlier(id(0)),
            Message::Begun { key, size, time },
            Message::Created(id(i32::MAX)),
            Message::Over,
        ] {
            assert_eq!(Message::from_bytes(message.to_bytes()), Some(message));
        }
        assert_eq!(Message::from_bytes([255; LENGTH]), None);
    }
}
