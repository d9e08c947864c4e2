use jit_core::grant::Approval;
use jit_sudo::store::insert_approval;
use rusqlite::Transaction;

fn forget(tx: &Transaction<'_>, approval: &Approval) -> bool {
    insert_approval(tx, approval, 0).is_ok()
}

fn main() {}
