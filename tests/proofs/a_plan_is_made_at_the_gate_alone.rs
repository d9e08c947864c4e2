use jit_sudo::authorized::ExecPlan;
use jit_sudo::elevation::Elevation;
use jit_sudo::policy::WorkingDirectory;

fn plan(elevation: Elevation) -> ExecPlan {
    ExecPlan { elevation, directory: WorkingDirectory::Callers }
}

fn main() {}
