use jit_sudo::authorized::ExecPlan;
use jit_sudo::judge::RunOptions;

fn forge(run_options: RunOptions, another: ExecPlan) -> ExecPlan {
    ExecPlan { run_options, ..another }
}

fn main() {}
