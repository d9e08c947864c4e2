//! smoke
use harness::PrivateRoot;

#[test]
fn smoke() {
    let root = PrivateRoot::shared();
    let person = root.person(&["ops"]);
    assert_eq!(root.run_as(&person.name, ["id", "-un"]).succeeded(), person.name);
    let mut pty = root.pty_as(
        "bob",
        [
            "bash",
            "-c",
            "tty; stty -echo; read -p 'name: ' x; stty echo; echo \"<$x>\"; ps -o sid,tty,comm; kill -TERM $$",
        ],
    );
    pty.type_password("name:", "hello");
    pty.expect("<hello>");
    assert_eq!(pty.wait().signal(), Some(15));
    println!("{}", pty.screen());
    println!("{:?}", root.command("alice", ["sh", "-c", "cat; cat /proc/self/cgroup; tty; id"]).stdin("xx\n").run());
}
