//! The grammar of sudoers(5) (`plugins/sudoers/gram.y`). A line that is wrong is told and left out, as sudo does it, and
//! the rest counts.

use std::collections::hash_map::Entry;
use std::mem;
use std::rc::Rc;

use super::lexer::{DefaultsFor, Lexer, Token};
use super::tree::{
    Command, CommandSpec, Default, Kind, Member, Opt, Place, Privilege, RunAs, Say, Scope, Sudoers, Tag, UserSpec,
    Value, What,
};

/// What a file makes its reader do.
#[derive(Debug)]
pub(super) enum Event {
    /// `@include`
    Include(String, Place),
    /// `@includedir`
    IncludeDirectory(String, Place),
    /// A line, or a part of one, that is left out, and why.
    Wrong(String, Place),
}

/// Reads one file; stops at each [`Event`], so that what is included stands where it is included.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    line: usize,
    file: Rc<str>,
}

/// Why a line is wrong.
type Wrong = String;

impl<'a> Parser<'a> {
    pub(super) fn new(file: Rc<str>, text: &'a str) -> Self {
        let mut parser = Self { lexer: Lexer::new(text), token: Token::End, line: 1, file };
        parser.advance();
        parser
    }

    /// Reads on until something has to be done or said; `None` at the end of the file.
    pub(super) fn next_event(&mut self, sudoers: &mut Sudoers) -> Option<Event> {
        loop {
            let place = self.place();
            match self.entry(sudoers) {
                Ok(Step::Done) => {}
                Ok(Step::End) => return None,
                Ok(Step::Tell(event)) => return Some(event),
                Err(why) => {
                    self.skip_line();
                    return Some(Event::Wrong(why, place));
                }
            }
        }
    }

    fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line }
    }

    fn advance(&mut self) -> Token {
        // Blanks and escaped line breaks before a token belong to it.
        let next = self.lexer.next();
        self.line = self.lexer.line() - usize::from(next == Token::Newline && self.lexer.line() > 1);
        mem::replace(&mut self.token, next)
    }

    fn skip_line(&mut self) {
        while !matches!(self.token, Token::Newline | Token::End) {
            self.advance();
        }
        self.advance();
    }

    fn eat(&mut self, token: &Token) -> bool {
        let same = self.token == *token;
        if same {
            self.advance();
        }
        same
    }

    fn expect(&mut self, token: &Token, what: &str) -> Result<(), Wrong> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn unexpected(&self, wanted: &str) -> Wrong {
        match &self.token {
            Token::Wrong(why) => format!("{why}, where {wanted} is wanted"),
            Token::Newline | Token::End => format!("the line ends where {wanted} is wanted"),
            token => format!("{} where {wanted} is wanted", shown(token)),
        }
    }

    fn line_end(&mut self) -> Result<(), Wrong> {
        if self.token == Token::End { Ok(()) } else { self.expect(&Token::Newline, "the end of the line") }
    }

    fn entry(&mut self, sudoers: &mut Sudoers) -> Result<Step, Wrong> {
        let place = self.place();
        match self.token.clone() {
            Token::End => return Ok(Step::End),
            Token::Newline => {
                self.advance();
            }
            token @ (Token::Include | Token::IncludeDirectory) => {
                self.advance();
                let Token::Word(path) = self.token.clone() else { return Err(self.unexpected("a path")) };
                // Taken before the line ends: what is included comes next.
                self.advance();
                self.skip_line();
                return Ok(Step::Tell(match token {
                    Token::Include => Event::Include(path, place),
                    _ => Event::IncludeDirectory(path, place),
                }));
            }
            Token::AliasKind(kind) => {
                self.advance();
                self.aliases(kind, sudoers)?;
                self.line_end()?;
            }
            Token::Defaults(scope) => {
                self.advance();
                self.defaults(scope, &place, sudoers)?;
            }
            _ => return self.user_spec(place, sudoers),
        }
        Ok(Step::Done)
    }

    fn aliases(&mut self, kind: Kind, sudoers: &mut Sudoers) -> Result<(), Wrong> {
        loop {
            let Token::Alias(name) = self.token.clone() else { return Err(self.unexpected("the name of an alias")) };
            self.advance();
            self.expect(&Token::Equals, "'='")?;
            let members = match kind {
                Kind::User | Kind::Runas => self.list(Self::user)?,
                Kind::Host => self.list(Self::host)?,
                Kind::Command => self.list(Self::command)?,
            };
            match sudoers.aliases.entry((kind, name)) {
                Entry::Occupied(known) => return Err(format!("alias {} is defined twice", known.key().1)),
                Entry::Vacant(free) => free.insert(members),
            };
            if !self.eat(&Token::Colon) {
                return Ok(());
            }
        }
    }

    fn defaults(&mut self, scope: Option<DefaultsFor>, place: &Place, sudoers: &mut Sudoers) -> Result<(), Wrong> {
        let scope = match scope {
            None => Scope::Everywhere,
            Some(DefaultsFor::Users) => Scope::Users(self.list(Self::user)?),
            Some(DefaultsFor::Hosts) => Scope::Hosts(self.list(Self::host)?),
            Some(DefaultsFor::RunAs) => Scope::RunAs(self.list(Self::user)?),
            Some(DefaultsFor::Commands) => Scope::Commands(self.list(Self::command)?),
        };
        let mut settings = Vec::new();
        loop {
            let off = self.eat(&Token::Not);
            let Token::Variable(name) = self.token.clone() else { return Err(self.unexpected("a setting")) };
            self.advance();
            let value = match (&self.token, off) {
                (Token::Equals | Token::Add | Token::Remove, false) => {
                    let sign = self.advance();
                    let Token::Word(text) = self.token.clone() else { return Err(self.unexpected("a value")) };
                    self.advance();
                    match sign {
                        Token::Add => Value::Add(text),
                        Token::Remove => Value::Remove(text),
                        _ => Value::Set(text),
                    }
                }
                (_, true) => Value::Off,
                (_, false) => Value::On,
            };
            settings.push(Default { scope: scope.clone(), name, value, place: place.clone() });
            if !self.eat(&Token::Comma) {
                break;
            }
        }
        self.line_end()?;
        sudoers.defaults.append(&mut settings);
        Ok(())
    }

    fn user_spec(&mut self, place: Place, sudoers: &mut Sudoers) -> Result<Step, Wrong> {
        let users = self.list(Self::user)?;
        let mut privileges = vec![self.privilege()?];
        let mut wrong = None;
        while self.eat(&Token::Colon) {
            match self.privilege() {
                Ok(privilege) => privileges.push(privilege),
                Err(why) => {
                    // What stood before it counts, and what comes after the next colon.
                    wrong = wrong.or(Some((why, self.place())));
                    while !matches!(self.token, Token::Colon | Token::Newline | Token::End) {
                        self.advance();
                    }
                }
            }
        }
        self.line_end()?;
        sudoers.specs.push(UserSpec { users, privileges, place });
        Ok(wrong.map_or(Step::Done, |(why, place)| Step::Tell(Event::Wrong(why, place))))
    }

    fn privilege(&mut self) -> Result<Privilege, Wrong> {
        let hosts = self.list(Self::host)?;
        self.expect(&Token::Equals, "'='")?;
        let mut commands: Vec<CommandSpec> = Vec::new();
        loop {
            let spec = self.command_spec(commands.last())?;
            commands.push(spec);
            if !self.eat(&Token::Comma) {
                return Ok(Privilege { hosts, commands });
            }
        }
    }

    fn command_spec(&mut self, before: Option<&CommandSpec>) -> Result<CommandSpec, Wrong> {
        let place = self.place();
        let run_as = if self.eat(&Token::Open) { Some(self.run_as()?) } else { None };
        let mut options: Vec<(Opt, String)> = Vec::new();
        while let Token::Opt(option) = self.token {
            self.advance();
            self.expect(&Token::Equals, "'='")?;
            let Token::Word(value) = self.token.clone() else { return Err(self.unexpected("a value")) };
            self.advance();
            options.retain(|(known, _)| *known != option);
            options.push((option, value));
        }
        let mut tags: Vec<(Tag, Say)> = Vec::new();
        while let Token::Tag(tag, say) = self.token {
            self.advance();
            tags.retain(|(known, _)| *known != tag);
            tags.push((tag, say));
        }
        let command = self.command()?;
        let mut spec = CommandSpec { run_as, options, tags, command, place };
        if let Some(before) = before {
            inherit(&mut spec, before);
        }
        Ok(spec)
    }

    fn run_as(&mut self) -> Result<RunAs, Wrong> {
        let myself = || Some(vec![Member { negated: false, what: What::Myself }]);
        let users = match self.token {
            Token::Close | Token::Colon => None,
            _ => Some(self.list(Self::user)?),
        };
        let colon = self.eat(&Token::Colon);
        let groups = if colon && self.token != Token::Close { Some(self.list(Self::group)?) } else { None };
        self.expect(&Token::Close, "')'")?;
        let users = if groups.is_none() { users.or_else(myself) } else { users };
        Ok(RunAs { users, groups })
    }

    fn list(&mut self, one: impl Fn(&mut Self) -> Result<Member, Wrong>) -> Result<Vec<Member>, Wrong> {
        let mut members = vec![one(self)?];
        while self.token == Token::Comma {
            self.advance();
            members.push(one(self)?);
        }
        Ok(members)
    }

    fn named(&mut self, wanted: &str, what: impl Fn(Token) -> Option<What>) -> Result<Member, Wrong> {
        let negated = self.eat(&Token::Not);
        match what(self.token.clone()) {
            Some(what) => {
                self.advance();
                Ok(Member { negated, what })
            }
            None => Err(self.unexpected(wanted)),
        }
    }

    fn user(&mut self) -> Result<Member, Wrong> {
        self.named("a user", |token| match token {
            Token::Alias(name) => Some(What::Alias(name)),
            Token::All => Some(What::All(Vec::new())),
            Token::Netgroup(name) => Some(What::Netgroup(name)),
            Token::Group(name) => Some(What::Group(name)),
            Token::Word(name) => Some(What::Word(name)),
            _ => None,
        })
    }

    fn group(&mut self) -> Result<Member, Wrong> {
        self.named("a group", |token| match token {
            Token::Alias(name) => Some(What::Alias(name)),
            Token::All => Some(What::All(Vec::new())),
            Token::Word(name) => Some(What::Word(name)),
            _ => None,
        })
    }

    fn host(&mut self) -> Result<Member, Wrong> {
        self.named("a host", |token| match token {
            Token::Alias(name) => Some(What::Alias(name)),
            Token::All => Some(What::All(Vec::new())),
            Token::Netgroup(name) => Some(What::Netgroup(name)),
            Token::Network(address) => Some(What::Network(address)),
            Token::Word(name) => Some(What::Word(name)),
            _ => None,
        })
    }

    fn command(&mut self) -> Result<Member, Wrong> {
        let mut digests = Vec::new();
        while let Token::Algorithm(sha) = self.token {
            self.advance();
            self.expect(&Token::Colon, "':'")?;
            let Token::Digest(digits) = self.token.clone() else { return Err(self.unexpected("a digest")) };
            self.advance();
            digests.push(format!("{}:{digits}", sha.0));
            if !self.eat(&Token::Comma) {
                break;
            }
            if !matches!(self.token, Token::Algorithm(_)) {
                return Err(self.unexpected("another digest"));
            }
        }
        let negated = self.eat(&Token::Not);
        let what = match self.token.clone() {
            Token::All => What::All(digests),
            Token::Command(path, args, blanks) => What::Command(Command { path, args, blanks, digests }),
            Token::Alias(name) if digests.is_empty() => What::Alias(name),
            Token::Alias(_) => return Err("a digest goes with a path or ALL, not with an alias".to_owned()),
            Token::Word(word) if word == "list" => {
                What::Command(Command { path: word, args: None, blanks: false, digests })
            }
            Token::Word(_) => return Err(format!("{} is not a command with its whole path", shown(&self.token))),
            _ => return Err(self.unexpected("a command")),
        };
        self.advance();
        Ok(Member { negated, what })
    }
}

enum Step {
    Done,
    End,
    Tell(Event),
}

/// Lists, options and tags hold for the commands after them too; SETENV not where ALL alone implied it.
fn inherit(spec: &mut CommandSpec, before: &CommandSpec) {
    for (option, value) in &before.options {
        // SELinux role and type are passed on together.
        let own = |known: &Opt| match option {
            Opt::Role | Opt::Type => matches!(known, Opt::Role | Opt::Type),
            _ => known == option,
        };
        if !spec.options.iter().any(|(known, _)| own(known)) {
            spec.options.push((*option, value.clone()));
        }
    }
    for (tag, say) in &before.tags {
        let implied = *tag == Tag::Setenv && allows_all(spec);
        if !implied && !spec.tags.iter().any(|(known, _)| known == tag) {
            spec.tags.push((*tag, *say));
        }
    }
    if spec.run_as.is_none() {
        spec.run_as.clone_from(&before.run_as);
    }
}

/// Whether SETENV is implied: ALL without `!`.
pub(super) fn allows_all(spec: &CommandSpec) -> bool {
    !spec.command.negated && matches!(spec.command.what, What::All(_))
}

fn shown(token: &Token) -> String {
    let sign = match token {
        Token::Comma => "','",
        Token::Equals => "'='",
        Token::Colon => "':'",
        Token::Not => "'!'",
        Token::Open => "'('",
        Token::Close => "')'",
        Token::Add => "'+='",
        Token::Remove => "'-='",
        Token::All => "ALL",
        Token::Alias(name)
        | Token::Word(name)
        | Token::Netgroup(name)
        | Token::Group(name)
        | Token::Network(name)
        | Token::Variable(name)
        | Token::Digest(name)
        | Token::Command(name, ..) => {
            let short: String = name.chars().take(60).collect();
            return format!("'{}'", jit_sudo::escape::escape(short.as_bytes()));
        }
        Token::Algorithm(sha) => sha.0,
        Token::Opt(option) => option.name(),
        Token::Tag(..) => "a tag",
        Token::Defaults(_) => "Defaults",
        Token::AliasKind(_) => "the begin of an alias",
        Token::Include | Token::IncludeDirectory => "an include",
        Token::Newline | Token::End => "the end of the line",
        Token::Wrong(why) => why,
    };
    sign.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Sudoers, Vec<String>) {
        let mut sudoers = Sudoers::default();
        let mut parser = Parser::new("s".into(), text);
        let mut told = Vec::new();
        while let Some(event) = parser.next_event(&mut sudoers) {
            told.push(match event {
                Event::Include(path, place) => format!("{place} include {path}"),
                Event::IncludeDirectory(path, place) => format!("{place} includedir {path}"),
                Event::Wrong(why, place) => format!("{place} {why}"),
            });
        }
        (sudoers, told)
    }

    fn good(text: &str) -> Sudoers {
        let (sudoers, told) = parse(text);
        assert!(told.is_empty(), "{text}: {told:?}");
        sudoers
    }

    fn command(text: &str) -> Command {
        let sudoers = good(&format!("alice ALL={text}\n"));
        match &sudoers.specs[0].privileges[0].commands[0].command.what {
            What::Command(command) => command.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_has_users_hosts_and_commands() {
        let sudoers = good(
            "# c\n%sudo, !bob,+ng , #1000 , \"%a b\" web1, !10.0.0.0/8 = (root,%db:adm) NOPASSWD: SETENV : /bin/ls, \\\n\
             !/bin/cat : ALL=()ALL",
        );
        let spec = &sudoers.specs[0];
        assert_eq!((spec.users.len(), spec.privileges.len(), spec.place.line), (5, 2, 2));
        assert!(spec.users[1].negated && spec.users[4].what == What::Group("%a b".into()));
        let commands = &spec.privileges[0].commands;
        assert_eq!(commands[1].tags, [(Tag::Passwd, Say::No), (Tag::Setenv, Say::Yes)]);
        assert!(commands[1].command.negated && commands[1].run_as.as_ref().unwrap().groups.is_some());
        assert_eq!(
            spec.privileges[1].commands[0].run_as.as_ref().unwrap().users.as_ref().unwrap()[0].what,
            What::Myself
        );
    }

    #[test]
    fn arguments_become_one_line_as_sudo_makes_it() {
        for (text, path, args) in [
            ("/bin/ls", "/bin/ls", None),
            ("/bin/ls \"\"", "/bin/ls", Some("\"\"")),
            ("/bin/ls   -l \\\n  /x", "/bin/ls", Some("-l /x")),
            ("/bin/ls a\\,b\\=c \\*\\#", "/bin/ls", Some("a,b=c \\*#")),
            ("/bin/dd if=/x of=y", "/bin/dd", Some("if=/x of=y")),
            ("/bin/a\\ b c", "/bin/a b", Some("c")),
            ("/bin/ls ^-l (a|b), c$", "/bin/ls", Some("^-l (a|b), c$")),
            ("^/bin/(ls|cat)$ ^x\\$y$", "^/bin/(ls|cat)$", Some("^x\\$y$")),
            ("/usr/bin/", "/usr/bin/", None),
            ("sudoedit /etc/motd", "sudoedit", Some("/etc/motd")),
            ("/usr/bin/sudoedit", "sudoedit", None),
        ] {
            let found = command(text);
            assert_eq!((found.path.as_str(), found.args.as_deref()), (path, args), "{text}");
        }
        assert!(command("/bin/ls a\\ b").blanks && !command("/bin/ls a b").blanks);
    }

    #[test]
    fn digests_are_hexadecimal_or_base64() {
        let sha = "0".repeat(64);
        let base64 = format!("g{}", "A".repeat(42));
        let found = command(&format!("sha256:{sha}, sha256:{base64}=, sha256: {base64} /bin/ls"));
        let decoded = format!("sha256:80{}", "0".repeat(62));
        assert_eq!(found.digests, [format!("sha256:{sha}"), decoded.clone(), decoded]);
        assert_eq!(parse(&format!("alice ALL=sha512:{sha} /bin/ls\nbob ALL=ALL\n")).0.specs.len(), 1);
    }

    #[test]
    fn defaults_have_scopes_and_values() {
        let sudoers = good(
            "Defaults env_reset, !lecture, passwd_tries = 2\nDefaults:alice,%web !authenticate\nDefaults@web1 a=\"b c\"\n\
             Defaults!/bin/ls,PAGERS noexec\nDefaults>root x+=y, z-=\"q\"\nDefaults    secure_path=\"/a:/b\"\n",
        );
        let names: Vec<&str> = sudoers.defaults.iter().map(|default| default.name.as_str()).collect();
        assert_eq!(
            names,
            ["env_reset", "lecture", "passwd_tries", "authenticate", "a", "noexec", "x", "z", "secure_path"]
        );
        assert_eq!(sudoers.defaults[4].value, Value::Set("b c".into()));
        assert!(matches!(&sudoers.defaults[5].scope, Scope::Commands(list) if list.len() == 2));
        assert_eq!(sudoers.defaults[7].value, Value::Remove("q".into()));
    }

    #[test]
    fn aliases_of_all_kinds_and_includes() {
        let text = "User_Alias A = bob, !C : B = %x\nHost_Alias A = web*\nCmd_Alias P = /bin/ls, !/bin/cat\n\
                    Runas_Alias R = www-data\n@include /x/y\n#includedir d\n@include \"/a b\"\n#include z # c\n";
        let (sudoers, told) = parse(text);
        assert_eq!(sudoers.aliases.len(), 5);
        assert_eq!(told, ["s:5 include /x/y", "s:6 includedir d", "s:7 include /a b", "s:8 include z"]);
    }

    #[test]
    fn a_wrong_line_is_told_and_the_others_count() {
        let (sudoers, told) = parse(
            "alice ALL=ls\nbob ALL=(root /bin/ls\nUser_Alias X = a\nUser_Alias X = b\ncarol ALL=/bin/ls : ALL=x : ALL=/bin/id\n\
             alice ALL = sha256:00 /bin/ls\n%\nalice\nALL = x\ndave ALL=ALL",
        );
        assert_eq!(sudoers.specs.len(), 2, "{told:?}");
        assert_eq!(sudoers.specs[0].privileges.len(), 2);
        let lines: Vec<&str> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(lines, ["s:1", "s:2", "s:4", "s:5", "s:6", "s:7", "s:8", "s:9"], "{told:?}");
    }

    #[test]
    fn random_text_never_panics() {
        let pieces = [
            "alice",
            " ",
            "ALL",
            "=",
            ",",
            ":",
            "(",
            ")",
            "!",
            "\n",
            "\\\n",
            "\\",
            "\"",
            "#",
            "#1",
            "%",
            "+",
            "^",
            "$",
            "/bin/ls",
            "Defaults",
            "@include",
            "User_Alias",
            "Cmnd_Alias",
            "sha224:",
            "NOPASSWD:",
            "\u{e9}",
            "\t",
            "*",
            "[",
            "CWD=",
            "::1",
            "\r\n",
            "env_reset",
            "+=",
            "\u{0}",
            "10.1.1.1/8",
            "sudoedit",
        ];
        let mut state: u64 = 0x2545_f491_4f6c_dd1d;
        for _ in 0..30_000 {
            let mut text = String::new();
            for _ in 0..14 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push_str(pieces[(state % pieces.len() as u64) as usize]);
            }
            let (_, told) = parse(&text);
            assert!(told.len() <= text.len(), "{text:?}");
        }
    }
}
