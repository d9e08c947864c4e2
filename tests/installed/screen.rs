//! Terminals in interactive use: jobs, signals, windows, full-screen programs, much output, line breaks. Each test does the same
//! with sudo and with jit-sudo, because a test that sudo fails expects too much.

use std::time::Duration;

use harness::{Person, PtySession, eventually};

use crate::root;

/// A user who may run anything, at an interactive shell.
struct Context {
    person: Person,
    session: PtySession,
}

/// Runs the test in a shell where `elevate` is sudo and in one where it is jit-sudo.
fn at_both(test: impl Fn(&mut Context)) {
    for program in ["sudo", "jit-sudo"] {
        let person = root().person(&["deploy"]);
        let mut session = root().pty_as(&person.name, ["bash", "--norc", "--noprofile"]);
        // Wide enough that no line of these tests is wrapped.
        session.resize(24, 250);
        session.type_line(&format!(
            "alias elevate='{program} -n'; S='{program} -n'; before=$(stty -g); PS1='>'\"> \"; bind 'set enable-bracketed-paste off'"
        ));
        session.expect(">> ");
        test(&mut Context { person, session });
    }
}

impl Context {
    fn types(&mut self, line: &str) {
        self.session.type_line(line);
    }

    /// Presses a key with Control held.
    fn presses(&mut self, key: u8) {
        self.session.type_text([key & 0x1f]);
    }

    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        self.session.expect(text)
    }

    /// Presses ^Z, and waits for the shell.
    #[track_caller]
    fn stops_the_job(&mut self) {
        self.presses(b'Z');
        self.sees("Stopped");
        self.sees(">> ");
    }

    /// Waits until the command reads the keys: the terminal no longer turns them into signals. That change may discard keys that
    /// were typed before.
    fn is_handed_over(&self) {
        eventually("the keys are handed over", harness::PATIENCE, || (!self.session.makes_signals()).then_some(()));
    }

    /// Types `fg`, and waits until the command reads the keys again.
    #[track_caller]
    fn fetches_the_job(&mut self, command: &str) {
        self.types("fg");
        self.sees(command);
        self.is_handed_over();
    }

    /// Checks that the shell is back, and the terminal settings are unchanged.
    #[track_caller]
    fn is_as_before(&mut self) {
        self.types("[ \"$(stty -g)\" = \"$before\" ] && echo as before");
        self.sees("\nas before");
        self.sees(">> ");
    }

    /// Returns the path of a file for notes of the command.
    fn note(&self, what: &str) -> String {
        format!("/tmp/{}.{what}", self.person.name)
    }

    /// Waits for a note of one line.
    fn reads(&self, what: &str) -> String {
        let file = self.note(what);
        eventually(&file, harness::PATIENCE, || {
            let text = std::fs::read_to_string(root().path(&file)).ok().filter(|text| text.ends_with('\n'))?;
            std::fs::remove_file(root().path(&file)).ok()?;
            Some(text.trim().to_owned())
        })
    }
}

/// Returns a shell line that notes the processes of the run: sudo's own and the command's.
fn noting(desk: &Context) -> String {
    format!("echo $(ps -o ppid= -p $PPID) $$ >{}", desk.note("pids"))
}

/// Returns what [`noting`] noted.
fn pids(desk: &Context) -> (String, String) {
    let noted = desk.reads("pids");
    let (ours, command) = noted.split_once(' ').unwrap();
    (ours.to_owned(), command.to_owned())
}

fn kill(signal: &str, pid: &str) {
    root().script(&format!("kill -{signal} {pid}"));
}

/// Waits until a process is in a state of ps(1); until it has ended where none is given.
fn becomes(pid: &str, wanted: &str) {
    eventually(&format!("process {pid} in state '{wanted}'"), harness::PATIENCE, || {
        let state = root().script(&format!("ps -o stat= -p {pid} || true"));
        (state.chars().take(1).collect::<String>() == wanted).then_some(())
    });
}

#[test]
fn a_job_is_stopped_put_in_the_background_and_fetched_again() {
    at_both(|desk| {
        // One process: a shell that is stopped between vfork and exec of a child hangs, whatever its parent is.
        desk.types("elevate perl -e '$|=1; print \"up\\n\"; select(undef, undef, undef, 0.05) for 1..40; print \"all done\\n\"'");
        desk.sees("\nup");
        desk.stops_the_job();
        desk.is_as_before();
        desk.types("jobs | grep -c Stopped; bg; sleep 0.2; jobs | grep -c Running");
        desk.sees("\n1");
        desk.sees("\n1");
        desk.types("fg");
        desk.sees("\nall done");
        desk.sees(">> ");
        desk.is_as_before();
    });
}

#[test]
fn a_job_is_stopped_again_and_again() {
    at_both(|desk| {
        desk.types("elevate cat");
        desk.is_handed_over();
        for round in 0..4 {
            desk.types(&format!("round {round}"));
            desk.sees(&format!("round {round}\r\nround {round}"));
            desk.stops_the_job();
            desk.is_as_before();
            desk.fetches_the_job("-n cat");
        }
        desk.presses(b'D');
        desk.sees(">> ");
        desk.is_as_before();
    });
}

#[test]
fn a_stopped_job_can_be_ended() {
    at_both(|desk| {
        desk.types(&format!("elevate sh -c '{}; exec sleep 1000'", noting(desk)));
        let (_, command) = pids(desk);
        desk.stops_the_job();
        becomes(&command, "T");
        desk.types("elevate kill -TERM $(jobs -p); elevate kill -CONT $(jobs -p)");
        desk.sees(">> ");
        becomes(&command, "");
        desk.is_as_before();
    });
}

const READING: &str = "elevate sh -c 'read line; echo \"got $line\"'";

/// Checks that a background job that reads the terminal stops, and gets the input after `fg`.
fn waits_to_be_fetched(desk: &mut Context, job: &str) {
    desk.types(job);
    desk.sees(">> ");
    eventually("the job is stopped", harness::PATIENCE, || {
        desk.types("jobs");
        desk.sees(">> ").contains("Stopped").then_some(())
    });
    desk.fetches_the_job("read line");
    desk.types("hello");
    desk.sees("\ngot hello");
    desk.sees(">> ");
    desk.is_as_before();
}

#[test]
fn a_background_job_that_reads_the_terminal_waits_for_fg() {
    at_both(|desk| waits_to_be_fetched(desk, &format!("{READING} &")));
}

#[test]
fn a_job_that_began_while_a_line_was_edited_has_the_usual_terminal_when_it_is_fetched() {
    // The shell shows its prompt, and so edits a line in its own terminal modes, before the run begins.
    at_both(|desk| waits_to_be_fetched(desk, &format!("{{ sleep 0.5; {READING}; }} &")));
}

#[test]
fn a_background_job_writes_whole_lines() {
    at_both(|desk| {
        desk.types("elevate sh -c 'sleep 0.3; echo one; echo two' & wait; echo e''nd");
        let shown = desk.sees("\nend");
        assert!(shown.contains("\none\r") && shown.contains("\ntwo\r"), "{shown:?}");
    });
}

#[test]
fn a_command_that_stops_itself_is_a_stopped_job() {
    at_both(|desk| {
        for signal in ["STOP", "TSTP", "TTIN"] {
            desk.types(&format!("elevate sh -c 'echo up; kill -{signal} $$; echo went on'"));
            desk.sees("\nup");
            if signal != "TTIN" {
                desk.sees("Stopped");
                desk.sees(">> ");
                desk.types("fg");
            }
            desk.sees("\nwent on");
            desk.sees(">> ");
            desk.is_as_before();
        }
    });
}

#[test]
fn a_stop_and_a_continue_sent_to_jit_sudo_reach_the_command() {
    at_both(|desk| {
        desk.types(&format!("elevate sh -c '{}; exec sleep 1000'", noting(desk)));
        let (ours, command) = pids(desk);
        kill("TSTP", &ours);
        desk.sees("Stopped");
        desk.sees(">> ");
        becomes(&command, "T");
        desk.is_as_before();
        kill("CONT", &ours);
        becomes(&command, "S");
        kill("TERM", &ours);
        becomes(&command, "");
        desk.types("wait; echo o''ver");
        desk.sees("\nover");
        desk.is_as_before();
    });
}

#[test]
fn signals_sent_to_jit_sudo_reach_the_command() {
    at_both(|desk| {
        for signal in ["HUP", "TERM", "INT", "QUIT", "USR1", "USR2"] {
            let trap = format!("trap \"echo got {signal}; exit 5\" {signal}");
            desk.types(&format!(
                "elevate bash -c '{trap}; {}; while :; do sleep 0.05; done'; echo st''atus $?",
                noting(desk)
            ));
            let (ours, _) = pids(desk);
            kill(signal, &ours);
            desk.sees(&format!("got {signal}\r\nstatus 5"));
            desk.is_as_before();
        }
    });
}

#[test]
fn a_signal_that_ends_the_command_ends_jit_sudo() {
    at_both(|desk| {
        for (signal, status) in [("HUP", 129), ("TERM", 143), ("KILL", 137), ("USR1", 138)] {
            desk.types(&format!("elevate sh -c 'stty raw -echo; {}; exec sleep 1000'; echo st''atus $?", noting(desk)));
            let (_, command) = pids(desk);
            kill(signal, &command);
            desk.sees(&format!("status {status}"));
            desk.is_as_before();
        }
    });
}

#[test]
fn a_shell_in_a_shell_has_its_own_jobs() {
    at_both(|desk| {
        desk.types("elevate bash --norc --noprofile");
        desk.sees("# ");
        desk.types("PS1='in''ner> '; bind 'set enable-bracketed-paste off'; sleep 1000");
        std::thread::sleep(Duration::from_millis(300));
        desk.presses(b'Z');
        desk.sees("Stopped");
        desk.sees("inner> ");
        desk.types("bg; kill %1; wait; echo jobs w''ork");
        desk.sees("jobs work");
        desk.types("sleep 1000");
        std::thread::sleep(Duration::from_millis(200));
        desk.presses(b'C');
        desk.sees("inner> ");
        desk.types("suspend -f");
        desk.sees("Stopped");
        desk.sees(">> ");
        desk.is_as_before();
        desk.fetches_the_job("bash");
        desk.types("");
        desk.sees("inner> ");
        desk.types("exit 9");
        desk.sees(">> ");
        desk.types("echo st''atus $?");
        desk.sees("status 9");
        desk.is_as_before();
    });
}

#[test]
fn vim_edits_is_suspended_and_resized() {
    at_both(|desk| {
        let file = desk.note("text");
        desk.types(&format!("elevate vim -u NONE -N {file}"));
        desk.sees("text\"");
        desk.session.type_text("ihello");
        desk.session.type_text("\x1b");
        desk.session.type_text(":s/hello/good bye/\r");
        desk.sees("good bye");
        desk.presses(b'Z');
        desk.sees("Stopped");
        desk.sees(">> ");
        desk.is_as_before();
        desk.session.resize(30, 120);
        desk.fetches_the_job("vim");
        desk.sees("good bye");
        desk.session.type_text(":set lines?\r");
        desk.sees("lines=30");
        desk.session.type_text(":wq\r");
        desk.sees(">> ");
        desk.session.resize(24, 250);
        desk.is_as_before();
        assert_eq!(root().read(&file), "good bye\n");
    });
}

#[test]
fn less_reads_its_keys_from_the_terminal_and_its_text_from_a_pipe() {
    at_both(|desk| {
        desk.types("seq 1000 | elevate less; echo st''atus $?");
        desk.sees("\n20\r");
        desk.session.type_text("G");
        desk.sees("1000");
        desk.session.type_text("q");
        desk.sees("status 0");
        desk.is_as_before();
        desk.types("elevate seq 1000 | less; echo st''atus $?");
        desk.sees("\n20\r");
        desk.session.type_text("q");
        desk.sees("status 0");
        desk.is_as_before();
    });
}

#[test]
fn top_draws_obeys_and_leaves() {
    at_both(|desk| {
        desk.types("elevate top -d 0.3; echo st''atus $?");
        desk.sees("load average");
        desk.session.resize(40, 200);
        desk.sees("load average");
        desk.session.type_text("q");
        desk.sees("status 0");
        desk.session.resize(24, 250);
        desk.is_as_before();
    });
}

#[test]
fn a_window_that_changed_while_the_job_was_stopped_arrives_with_fg() {
    at_both(|desk| {
        desk.types("elevate sh -c 'echo up; read line; stty size'");
        desk.sees("\nup");
        desk.stops_the_job();
        desk.session.resize(31, 131);
        desk.fetches_the_job("stty size");
        desk.types("");
        desk.sees("31 131");
    });
}

#[test]
fn two_hundred_megabytes_pass_both_ways() {
    at_both(|desk| {
        desk.types("elevate head -c 200000000 /dev/zero | wc -c");
        desk.sees("\n200000000");
        desk.types("head -c 200000000 /dev/zero | elevate wc -c");
        desk.sees("\n200000000");
        desk.is_as_before();
    });
}

#[test]
fn ten_megabytes_on_the_terminal_arrive_whole() {
    at_both(|desk| {
        let file = desk.note("shown");
        desk.types(&format!(
            "script -qc \"$S seq 1400000\" {file} >/dev/null; grep -c '^[0-9]' {file}; md5sum <{file}"
        ));
        desk.sees("\n1400000");
    });
}

#[test]
fn control_c_ends_a_pipeline_with_jit_sudo() {
    at_both(|desk| {
        let up = desk.note("up");
        desk.types(&format!(
            "elevate sh -c 'until test -e {up}; do sleep 0.02; done; exec cat' | elevate sh -c 'touch {up}; echo re''ady; exec cat'"
        ));
        desk.sees("ready");
        desk.types("through");
        desk.sees("through\r\nthrough\r\n");
        desk.presses(b'C');
        desk.sees(">> ");
        desk.is_as_before();
    });
}

#[test]
fn lines_of_other_writers_to_the_terminal_begin_in_the_first_column() {
    // With Debian's sudo they begin below the end of the line before.
    let raw = "until stty -a </dev/tty | grep -q -- -icanon; do sleep 0.02; done";
    for writer in [
        "printf 'one\\ntwo\\n'",
        "jit-sudo -n printf 'one\\ntwo\\n'",
        "jit-sudo -n sh -c \"printf 'one\\ntwo\\n' >/dev/tty\"",
    ] {
        let person = root().person(&["deploy"]);
        let mut session = root().pty_as(&person.name, ["bash", "--norc", "--noprofile"]);
        session.resize(24, 250);
        session.type_line("before=$(stty -g); PS1='>'\"> \"; bind 'set enable-bracketed-paste off'");
        session.expect(">> ");
        session.type_line(&format!("jit-sudo -n sh -c 'echo err >&2; cat' | {{ {raw}; {writer}; cat; }}"));
        session.expect("err\r\n");
        session.expect("one\r\ntwo\r\n");
        session.type_line("through");
        session.expect("through\r\nthrough\r\n");
        session.type_text([b'D' & 0x1f]);
        session.expect(">> ");
        session.type_line("[ \"$(stty -g)\" = \"$before\" ] && echo as before");
        session.expect("\nas before");
    }
}

#[test]
fn an_end_at_the_prompt_gives_the_terminal_back() {
    for program in ["sudo", "jit-sudo"] {
        for key in [b'C', b'\\'] {
            let person = root().person(&["trusted"]);
            let mut session = root().pty_as(&person.name, ["bash", "--norc", "--noprofile"]);
            session.type_line("before=$(stty -g); ulimit -c 0; PS1='>'\"> \"; bind 'set enable-bracketed-paste off'");
            session.expect(">> ");
            session.type_line(&format!("{program} -p 'pass''word: ' true"));
            session.expect("password: ");
            eventually("no echo", harness::PATIENCE, || (!session.echoes()).then_some(()));
            // sudo loses a key that is pressed before it reads.
            std::thread::sleep(Duration::from_millis(300));
            session.type_text([key & 0x1f]);
            session.expect(">> ");
            session.type_line("[ \"$(stty -g)\" = \"$before\" ] && echo as before");
            session.expect("\nas before");
        }
    }
}

#[test]
fn a_terminal_that_disappears_ends_the_command() {
    at_each_hang_up(&["sudo", "jit-sudo"], "exec sleep 1000", true);
}

#[test]
fn a_terminal_that_disappears_ends_a_stopped_command() {
    // sudo leaves it stopped forever.
    at_each_hang_up(&["jit-sudo"], "kill -STOP $$; exec sleep 1000", true);
}

#[test]
fn a_command_that_ignores_the_hang_up_goes_on_without_a_terminal() {
    let script = "trap \"\" HUP; for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done; echo survived >$1";
    at_each_hang_up(&["sudo", "jit-sudo"], script, false);
}

/// Runs a script on a terminal of its own and closes the terminal.
fn at_each_hang_up(programs: &[&str], script: &str, ends: bool) {
    for program in programs {
        let person = root().person(&["deploy"]);
        let [pid, survived] = ["pid", "survived"].map(|what| format!("/tmp/{}.{what}", person.name));
        let script = format!("echo $$ >{pid}; {script}");
        let session = root().pty_as(&person.name, [program, "-n", "sh", "-c", &script, "sh", &survived]);
        let pid = eventually("the command runs", harness::PATIENCE, || {
            std::fs::read_to_string(root().path(&pid)).ok().filter(|text| text.ends_with('\n'))
        });
        std::thread::sleep(Duration::from_millis(200));
        session.hang_up();
        becomes(pid.trim(), "");
        assert_eq!(root().path(&survived).exists(), !ends, "{program}: {script}");
    }
}
