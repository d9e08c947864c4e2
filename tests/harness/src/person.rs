//! Users of the private root. Knows the account database of the root and nothing of the product.

use crate::root::PrivateRoot;

/// Creates an account in the root's own files.
const ACCOUNT: &str = include_str!("person.pl");

/// A user with an account in the root.
#[derive(Debug, Clone)]
pub struct Person {
    /// The account's name.
    pub name: String,
    /// The account's password.
    pub password: String,
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// The home directory.
    pub home: String,
}

impl Person {
    /// The superuser, who has no password.
    pub fn root() -> Person {
        Person { name: "root".into(), password: String::new(), uid: 0, gid: 0, home: "/root".into() }
    }
}

/// Looks up an account in the root's own files.
pub(crate) fn find(root: &PrivateRoot, name: &str) -> Person {
    let passwd = root.read("/etc/passwd");
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() == 7 && fields[0] == name)
        .unwrap_or_else(|| panic!("the private root has no user '{name}'"));
    Person {
        name: name.to_owned(),
        password: format!("{name}-password"),
        uid: fields[2].parse().unwrap_or_else(|_| panic!("the uid of '{name}' is no number")),
        gid: fields[3].parse().unwrap_or_else(|_| panic!("the gid of '{name}' is no number")),
        home: fields[5].to_owned(),
    }
}

/// Creates an account. The caller holds the lock that keeps useradd from running concurrently.
pub(crate) fn make(root: &PrivateRoot, name: &str, groups: &[&str]) -> Person {
    let script = "name=$1 && shift && perl -e \"$0\" \"$name\" \"$@\" && \
                  cp --recursive --no-target-directory --preserve=timestamps /etc/skel \"/home/$name\" && \
                  chown --recursive \"$name:\" \"/home/$name\"";
    let words = [&["sh", "-euc", script, ACCOUNT, name][..], groups].concat();
    let output = crate::run::Run::new(root, Person::root(), words).run();
    assert!(output.status.success(), "the user '{name}' cannot be made: {output:?}");
    find(root, name)
}
