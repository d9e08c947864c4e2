//! Which processes of a control group are dead: one that is kept from ending stays a member.

use sys::process::Pid;
use sys::procfs::status;

/// Whether all processes that `list` returns are dead. False when it returns none: the list of a group with threads in nested groups
/// cannot be read.
pub(super) fn are_dead(list: &dyn Fn() -> Vec<Pid>, is_dead: &dyn Fn(Pid) -> bool) -> bool {
    let members = list();
    // One that has forked another and died since the first look is followed by that one in the second.
    !members.is_empty() && members.iter().all(|pid| is_dead(*pid)) && list() == members
}

/// Whether a member of a group is known to be dead. One that does not show it counts as alive.
pub(super) fn is_dead(pid: Pid) -> bool {
    status(pid).is_ok_and(|status| status.is_dead())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_group_is_over_when_all_its_members_are_dead() {
        let pids = |all: &[i32]| all.iter().map(|pid| Pid::new(*pid).unwrap()).collect::<Vec<_>>();
        let is_dead = |pid: Pid| pid.raw() < 100;
        for (first, second, over) in [
            (vec![7, 8], vec![7, 8], true),
            (vec![7, 100], vec![7, 100], false),
            (vec![7], vec![7, 101], false), // forked before the first one died
            (vec![7, 8], vec![8], false),   // asked again later
            (vec![], vec![], false),
        ] {
            let is_second = Cell::new(false);
            let list = || pids(if is_second.replace(true) { &second } else { &first });
            assert_eq!(are_dead(&list, &is_dead), over, "{first:?} {second:?}");
        }
    }
}
