use jit_sudo::authorized::ExecPlan;
use jit_sudo::judge::Manner;

fn forge(manner: Manner, another: ExecPlan) -> ExecPlan {
    ExecPlan { manner, ..another }
}

fn main() {}
