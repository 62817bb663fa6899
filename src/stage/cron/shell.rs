//! Which kdata a command line of sh runs. Not a shell: it tells words, quotes and operators apart, and where only a shell
//! could say what a word is (`$`, backticks, globs) it says so. The crates for it know words, but no operators.

use std::iter::Peekable;
use std::str::Chars;

use crate::jobs::{self, Call};

/// When a command runs, by how the one before it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// However that was, or beside it.
    Always,
    /// Together with it: `|`
    Piped,
    /// `&&`
    Success,
    /// `||`
    Failure,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Word {
    text: String,
    /// Only a shell knows what this is.
    is_open: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(Word),
    /// The command ends; when the next one runs.
    Next(After),
    /// Some of the command before a parenthesis or a brace: what follows is a command as well, under the same condition.
    Open,
}

/// The words that may stand before a command.
const BEFORE: &[&str] =
    &["{", "}", "!", "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "time"];
/// Options of kdata itself, which may stand before its subcommand.
const OPTIONS: &[&str] = &["-q", "--quiet", "--log-format"];
const UNCLOSED: &str = "a quote is not closed";

/// The calls of kdata in a command line, in their order; `is_command` knows its subcommands.
pub(super) fn calls(
    text: &str,
    is_command: &dyn Fn(&str) -> bool,
) -> std::result::Result<Vec<(After, Call)>, &'static str> {
    let mut calls = Vec::new();
    let (mut after, mut words) = (After::Always, Vec::new());
    for token in tokens(text)?.into_iter().chain([Token::Next(After::Always)]) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => words.clear(),
            Token::Next(next) => {
                calls.extend(call(&words, after, is_command)?);
                words.clear();
                after = next;
            }
        }
    }
    Ok(calls)
}

/// What one simple command calls.
fn call(
    words: &[Word],
    after: After,
    is_command: &dyn Fn(&str) -> bool,
) -> std::result::Result<Vec<(After, Call)>, &'static str> {
    let is_assignment = |word: &Word| {
        word.text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let first = words.iter().position(|word| !is_assignment(word) && !BEFORE.contains(&word.text.as_str()));
    let Some(first) = first else { return Ok(Vec::new()) };
    let is_kdata = |word: &Word| word.text.rsplit('/').next() == Some("kdata");
    // Behind others (nice, flock, sudo -u kdata) by what follows it: `cd /srv/kdata` is none.
    let is_called = |at: usize| {
        let follows = |word: &Word| {
            let option = word.text.split('=').next().unwrap_or_default();
            is_command(&word.text) || OPTIONS.contains(&option)
        };
        is_kdata(&words[at]) && (at == first || words.get(at + 1).is_some_and(follows))
    };
    if let Some(at) = (first..words.len()).find(|at| is_called(*at)) {
        let known = words[at + 1..].iter().take_while(|word| !word.is_open);
        let known: Vec<String> = known.map(|word| word.text.clone()).collect();
        let is_whole = known.len() == words.len() - at - 1;
        return Ok(vec![(after, Call { words: jobs::name(known), is_whole })]);
    }
    // `sh -c 'cd … && kdata …'`
    let is_script = |word: &Word| {
        let letters = word.text.strip_prefix('-').unwrap_or_default();
        letters.ends_with('c') && letters.len() <= 3 && letters.chars().all(|c| c.is_ascii_lowercase())
    };
    let script = words[first..].windows(2).find(|pair| is_script(&pair[0])).map(|pair| &pair[1].text);
    let Some(script) = script else { return Ok(Vec::new()) };
    let mut inner = calls(script, is_command)?;
    if let Some((first, _)) = inner.first_mut() {
        *first = after;
    }
    Ok(inner)
}

fn tokens(text: &str) -> std::result::Result<Vec<Token>, &'static str> {
    let mut lexer =
        Lexer { chars: text.chars().peekable(), tokens: Vec::new(), word: None, redirected: false };
    while let Some(c) = lexer.chars.next() {
        lexer.take(c)?;
    }
    lexer.end_word();
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    tokens: Vec<Token>,
    word: Option<Word>,
    /// The next word is where something goes to, or comes from.
    redirected: bool,
}

impl Lexer<'_> {
    fn take(&mut self, c: char) -> std::result::Result<(), &'static str> {
        match c {
            ' ' | '\t' => self.end_word(),
            '|' if self.follows('|') => self.next(After::Failure),
            '&' if self.follows('&') => self.next(After::Success),
            '&' if self.chars.peek() == Some(&'>') => self.end_word(),
            '|' => self.next(After::Piped),
            '\n' | ';' | '&' | ')' => self.next(After::Always),
            '(' => {
                self.end_word();
                self.tokens.push(Token::Open);
            }
            '<' | '>' => self.redirect(),
            '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
            '\\' => {
                if let Some(next) = self.chars.next() {
                    self.word().text.push(next);
                }
            }
            '\'' => {
                self.word();
                loop {
                    match self.chars.next().ok_or(UNCLOSED)? {
                        '\'' => break,
                        other => self.word().text.push(other),
                    }
                }
            }
            '"' => self.quoted()?,
            '$' | '`' => self.expansion(c)?,
            '*' | '?' | '[' => self.open(c),
            '~' if self.word.is_none() => self.open(c),
            other => self.word().text.push(other),
        }
        Ok(())
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn open(&mut self, c: char) {
        let word = self.word();
        word.text.push(c);
        word.is_open = true;
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.redirected)
        {
            self.tokens.push(Token::Word(word));
        }
    }

    fn next(&mut self, after: After) {
        self.end_word();
        self.redirected = false;
        self.tokens.push(Token::Next(after));
    }

    fn follows(&mut self, c: char) -> bool {
        self.chars.next_if_eq(&c).is_some()
    }

    /// `> file`, `2>&1`, `>>file`, `< file`.
    fn redirect(&mut self) {
        // A number right before it is a descriptor.
        let is_descriptor = |word: &Word| word.text.chars().all(|c| c.is_ascii_digit());
        self.word = self.word.take().filter(|word| !is_descriptor(word));
        self.end_word();
        while self.chars.next_if(|c| matches!(c, '<' | '>' | '&' | '|')).is_some() {}
        self.redirected = true;
    }

    fn quoted(&mut self) -> std::result::Result<(), &'static str> {
        self.word();
        loop {
            match self.chars.next().ok_or(UNCLOSED)? {
                '"' => return Ok(()),
                '\\' => {
                    let next = self.chars.next().ok_or(UNCLOSED)?;
                    if !matches!(next, '$' | '`' | '"' | '\\') {
                        self.word().text.push('\\');
                    }
                    self.word().text.push(next);
                }
                c @ ('$' | '`') => self.expansion(c)?,
                other => self.word().text.push(other),
            }
        }
    }

    /// `$NAME`, `${…}`, `$(…)` and backticks: what they stand for is not known here.
    fn expansion(&mut self, c: char) -> std::result::Result<(), &'static str> {
        self.open(c);
        match (c, self.chars.peek()) {
            ('`', _) => self.skip('`'),
            (_, Some('(')) => {
                self.chars.next();
                self.skip(')')
            }
            (_, Some('{')) => {
                self.chars.next();
                self.skip('}')
            }
            _ => Ok(()),
        }
    }

    /// Up to the end of what is nested.
    fn skip(&mut self, end: char) -> std::result::Result<(), &'static str> {
        loop {
            match self.chars.next().ok_or(UNCLOSED)? {
                c if c == end => return Ok(()),
                '\\' => drop(self.chars.next()),
                '\'' => while self.chars.next().ok_or(UNCLOSED)? != '\'' {},
                '"' => self.skip('"')?,
                '(' => self.skip(')')?,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls as text: `;` always, `&` on success, `|` on failure; `…` where there may be more.
    fn told(text: &str) -> Vec<String> {
        let is_command = |word: &str| ["run", "report", "load", "db", "extract", "validate"].contains(&word);
        let told = |(after, call): (After, Call)| {
            let when = match after {
                After::Always => ';',
                After::Piped => '-',
                After::Success => '&',
                After::Failure => '|',
            };
            format!("{when} {}{}", call.words, if call.is_whole { "" } else { "…" })
        };
        calls(text, &is_command).unwrap().into_iter().map(told).collect()
    }

    #[test]
    fn kdata_is_found_wherever_it_is_called() {
        for (line, calls) in [
            ("kdata -q run stocks --due", &["; run stocks --due"][..]),
            ("cd /srv/kdata && kdata -q run stocks --due", &["& run stocks --due"]),
            ("cd /srv/kdata && /usr/local/bin/kdata run x > /srv/kdata/kdata 2>&1", &["& run x"]),
            (
                "kdata extract x --date today|kdata validate| kdata load",
                &["; extract x --date today", "- validate", "- load"],
            ),
            ("KDATA_NOW=\"a b\" nice -n 10 kdata run 'a b' c\\ d", &["; run a b c d"]),
            ("sudo -u kdata kdata run x", &["; run x"]),
            ("flock -n /srv/kdata kdata --log-format=json run x", &["; run x"]),
            ("kdata run x || kdata alert test; kdata doctor&", &["; run x", "| alert test", "; doctor"]),
            ("( cd /srv; kdata run x ) && { kdata report y; }", &["; run x", "& report y"]),
            ("kdata run x && (kdata report y)", &["; run x", "& report y"]),
            ("if kdata run x; then kdata load; fi", &["; run x", "; load"]),
            ("sh -c 'cd /srv/kdata && kdata run x && kdata load'", &["; run x", "& load"]),
            ("su kdata -c \"kdata run \\\"a b\\\"\"", &["; run a b"]),
            // What a shell alone knows.
            ("kdata run x --date $(date +%F -d 'a) b') --due", &["; run x --date…"]),
            ("kdata report quality --date \"$DAY\" >>log", &["; report quality --date…"]),
            ("\"$HOME/bin/kdata\" -q run `cat x` y", &["; run…"]),
            ("kdata run ~/x* y", &["; run…"]),
            ("kdata run '$x' \"*\"", &["; run $x *"]),
            // A command that there is not is a call all the same: it never runs.
            ("kdata rnu x", &["; rnu x"]),
            ("kdata run x # kdata load", &["; run x"]),
            ("kdata run x 2>/dev/null >&- y", &["; run x y"]),
            ("kdata run x &>log && kdata load", &["; run x", "& load"]),
            // None of ours.
            ("mail -s kdata me@example.org < kdata", &[]),
            ("rsync -a /srv/kdata backup:kdata", &[]),
            ("/srv/kdata/evening.sh run x", &[]),
            ("", &[]),
        ] {
            assert_eq!(told(line), calls, "{line}");
        }
        assert_eq!(calls("kdata run 'x", &|_| true), Err(UNCLOSED));
        assert_eq!(calls("kdata run $(x", &|_| true), Err(UNCLOSED));
    }
}
