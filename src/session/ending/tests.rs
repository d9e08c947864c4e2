use super::*;

const GLANCE: Option<Duration> = Some(Duration::from_millis(250));
const FREEZE: Verdict = Verdict::Freeze(EndReason::Expiry);
const GRACE: Duration = Duration::from_millis(500);

/// Returns its verdicts from last to first.
struct Script(Vec<Verdict>);

impl Watch for Script {
    fn verdict(&mut self) -> Verdict {
        self.0.pop().unwrap()
    }
    fn patience(&self) -> Option<Duration> {
        GLANCE
    }
}

#[test]
fn a_command_is_killed_after_its_grace_period() {
    let mut watch = Script(vec![Verdict::End(EndReason::Expiry), Verdict::Run]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    let start = Instant::now();
    assert_eq!(enforcer.step(start), Step::wait(GLANCE));
    assert_eq!(enforcer.step(start), Step::act(Act::Terminate, GRACE));
    assert_eq!(enforcer.step(start + GRACE / 2), Step::wait(Some(GRACE / 2)));
    assert_eq!(enforcer.step(start + GRACE), Step::act(Act::Kill, ROUND));
    assert_eq!(enforcer.ending(), Some(EndReason::Expiry));
}

#[test]
fn a_command_that_must_be_recorded_is_ended_after_a_message() {
    let now = Instant::now();
    let error = "the recording has reached its limit of 1 KiB";
    let mut watch = Script(vec![Verdict::Run, Verdict::Run]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    enforcer.unrecorded(error, RecordingMode::BestEffort);
    assert_eq!(enforcer.step(now).act, None);
    enforcer.unrecorded(error, RecordingMode::Strict);
    assert!(matches!(enforcer.step(now).act, Some(Act::Say(words)) if words.contains("its limit of 1 KiB")));
    assert_eq!(enforcer.step(now), Step::act(Act::Terminate, GRACE));
    assert_eq!(enforcer.ending(), Some(EndReason::Unrecorded));
}

#[test]
fn a_frozen_command_is_kept_frozen_and_thawed_once() {
    let script = [Verdict::Run, Verdict::Run, FREEZE, FREEZE, FREEZE, Verdict::Say("x".into())];
    let mut watch = Script(script.to_vec());
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    let now = Instant::now();
    assert_eq!(enforcer.step(now), Step::act(Act::Say("x".into()), Duration::ZERO));
    assert_eq!(enforcer.step(now).act, Some(Act::Freeze));
    enforcer.froze(Hold { is_held: true, awake: 3 });
    assert_eq!(enforcer.step(now).act, None);
    assert!(enforcer.is_frozen());
    assert_eq!(enforcer.step(now + Duration::from_secs(1)).act, Some(Act::Freeze));
    assert_eq!(enforcer.step(now).act, Some(Act::Thaw));
    assert_eq!(enforcer.step(now).act, None);
    assert_eq!(enforcer.ending(), None);
}

#[test]
fn a_frozen_command_ends_when_it_is_given_up_or_revoked() {
    let now = Instant::now();
    let mut watch = Script(vec![FREEZE, FREEZE]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    enforcer.give_up();
    let _ = enforcer.step(now);
    enforcer.give_up();
    assert_eq!(enforcer.step(now).act, Some(Act::Kill), "it would run while it is asked to end");
    assert_eq!(enforcer.step(now).act, Some(Act::Kill));
    assert_eq!(enforcer.ending(), Some(EndReason::Expiry));

    let mut watch = Script(vec![Verdict::End(EndReason::Revocation), FREEZE]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    let _ = enforcer.step(now);
    assert_eq!(enforcer.step(now).act, Some(Act::Kill));
    assert_eq!(enforcer.ending(), Some(EndReason::Revocation));
}

#[test]
fn a_frozen_command_that_is_woken_again_and_again_ends() {
    let mut watch = Script(vec![Verdict::Freeze(EndReason::Kill); 9]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    let mut now = Instant::now();
    let mut count = 0;
    while enforcer.step(now).act == Some(Act::Freeze) {
        enforcer.froze(Hold { is_held: false, awake: 1 });
        now += Duration::from_secs(1);
        count += 1;
    }
    assert_eq!(count, 6);
    assert_eq!(enforcer.step(now).act, Some(Act::Kill));
    assert_eq!(enforcer.ending(), Some(EndReason::Kill));
}

#[test]
fn processes_that_cannot_be_killed_are_checked_less_and_less_often() {
    let mut watch = Script(vec![Verdict::End(EndReason::Expiry)]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, None);
    let start = Instant::now();
    let _ = enforcer.step(start);
    for (ms, pace) in [(0, 20), (1_999, 20), (2_000, 100), (10_000, 500), (20_000, 1_000), (900_000, 1_000)] {
        let now = start + GRACE + Duration::from_millis(ms);
        assert_eq!(enforcer.step(now), Step::act(Act::Kill, Duration::from_millis(pace)), "{ms} ms");
    }
}

#[test]
fn a_time_limit_ends_a_command() {
    let limit = Duration::from_secs(60);
    let mut watch = Script(vec![Verdict::Run]);
    let mut enforcer = Enforcer::new(&mut watch, GRACE, Some(limit));
    enforcer.begun(None);
    let now = Instant::now();
    assert_eq!(enforcer.step(now), Step::wait(GLANCE));
    assert_eq!(enforcer.step(now + limit), Step::act(Act::Terminate, GRACE));
    assert_eq!(enforcer.ending(), Some(EndReason::TimeLimit));
}
