//! A program that exits without removing its segment.

use crate::demo::lesson::{Contents, Lesson, Script, run, step};
use crate::demo::name::{A, S};
use crate::sysv::Access::ReadWrite;

pub(super) const LESSON: Lesson = Lesson {
    name: "leak",
    about: "a program exits without IPC_RMID: find its segment, and clean up",
    needs_lasting_segments: true,
    contents: Contents::Text,
    script,
};

fn script() -> Script {
    Script {
        opening: "Process A ends in the normal way, and forgets one call. malloc(3) taught us that the end of a process frees its \
                  memory. Not this memory."
            .into(),
        steps: vec![
            step(
                "A creates a segment and uses it",
                "Nothing is wrong yet.",
                [A.creates(S, 0o600), A.attaches(S, ReadWrite), A.writes(S, "hello from A")],
            ),
            step(
                "A detaches it and exits",
                "A has called shmdt, so it seems to have cleaned up. But shmdt is not free(3): the segment still exists and uses \
                 memory (RSS). It counts against the limits of the machine, too.",
                [A.detaches(S), A.exits()],
            ),
            step(
                "The operator looks for orphans",
                "Nobody has it attached, its creator has exited, and so has its last user. That is what --orphaned means. (Here \
                 --key limits the search to our segment.)",
                [run(&["list", "--orphaned", "--key", "KEY", "-o", "key,id,size,rss,nattch,status"])],
            ),
            step(
                "The operator removes it",
                "An orphan can still be wanted: a program may come back for its data. So look at the list, and at IDLE, before you \
                 remove anything.",
                [run(&["remove", "--orphaned", "--key", "KEY", "--yes"])],
            ),
        ],
        closing: "Call shmctl with IPC_RMID in the process that created the segment, in every way out of it; or right after all \
                  processes have attached it, because a removed segment works until its last detach.\n\
                  While you develop, let `shmadm guard -- ./program` run your program: it names every segment that is left behind, \
                  with the process and the source line that made it. `shmadm guard --remove -- ./program` also removes them."
            .into(),
        look_up: "shmctl(2) with IPC_RMID; shmadm-guard(1), shmadm-remove(1)",
    }
}
