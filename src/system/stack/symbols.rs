//! Translating addresses to functions, source files and lines: by debug information (DWARF), else by the symbol table.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use addr2line::Context;
use gimli::{EndianArcSlice, Reader, RunTimeEndian};
use object::elf::STT_FUNC;
use object::read::elf::{ElfFile64, Sym};
use object::{Endianness, Object, ObjectSection, ReadCache};
use serde::{Deserialize, Serialize};

use super::Place;
use super::elf::{MAX_SECTION_BYTES, each_definition};
use super::module::{ModuleFile, open_regular};
use super::names::{MAX_SYMBOL_BYTES, demangled};
use crate::values::{visible, visible_path};

/// The longest path that is shown, in bytes: PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// The description of a frame. An inlined function has a frame of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// The function, demangled; `None` for a stripped program.
    pub function: Option<String>,
    /// The path of the source file, as given to the compiler.
    pub file: Option<String>,
    /// The directory that the compiler ran in.
    pub directory: Option<String>,
    /// The line of the source file.
    pub line: Option<u32>,
    /// The program or library; `None` for code that is not mapped from a file.
    pub module: Option<String>,
    /// The address relative to the program or library, as addr2line(1) takes it.
    pub offset: u64,
}

impl Frame {
    /// Returns the frame without names.
    pub(super) fn bare(place: &Place) -> Frame {
        let module = place.module.as_ref().map(|file| visible_path(&file.path).into_owned());
        Frame { module, offset: place.address, ..Frame::default() }
    }
}

/// How much to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Functions, inlined functions, source files and lines.
    Lines,
    /// Only functions, without debug information.
    Functions,
}

/// The files seen so far. Each is read once.
pub(super) struct Symbolizer {
    detail: Detail,
    modules: HashMap<*const ModuleFile, Option<Symbols>>,
    known: HashMap<(*const ModuleFile, u64), Vec<Frame>>,
    /// Keeps the modules alive, so that their addresses stay unique as keys.
    kept: Vec<Arc<ModuleFile>>,
}

impl Symbolizer {
    pub(super) fn new(detail: Detail) -> Symbolizer {
        Symbolizer { detail, modules: HashMap::new(), known: HashMap::new(), kept: Vec::new() }
    }

    /// Returns the frames of a place, innermost first.
    pub(super) fn frames(&mut self, place: &Place) -> Vec<Frame> {
        let Some(file) = &place.module else { return vec![Frame::bare(place)] };
        let key = Arc::as_ptr(file);
        if let Some(known) = self.known.get(&(key, place.address)) {
            return known.clone();
        }
        let symbols = self.modules.entry(key).or_insert_with(|| {
            self.kept.push(Arc::clone(file));
            Symbols::read(file, self.detail)
        });
        let named = symbols.as_ref().map(|symbols| symbols.frames(place)).unwrap_or_default();
        let frames = if named.is_empty() { vec![Frame::bare(place)] } else { named };
        self.known.insert((key, place.address), frames.clone());
        frames
    }
}

type Bytes = EndianArcSlice<RunTimeEndian>;

/// The symbols of one file.
struct Symbols {
    debug: Option<Context<Bytes>>,
    /// Functions in ascending order of addresses.
    functions: Vec<Function>,
}

struct Function {
    address: u64,
    size: u64,
    name: Vec<u8>,
}

impl Symbols {
    fn read(module: &ModuleFile, detail: Detail) -> Option<Symbols> {
        let file = module.open()?;
        let cache = ReadCache::new(&file);
        let elf = ElfFile64::<Endianness, _>::parse(&cache).ok()?;
        let debug = |elf: &_, file: &_| if detail == Detail::Lines { debug_information(elf, file) } else { None };
        let mut symbols = Symbols { debug: debug(&elf, &file), functions: functions(&elf) };
        // Distributions put debug information into a separate file, named after the build ID.
        if let (None, Some(path)) = (&symbols.debug, elf.build_id().ok().flatten().and_then(debug_file))
            && let Ok(file) = open_regular(Path::new(&path))
        {
            let cache = ReadCache::new(&file);
            if let Ok(elf) = ElfFile64::<Endianness, _>::parse(&cache) {
                symbols.debug = debug(&elf, &file);
                symbols.functions.extend(functions(&elf));
            }
        }
        symbols.functions.sort_by_key(|function| function.address);
        Some(symbols)
    }

    /// Returns the function at a place, and the functions into which it is inlined, innermost first.
    fn frames(&self, place: &Place) -> Vec<Frame> {
        let probe = place.address.saturating_sub(u64::from(place.is_return));
        let symbol = self.function(probe);
        let mut frames = self.debug.as_ref().map(|debug| by_debug_information(debug, probe, place)).unwrap_or_default();
        match frames.last_mut() {
            // -gline-tables-only produces lines without functions.
            Some(outermost) if outermost.function.is_none() => outermost.function = symbol,
            Some(_) => {}
            None if symbol.is_some() => frames.push(Frame { function: symbol, ..Frame::bare(place) }),
            None => {}
        }
        frames
    }

    fn function(&self, address: u64) -> Option<String> {
        let behind = self.functions.partition_point(|function| function.address <= address);
        let function = self.functions[..behind].last()?;
        // Assembly code may omit the size. A dynamic symbol can have a version after its name.
        let name = function.name.split(|byte| *byte == b'@').next()?;
        (function.size == 0 || address - function.address < function.size).then(|| demangled(name))
    }
}

fn by_debug_information(debug: &Context<Bytes>, probe: u64, place: &Place) -> Vec<Frame> {
    let Ok(mut found) = debug.find_frames(probe).skip_all_loads() else { return Vec::new() };
    let unit = debug.find_dwarf_and_unit(probe).skip_all_loads();
    let directory = unit.and_then(|unit| {
        let directory = unit.comp_dir.as_ref()?.to_slice().ok()?;
        Some(shown(&directory))
    });
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = found.next() {
        let location = frame.location.as_ref();
        frames.push(Frame {
            function: frame.function.and_then(|name| Some(demangled(name.raw_name().ok()?.as_bytes()))),
            file: location.and_then(|at| at.file).map(|file| shown(file.as_bytes())),
            directory: directory.clone(),
            line: location.and_then(|at| at.line),
            ..Frame::bare(place)
        });
    }
    frames
}

/// Returns a path, escaped for display and with a maximum length.
fn shown(path: &[u8]) -> String {
    visible(&path[..path.len().min(MAX_PATH_BYTES)]).into_owned()
}

fn debug_information<'data>(
    elf: &ElfFile64<'data, Endianness, &'data ReadCache<&'data File>>,
    file: &File,
) -> Option<Context<Bytes>> {
    elf.section_by_name(".debug_info")?;
    let endian = if elf.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: gimli::SectionId| -> Result<Bytes, gimli::Error> {
        let section = elf.section_by_name(id.name()).filter(|section| section.size() <= MAX_SECTION_BYTES);
        // Not through the cache, which would keep a second copy.
        let bytes = section.and_then(|section| {
            let (offset, size) = section.file_range()?;
            let mut bytes = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut bytes, offset).ok()?;
            Some(bytes)
        });
        Ok(EndianArcSlice::new(bytes.unwrap_or_default().into(), endian))
    };
    Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()
}

fn functions<'data, R: object::ReadRef<'data>>(elf: &ElfFile64<'data, Endianness, R>) -> Vec<Function> {
    let mut functions = Vec::new();
    for table in [elf.elf_symbol_table(), elf.elf_dynamic_symbol_table()] {
        each_definition(elf, table, MAX_SYMBOL_BYTES + 1, |symbol, name| {
            if symbol.st_type() == STT_FUNC {
                let (address, size) = (symbol.st_value(elf.endian()), symbol.st_size(elf.endian()));
                functions.push(Function { address, size, name: name.to_vec() });
            }
        });
    }
    functions
}

/// Returns where distributions put the debug information of a file with this build ID.
fn debug_file(build_id: &[u8]) -> Option<String> {
    let digits: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (directory, name) = digits.split_at_checked(2)?;
    Some(format!("/usr/lib/debug/.build-id/{directory}/{name}.debug"))
}
