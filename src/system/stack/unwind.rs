//! Walking from frame to frame by the unwind tables that compilers emit for exceptions (`.eh_frame`).

use std::sync::Arc;
use std::time::Instant;

use super::frame::Frame;
use super::maps::{CodeMapping, Mappings};
use super::memory::Memory;
use super::module::Module;
use super::{MAX_FRAMES, Place};

/// A function that returns the module of a mapping.
pub(super) type Find<'a> = dyn FnMut(&CodeMapping) -> Option<Arc<Module>> + 'a;

/// Returns a thread's frames from its current one, innermost first. Stops at the end of the stack, at the deadline, or if
/// the next frame cannot be determined: it never guesses.
pub(super) fn unwind(
    mut frame: Frame,
    mappings: &Mappings,
    memory: &mut Memory,
    find: &mut Find<'_>,
    deadline: Instant,
) -> Vec<Place> {
    let mut places = Vec::new();
    let mut context = machine::Context::default();
    while places.len() < MAX_FRAMES && Instant::now() < deadline {
        // If the callee never returns, the call may be a function's last instruction. The return address then belongs
        // to the next function.
        let inside = frame.pc - u64::from(frame.is_return);
        let Some(mapping) = mappings.find(inside) else { break };
        let module = find(mapping);
        let Some((module, address)) = module.and_then(|module| module.address(mapping, inside).map(|at| (module, at)))
        else {
            places.push(Place { address: frame.pc, is_return: frame.is_return, module: None });
            break;
        };
        let place = Place {
            address: address.wrapping_add(frame.is_return.into()),
            is_return: frame.is_return,
            module: Some(Arc::clone(&module.file)),
        };
        places.push(place);
        let bias = inside.wrapping_sub(address);
        let Some(caller) = machine::caller(frame, &module, address, bias, mappings, memory, &mut context) else {
            break;
        };
        if places.len() == 1 {
            // The system call is made by a few instructions of the C library. Its caller often calls that function
            // last, and compilers turn such a call into a jump. The caller then has no frame, although it is the
            // function of interest.
            places.extend(machine::tail_call(&caller, &module, address, bias, mappings, memory, find));
        }
        frame = caller;
    }
    places
}

/// On this architecture a call leaves the return address in a register, which the kernel does not show for a waiting
/// thread.
#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use super::*;

    #[derive(Default)]
    pub(super) struct Context;

    pub(super) fn caller(
        _: Frame,
        _: &Module,
        _: u64,
        _: u64,
        _: &Mappings,
        _: &mut Memory,
        _: &mut Context,
    ) -> Option<Frame> {
        None
    }

    pub(super) fn tail_call(
        _: &Frame,
        _: &Module,
        _: u64,
        _: u64,
        _: &Mappings,
        _: &mut Memory,
        _: &mut Find<'_>,
    ) -> Option<Place> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use gimli::{
        BaseAddresses, CfaRule, CieOrFde, EhFrame, EhFrameHdr, Encoding, EndianSlice, EvaluationResult, Format,
        FrameDescriptionEntry, LittleEndian, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection,
        Value, X86_64,
    };

    use super::super::code::{self, Call};
    use super::super::frame_pointer;
    use super::*;

    type Bytes<'a> = EndianSlice<'a, LittleEndian>;

    /// The maximum size of a function's unwind instructions, in bytes.
    const MAX_DESCRIPTION_BYTES: usize = 256 << 10;
    /// The maximum number of entries that are searched in an unwind table without an index.
    const MAX_SEARCHED: usize = 200_000;
    /// The maximum number of steps in evaluating an expression of an unwind table.
    const MAX_STEPS: u32 = 1000;

    /// Buffers for the rows of an unwind table, allocated once per stack.
    #[derive(Default)]
    pub(super) struct Context(UnwindContext<usize>);

    /// Returns the frame that called this one. `address` is the location relative to the file. `bias` is the difference
    /// between the file's addresses and those in the process.
    pub(super) fn caller(
        mut frame: Frame,
        module: &Module,
        address: u64,
        bias: u64,
        mappings: &Mappings,
        memory: &mut Memory,
        context: &mut Context,
    ) -> Option<Frame> {
        let Described { table, bases, description } = described(module, address)?;
        let row = description.unwind_info_for_address(&table, &bases, &mut context.0, address).ok()?;

        if frame.fp.is_none()
            && let CfaRule::RegisterAndOffset { register: X86_64::RBP, offset } = row.cfa()
        {
            let start = description.initial_address().wrapping_add(bias);
            let size = u64::try_from(*offset).ok()?;
            frame.fp = Some(frame_pointer::find(&frame, start, size, mappings, memory)?);
        }
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => frame.register(*register)?.wrapping_add_signed(*offset),
            CfaRule::Expression(expression) => evaluate(expression, &table, &frame, None, memory)?,
        };
        let mut restore = |register: Register, unchanged: Option<u64>| match row.register(register) {
            None | Some(RegisterRule::SameValue) => unchanged,
            Some(RegisterRule::Offset(offset)) => memory.word(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(other)) => frame.register(other),
            Some(RegisterRule::Expression(expression)) => {
                let address = evaluate(&expression, &table, &frame, Some(cfa), memory)?;
                memory.word(address)
            }
            Some(RegisterRule::ValExpression(expression)) => evaluate(&expression, &table, &frame, Some(cfa), memory),
            Some(_) => None,
        };
        // The outermost function marks its return address as undefined; a new stack starts with 0.
        let pc = restore(description.cie().return_address_register(), None).filter(|pc| *pc != 0)?;
        let fp = restore(X86_64::RBP, frame.fp);
        let sp = restore(X86_64::RSP, Some(cfa))?;
        // The stack grows downwards, so a caller's frame has a higher address. A signal handler may have its own stack.
        let is_signal = description.is_signal_trampoline();
        (is_signal || sp > frame.sp).then_some(Frame { pc, sp, fp, is_return: !is_signal })
    }

    /// Returns the frameless function that `caller` called and that jumped to the function at `address`.
    pub(super) fn tail_call(
        caller: &Frame,
        module: &Module,
        address: u64,
        bias: u64,
        mappings: &Mappings,
        memory: &mut Memory,
        find: &mut Find<'_>,
    ) -> Option<Place> {
        let reached = described(module, address)?.description.initial_address().wrapping_add(bias);
        let called = match code::call_before(caller.pc, mappings, memory)? {
            Call::Of(called) if called != reached => called,
            _ => return None,
        };
        let mapping = mappings.find(called)?;
        let module = find(mapping)?;
        let start = module.address(mapping, called)?;
        let description = described(&module, start)?.description;
        let length = description.initial_address().checked_add(description.len())?.checked_sub(start)?;
        let jump = code::jump_to(reached, called, length, memory)?;
        Some(Place {
            address: start.wrapping_add(jump - called),
            is_return: false,
            module: Some(Arc::clone(&module.file)),
        })
    }

    /// The unwind table's information about the function at an address.
    struct Described<'a> {
        table: EhFrame<Bytes<'a>>,
        bases: BaseAddresses,
        description: FrameDescriptionEntry<Bytes<'a>>,
    }

    fn described(module: &Module, address: u64) -> Option<Described<'_>> {
        let section = module.tables.eh_frame.as_ref()?;
        let table = EhFrame::new(&section.bytes, LittleEndian);
        let mut bases = BaseAddresses::default().set_eh_frame(section.address);
        let index = module.tables.eh_frame_hdr.as_ref().and_then(|section| {
            bases = bases.clone().set_eh_frame_hdr(section.address);
            EhFrameHdr::new(&section.bytes, LittleEndian).parse(&bases, 8).ok()
        });
        let description = match index.as_ref().and_then(|index| index.table()) {
            Some(index) => index.fde_for_address(&table, &bases, address, EhFrame::cie_from_offset).ok()?,
            None => search(&table, &bases, address)?,
        };
        let is_small = description.entry_len().max(description.cie().entry_len()) <= MAX_DESCRIPTION_BYTES;
        is_small.then_some(Described { description, table, bases })
    }

    /// Searches a table without an index.
    fn search<'a>(
        table: &EhFrame<Bytes<'a>>,
        bases: &BaseAddresses,
        address: u64,
    ) -> Option<FrameDescriptionEntry<Bytes<'a>>> {
        let mut entries = table.entries(bases);
        for _ in 0..MAX_SEARCHED {
            if let CieOrFde::Fde(entry) = entries.next().ok()?? {
                let description = entry.parse(EhFrame::cie_from_offset).ok()?;
                if description.contains(address) {
                    return Some(description);
                }
            }
        }
        None
    }

    impl Frame {
        fn register(&self, register: Register) -> Option<u64> {
            match register {
                X86_64::RSP => Some(self.sp),
                X86_64::RBP => self.fp,
                X86_64::RA => Some(self.pc),
                _ => None,
            }
        }
    }

    const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };

    /// Evaluates a DWARF expression with these registers and this memory.
    fn evaluate(
        expression: &UnwindExpression<usize>,
        table: &EhFrame<Bytes<'_>>,
        frame: &Frame,
        initial: Option<u64>,
        memory: &mut Memory,
    ) -> Option<u64> {
        let mut evaluation = expression.get(table).ok()?.evaluation(ENCODING);
        evaluation.set_max_iterations(MAX_STEPS);
        if let Some(value) = initial {
            evaluation.set_initial_value(value);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(frame.register(register)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    evaluation.resume_with_memory(Value::Generic(memory.word(address)?)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result() {
            [gimli::Piece { location: gimli::Location::Address { address }, .. }] => Some(*address),
            _ => None,
        }
    }
}
