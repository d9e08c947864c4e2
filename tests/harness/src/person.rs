//! Users of the private root. Knows the account database of the root and nothing of the product.

use crate::root::PrivateRoot;

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
    let mut script = String::new();
    for group in groups {
        script.push_str(&format!("getent group {group} >/dev/null || groupadd {group}\n"));
    }
    let list = if groups.is_empty() { String::new() } else { format!("--groups {}", groups.join(",")) };
    script.push_str(&format!("useradd --create-home --shell /bin/bash {list} {name}\n"));
    script.push_str(&format!("echo '{name}:{name}-password' | chpasswd --crypt-method SHA256 --sha-rounds 1000\n"));
    let output = crate::run::Run::new(root, Person::root(), ["sh", "-euc", &script]).run();
    assert!(output.status.success(), "the user '{name}' cannot be made: {output:?}");
    find(root, name)
}
