# No process outlives a grant where logind ends sessions: neither by the acts of a user with a narrow role, nor by those of root
# in random scenes, which are those of tests/installed/trials.rs and a few more.
#
#   TRIALS=60 SEED=…     how many scenes, and which: the same number with the same seed is the same scene
#   ONLY="7 12"          only these
#   LANES=3              how many at once

# Where each trial keeps its scripts and results.
trials=/var/tmp/trials

outlive() {
    people
    narrow
    at_random
}

# Every user has a key, and no limit of requests.
people() {
    local person
    cat >"$root/etc/jit-sudo/policy.d/trials.toml" <<'POLICY'
[defaults]
request_rate = 10000

[roles.narrow]
eligible     = ["%narrow"]
commands     = ["/usr/bin/tail -f /etc/hostname"]
authenticate = false

[roles.trial]
eligible     = ["%trial"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false

[roles.inner]
standing     = ["#0", "inner"]
commands     = ["ALL"]
authenticate = false
POLICY
    holds "the policy of the trials is good" there jitctl policy check
    there sh -c "groupadd narrow; groupadd trial; mkdir -p $trials; ssh-keygen -q -t ed25519 -N '' -f /root/id"
    add_person inner users
    add_person carol narrow
    for person in $(seq 0 11); do
        add_person "trial$person" trial
    done
}

add_person() {
    there useradd --create-home --shell /bin/bash --groups "$2" "$1"
    there sh -c "install -d -m 700 -o $1 /home/$1/.ssh && install -o $1 -m 600 /root/id.pub /home/$1/.ssh/authorized_keys"
}

# in_session PERSON LINE [OPTION]: runs the line in a new session; repeats until logind has created one, which it does not while
# an earlier one is being closed.
in_session() {
    local status tries
    for tries in $(seq 20); do
        status=0
        there timeout 60 ssh -q "${3--T}" -i /root/id -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
            "$1@127.0.0.1" "[ -n \"\$XDG_SESSION_ID\" ] || exit 99; $2" </dev/null 2>/dev/null || status=$?
        [ "$status" = 99 ] || return 0
        sleep 0.3
    done
    fail "logind gives $1 no session"
}

# grant_of PERSON ROLE DURATION: requests and approves a grant; prints its id.
grant_of() {
    as "$1" jitctl --json request --role "$2" --for "$3" --reason trial | sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | head -n 1
}

# The only command that carol may run.
followed="tail -f /etc/hostname"

follows() {
    there pgrep -fx "(/usr/bin/)?$followed" >/dev/null
}

# Carol makes logind end her supervisor, in every way that she can, with and without a terminal: as soon as it starts, when its
# enforcer starts, and later. Her command continues and ends with its grant, or is ended at once.
narrow() {
    local way terminal moment
    for way in kill_session terminate_session terminate_user logout; do
        [ $way != logout ] || kill_user_processes yes
        for terminal in without with; do
            for moment in 0 0.05 1; do
                narrowly $way $terminal $moment
            done
        done
        say "$way: nobody outlives a grant"
    done
    kill_user_processes no
}

kill_user_processes() {
    there mkdir -p /etc/systemd/logind.conf.d
    there sh -c "printf '[Login]\nKillUserProcesses=$1\n' >/etc/systemd/logind.conf.d/trials.conf"
    holds "logind has KillUserProcesses=$1" there systemctl restart systemd-logind
}

# narrowly WAY TERMINAL MOMENT
narrowly() {
    local what="$1, $2 a terminal, after $3 s" grant run end
    grant=$(grant_of carol narrow 3s)
    end=$(($(milliseconds) + 3000))
    run="jit-sudo -n $followed"
    [ "$2" = without ] || run="script -qec '$run' /dev/null"
    in_session carol "setsid -f $run </dev/null >/dev/null 2>&1; sleep $3; $(by_logind "$1")"
    [ "$(milliseconds)" -lt "$end" ] || fail "$what: it takes too long to be tried"
    # A caller of jitctl closes lost runs and ends their processes: for the first two there is none before the grant has ended.
    [ "$3" != 1 ] || is_listed_truly || fail "$what: what is listed is not what runs: $(there jitctl session list)"
    sleep_until $((end + 1000))
    ! follows || fail "$what: it outlives its grant"
    ended_truly "$what" "$3" "$grant"
}

is_listed_truly() {
    local tries
    # It may be ending at this moment.
    for tries in 1 2 3; do
        [ "$(follows && echo yes)" != "$(there jitctl --json session list | grep -qF /etc/hostname && echo yes)" ] || return 0
        sleep 0.2
    done
    return 1
}

milliseconds() {
    echo $(($(date +%s%N) / 1000000))
}

sleep_until() {
    local left=$(($1 - $(milliseconds)))
    [ "$left" -le 0 ] || sleep "$(printf '%d.%03d' $((left / 1000)) $((left % 1000)))"
}

by_logind() {
    case $1 in
    kill_session) echo 'loginctl kill-session $XDG_SESSION_ID --signal=KILL' ;;
    terminate_session) echo 'loginctl terminate-session $XDG_SESSION_ID' ;;
    terminate_user) echo 'loginctl terminate-user $(id -un)' ;;
    logout) echo : ;;
    esac
}

# ended_truly WHAT MOMENT GRANT: no run is listed, and the journal has the end. In its first moments a run may not have started,
# or lose its supervisor.
ended_truly() {
    local ends
    ends=$(records "$3")
    case $2:$ends in
    *:"start end:expiry" | *:"start end:itself" | 0*: | 0*:"start end:lost") ;;
    *) fail "$1: the journal says '$ends'" ;;
    esac
    [ "$(there jitctl --json session list)" = '{"sessions":[]}' ] || fail "$1: $(there jitctl session list)"
}

# records GRANT: prints the records of the runs under it, in order. Reading them has closed lost runs.
records() {
    { there jitctl --json session list && there jitctl --json audit list --limit 60; } | tail -n 1 | python3 -c '
import json, sys
kinds = ("start", "end", "left-running", "left-ended")
bodies = [json.loads(record["body"]) for record in json.load(sys.stdin)["records"]["records"]]
bodies = [body for body in bodies if body.get("grant") == sys.argv[1] and body["kind"] in kinds]
bodies.sort(key=lambda body: body["seq"])
print(*[":".join(filter(None, (body["kind"], body.get("ended_by")))) for body in bodies])' "$1"
}

# The scenes and ways of these trials besides those of tests/installed/trials.
scenes() {
    cat tests/installed/trials/scenes
    printf '%s\t%s\n' \
        "double fork" "(setsid sh -c 'sleep NAP & sleep NAP' &); sleep 0.1" \
        "left behind by a session of su" "su - INNER -c 'setsid -f sleep NAP'" \
        "supervisor killed beside a session of su" "su - INNER -c 'setsid -f sleep NAP; sleep NAP' & sleep 0.3; kill -9 \$PPID; wait" \
        "supervisor killed inside of a run" "jit-sudo -n sh -c 'setsid -f sleep NAP; sleep 0.1; kill -9 \$PPID; sleep NAP'"
}

ways() {
    cat tests/installed/trials/ways
    printf '%s\t%s\n' "terminal of the session" "jit-sudo -n sh -c COMMAND"
}

at_random() {
    local seed=${SEED-$(date +%s)} total=${TRIALS-60} lanes=${LANES-3} lane number jobs=() begun=$SECONDS
    say "$total trials of seed $seed"
    mapfile -t scenes < <(scenes)
    mapfile -t ways < <(ways)
    for lane in $(seq "$lanes"); do
        for number in $(numbers | sed -n "$lane~${lanes}p"); do
            trial "$number"
        done >"$base/lane.$lane" &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    sort -n "$base"/lane.* >"$base/trials"
    [ "$(wc -l <"$base/trials")" = "$(numbers | wc -l)" ] || fail "not every trial came to its end"
    ! grep -v $'\t0$' "$base/trials" >&2 || fail "somebody outlives a grant, of seed $seed"
    prints "nothing is open any more" '{"sessions":[]}' there jitctl --json session list
    there jitctl --json audit list --limit 10000 >"$base/records"
    holds "the journal says how each of them ended" true_ends
    holds "and is intact" there sh -c 'jitctl audit verify || [ $? -eq 5 ]'
    say "$total trials of seed $seed: 0 survivors, the slowest end $(cut -f 8 "$base/trials" | sort -n | tail -n 1) ms, in $((SECONDS - begun)) s"
}

numbers() {
    tr ' ' '\n' <<<"${ONLY-$(seq "$total")}"
}

# draw WORD…: prints one of them.
draw() {
    local words=("$@")
    drawn=${words[RANDOM % $#]}
}

# trial NUMBER: prints the trial, and how many processes were left.
trial() {
    local person=trial$(($1 % 12)) nap=$((3000000 + $1)) scene way end loss moment grant asked span=10m drawn
    RANDOM=$((seed * 1009 + $1))
    draw first && draw "${scenes[@]}" && scene=$drawn
    draw "${ways[@]}" && way=$drawn
    draw revocation expiry kill release && end=$drawn
    draw nobody nobody kill_session terminate_session terminate_user logout && loss=$drawn
    draw 0 0.03 0.1 0.3 1 && moment=$drawn
    # Processes that su leaves behind before the run has an enforcer are unknown after the supervisor is killed (SECURITY.md).
    [[ $scene != *"session of su"* ]] || moment=0.3
    [ $end != expiry ] || span=4s
    prepare "$nap" "${scene#*$'\t'}" "${way#*$'\t'}"
    grant=$(grant_of "$person" trial $span)
    asked=$(milliseconds)
    begin "$person" "$nap" "${way%%$'\t'*}" "$loss" "$moment" >/dev/null 2>&1 &
    begins "$nap" "$grant"
    sleep "0.$((RANDOM % 5))"
    end_it $end "$person" "$grant" $((asked + 4000)) >"$base/said.$1" 2>&1
    printf '%s\t' "$1" "${scene%%$'\t'*}" "${way%%$'\t'*}" "$loss" "$moment" "$end" "$grant"
    left "$nap" "$grant"
    # The next trial of this user has a grant of its own.
    there jitctl revoke "$grant" --reason over >/dev/null 2>&1 || true
    there pkill -KILL -fx "sleep $nap" || true
}

# prepare NAP SCENE WAY: writes what root does, and how it is started.
prepare() {
    local file=$trials/$1 scene=${2//NAP/$1}
    echo "${scene//INNER/inner}" >"$root$file.scene"
    echo "${3//COMMAND/"'. $file.scene'"}" >"$root$file.way"
}

# begin PERSON NAP WAY LOSS MOMENT: starts it in a session of logind, which may be lost a while later.
begin() {
    local line="sh $trials/$2.way" terminal=-T
    [ "$3" != "terminal of the session" ] || terminal=-tt
    [ "$4" = nobody ] || line="$line & sleep $5; $(by_logind "$4")"
    in_session "$1" "$line" $terminal
}

# begins NAP GRANT: waits until a process sleeps, or the run has ended already.
begins() {
    local tries
    for tries in $(seq 100); do
        [ "$(sleepers "$1")" = 0 ] || return 0
        [ $((tries % 20)) != 0 ] || [[ $(records "$2") != *end* ]] || return 0
        sleep 0.03
    done
    [ -n "$(records "$2")" ] || say "$1 never began" >&2
}

sleepers() {
    there pgrep -fxc "sleep $1" || true
}

# end_it HOW PERSON GRANT EXPIRY: ends the grant, which may have ended by itself meanwhile.
end_it() {
    local run
    case $1 in
    revocation) there jitctl revoke "$3" --reason trial ;;
    release) as "$2" jitctl release "$3" ;;
    expiry) sleep_until "$4" ;;
    kill)
        for run in $(runs_of "$3"); do
            there jitctl session kill "$run" --reason trial
        done
        ;;
    esac || true
}

runs_of() {
    there jitctl --json session list | python3 -c '
import json, sys
print(*[session["run"] for session in json.load(sys.stdin)["sessions"] if session.get("grant") == sys.argv[1]])' "$1"
}

# left NAP: prints how many of them still sleep later, and after how many milliseconds none did.
left() {
    local begun count
    begun=$(milliseconds)
    while count=$(sleepers "$1") && [ "$count" != 0 ] && [ $(($(milliseconds) - begun)) -lt 1500 ]; do
        sleep 0.03
    done
    printf '%s\t%s\n' $(($(milliseconds) - begun)) "$count"
    [ "$count" = 0 ] || { tail -n 5 "$base/said.$(($1 - 3000000))" >&2; records "$2" >&2; date +%s.%N >&2; }
    [ "$count" = 0 ] || there ps -eo pid,ppid,sid,stat,lstart,cgroup:80,args --sort pid | grep -E "jit-sudo|sleep $1" >&2
}

# Each start has one end: by what has ended the grant, by itself, or lost if a supervisor may have been killed.
true_ends() {
    python3 - "$base/trials" "$base/records" <<'PYTHON'
import collections, json, sys
records = collections.defaultdict(list)
for record in json.load(open(sys.argv[2]))["records"]["records"]:
    body = json.loads(record["body"])
    if body["kind"] in ("start", "end", "left-running", "left-ended"):
        records[body.get("grant")].append(body)
for line in open(sys.argv[1]):
    number, scene, way, loss, moment, end, grant, took, left = line.rstrip("\n").split("\t")
    may = {"itself", end} | ({"lost"} if loss != "nobody" or "supervisor killed" in scene else set())
    kinds = collections.Counter(body["kind"] for body in records[grant])
    said = [body["ended_by"] for body in records[grant] if "ended_by" in body]
    assert kinds["start"] == kinds["end"] and kinds["left-running"] == kinds["left-ended"], (line, kinds)
    assert set(said) <= may, (line, said)
    print(number, scene, way, loss, moment, end, f"{took} ms", *said, sep=", ")
PYTHON
}
