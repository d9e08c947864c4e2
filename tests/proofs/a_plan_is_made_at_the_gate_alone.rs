use jit_sudo::authorized::ExecPlan;
use jit_sudo::elevation::Elevation;
use jit_sudo::judge::Manner;

fn plan(elevation: Elevation, manner: Manner) -> ExecPlan {
    ExecPlan { elevation, manner }
}

fn main() {}
