//! The grammar of sudoers(5) (`plugins/sudoers/gram.y`). An invalid line is reported and skipped, as sudo does, and the
//! rest counts.

use std::collections::hash_map::Entry;
use std::mem;
use std::rc::Rc;

use super::lexer::Lexer;
use super::token::{DefaultsFor, Token};
use super::tree::{
    Command, CommandSpec, Default, Kind, Member, MemberKind, Opt, Position, Privilege, RunAs, Say, Scope, Sudoers, Tag,
    UserSpec, Value,
};

/// An event that the reader of a file has to handle.
#[derive(Debug)]
pub(super) enum Event {
    /// `@include`
    Include(String, Position),
    /// `@includedir`
    IncludeDirectory(String, Position),
    /// A line, or a part of one, that is skipped, and why.
    Wrong(String, Position),
}

/// Parses one file; stops at each [`Event`], so that included text takes the place of the include.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    line: usize,
    file: Rc<str>,
}

/// Why a line is invalid.
type Wrong = String;

impl<'a> Parser<'a> {
    pub(super) fn new(file: Rc<str>, text: &'a str) -> Self {
        let mut parser = Self { lexer: Lexer::new(text), token: Token::End, line: 1, file };
        parser.advance();
        parser
    }

    /// Parses up to the next event; `None` at the end of the file.
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

    fn place(&self) -> Position {
        Position { file: self.file.clone(), line: self.line }
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
            Token::Wrong(why) => format!("{why}, where {wanted} is expected"),
            Token::Newline | Token::End => format!("the line ends where {wanted} is expected"),
            token => format!("{} where {wanted} is expected", shown(token)),
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
                // Taken before the line ends, because the included text comes next.
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

    fn defaults(&mut self, scope: Option<DefaultsFor>, place: &Position, sudoers: &mut Sudoers) -> Result<(), Wrong> {
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

    fn user_spec(&mut self, place: Position, sudoers: &mut Sudoers) -> Result<Step, Wrong> {
        let users = self.list(Self::user)?;
        let mut privileges = vec![self.privilege()?];
        let mut wrong = None;
        while self.eat(&Token::Colon) {
            match self.privilege() {
                Ok(privilege) => privileges.push(privilege),
                Err(why) => {
                    // What precedes it counts, and so does what follows the next colon.
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
        let myself = || Some(vec![Member { negated: false, what: MemberKind::Myself }]);
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

    fn named(&mut self, wanted: &str, what: impl Fn(Token) -> Option<MemberKind>) -> Result<Member, Wrong> {
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
            Token::Alias(name) => Some(MemberKind::Alias(name)),
            Token::All => Some(MemberKind::All(Vec::new())),
            Token::Netgroup(name) => Some(MemberKind::Netgroup(name)),
            Token::Group(name) => Some(MemberKind::Group(name)),
            Token::Word(name) => Some(MemberKind::Word(name)),
            _ => None,
        })
    }

    fn group(&mut self) -> Result<Member, Wrong> {
        self.named("a group", |token| match token {
            Token::Alias(name) => Some(MemberKind::Alias(name)),
            Token::All => Some(MemberKind::All(Vec::new())),
            Token::Word(name) => Some(MemberKind::Word(name)),
            _ => None,
        })
    }

    fn host(&mut self) -> Result<Member, Wrong> {
        self.named("a host", |token| match token {
            Token::Alias(name) => Some(MemberKind::Alias(name)),
            Token::All => Some(MemberKind::All(Vec::new())),
            Token::Netgroup(name) => Some(MemberKind::Netgroup(name)),
            Token::Network(address) => Some(MemberKind::Network(address)),
            Token::Word(name) => Some(MemberKind::Word(name)),
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
            Token::All => MemberKind::All(digests),
            Token::Command(path, args, blanks) => MemberKind::Command(Command { path, args, blanks, digests }),
            Token::Alias(name) if digests.is_empty() => MemberKind::Alias(name),
            Token::Alias(_) => return Err("a digest goes with a path or ALL, not with an alias".to_owned()),
            Token::Word(word) if word == "list" => {
                MemberKind::Command(Command { path: word, args: None, blanks: false, digests })
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

/// Copies lists, options and tags to the next command, to which they also apply; SETENV does not if only ALL implied
/// it.
fn inherit(spec: &mut CommandSpec, before: &CommandSpec) {
    for (option, value) in &before.options {
        // SELinux role and type are inherited together.
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

/// Returns whether SETENV is implied: by ALL without `!`.
pub(super) fn allows_all(spec: &CommandSpec) -> bool {
    !spec.command.negated && matches!(spec.command.what, MemberKind::All(_))
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
            return format!("'{}'", jit_core::escape::escape(short.as_bytes()));
        }
        Token::Algorithm(sha) => sha.0,
        Token::Opt(option) => option.name(),
        Token::Tag(..) => "a tag",
        Token::Defaults(_) => "Defaults",
        Token::AliasKind(_) => "the beginning of an alias",
        Token::Include | Token::IncludeDirectory => "an include",
        Token::Newline | Token::End => "the end of the line",
        Token::Wrong(why) => why,
    };
    sign.to_owned()
}

#[cfg(test)]
mod tests;
