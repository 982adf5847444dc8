//! ELF files, read within limits: their headers may promise any amount.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64, SHN_UNDEF, Sym64};
use object::read::elf::{ElfFile64, ProgramHeader, Sym, SymbolTable};
use object::{Endianness, Object, ObjectSection, ReadCache, ReadRef};

/// The largest section that is read, in bytes.
pub(super) const MAX_SECTION_BYTES: u64 = 512 << 20;
/// The maximum number of bytes that are read of a file while the process waits: headers, symbols and unwind tables.
const MAX_MODULE_BYTES: u64 = 64 << 20;

/// A section of an ELF file.
#[derive(Debug)]
pub(super) struct Section {
    pub address: u64,
    pub bytes: Vec<u8>,
}

/// The parts of an ELF file that are needed for unwinding.
#[derive(Debug)]
pub(super) struct Tables {
    loads: Vec<Load>,
    pub eh_frame: Option<Section>,
    pub eh_frame_hdr: Option<Section>,
    /// The address of the C library's variable `environ`, relative to the file.
    pub environ: Option<u64>,
}

/// A mapped part of the file: a program header of type PT_LOAD.
#[derive(Debug, Clone, Copy)]
struct Load {
    offset: u64,
    size: u64,
    address: u64,
}

impl Tables {
    pub(super) fn read(file: &File) -> Result<Tables, object::Error> {
        let (cache, left) = (ReadCache::new(file), Cell::new(MAX_MODULE_BYTES));
        let elf = ElfFile64::<Endianness, _>::parse(Bounded { cache: &cache, left: &left })?;
        let endian = elf.endian();
        let load = |header: &ProgramHeader64<Endianness>| Load {
            offset: header.p_offset(endian),
            size: header.p_filesz(endian),
            address: header.p_vaddr(endian),
        };
        let headers = elf.elf_program_headers().iter();
        // Not through the cache, which would keep a second copy.
        let section = |name| {
            let section = elf.section_by_name(name)?;
            let (offset, size) = section.file_range()?;
            left.set(left.get().checked_sub(size)?);
            let mut bytes = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut bytes, offset).ok()?;
            Some(Section { address: section.address(), bytes })
        };
        Ok(Tables {
            loads: headers.filter(|header| header.p_type(endian) == PT_LOAD).map(load).collect(),
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            environ: environ_of(&elf),
        })
    }

    /// Converts an offset in the file to an address relative to the file, where the program header puts it.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        let load =
            self.loads.iter().find(|load| offset.checked_sub(load.offset).is_some_and(|into| into < load.size))?;
        (offset - load.offset).checked_add(load.address)
    }

    /// Returns the number of bytes that it keeps in memory.
    pub(super) fn size(&self) -> usize {
        let sections = [&self.eh_frame, &self.eh_frame_hdr].into_iter().flatten();
        sections.map(|section| section.bytes.len()).sum()
    }
}

/// A file of which only a limited number of bytes can be read. Its headers may promise any amount.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    cache: &'a ReadCache<&'a File>,
    left: &'a Cell<u64>,
}

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.left.set(self.left.get().checked_sub(size).ok_or(())?);
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        // The cache reads at most 4096 bytes.
        self.left.set(self.left.get().checked_sub(4096).ok_or(())?);
        self.cache.read_bytes_at_until(range, delimiter)
    }
}

/// Returns the address of `environ` in a C library or a statically linked program.
fn environ_of<'data, R: ReadRef<'data>>(elf: &ElfFile64<'data, Endianness, R>) -> Option<u64> {
    let mut found = None;
    each_definition(elf, elf.elf_dynamic_symbol_table(), b"__environ\0".len(), |symbol, name| {
        if matches!(name, b"environ" | b"__environ") {
            found = found.or(Some(symbol.st_value(elf.endian())));
        }
    });
    found
}

/// Visits each symbol of a table that is defined in its file, with at most `max_bytes` of its name: all symbols can share
/// one endless name. All names are read at once: reading them one by one takes a system call each.
pub(super) fn each_definition<'data, R: ReadRef<'data>>(
    elf: &ElfFile64<'data, Endianness, R>,
    table: &SymbolTable<'data, FileHeader64<Endianness>, R>,
    max_bytes: usize,
    mut visit: impl FnMut(&Sym64<Endianness>, &[u8]),
) {
    let strings =
        elf.section_by_index(table.string_section()).ok().filter(|section| section.size() <= MAX_SECTION_BYTES);
    let Some(strings) = strings.and_then(|section| section.data().ok()) else { return };
    let endian = elf.endian();
    for symbol in table.iter().filter(|symbol| symbol.st_shndx(endian) != SHN_UNDEF) {
        let name = strings.get(symbol.st_name(endian) as usize..).unwrap_or_default();
        let name = &name[..name.len().min(max_bytes)];
        let length = memchr::memchr(0, name).unwrap_or(name.len());
        visit(symbol, &name[..length]);
    }
}
