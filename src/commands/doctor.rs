use clap::Args;

use super::Context;
use super::args::TextOrJson;
use crate::error::{Result, Status};
use crate::output::{CheckRecords, check_lines};
use crate::segments::doctor::{self, Health};

/// Find out why a segment could not be created, may vanish, or cannot be seen
///
/// Checks the limits and their use, kernel.shm_rmid_forced, systemd-logind's RemoveIPC, memory, huge pages, locked memory,
/// what can be seen from here, and what shmadm cannot do here. Changes nothing. Exit status 1 means that there is a problem.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    shmadm doctor\n  \
    shmadm doctor -f json | jq -r '.checks[] | select(.status != \"ok\").finding'")]
pub(super) struct Doctor {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    format: TextOrJson,
}

impl Doctor {
    pub(super) fn wants_json(&self) -> bool {
        self.format == TextOrJson::Json
    }

    pub(super) fn run(&self, context: &mut Context) -> Result<Status> {
        let checks = doctor::examine();
        let output = &mut context.output;
        match self.format {
            TextOrJson::Json => output.json(&CheckRecords { checks: &checks })?,
            TextOrJson::Text => {
                for line in check_lines(&checks, output.width(), output.color()) {
                    output.line(line)?;
                }
            }
        }
        let is_problem = checks.iter().any(|check| check.status == Health::Problem);
        Ok(if is_problem { Status::Failed } else { Status::Done })
    }
}
