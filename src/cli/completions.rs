//! `kdata completions`: scripts for the shells. They are short: what to offer is told by kdata itself, so that it knows
//! all options, datasets, sources and rules of this very version, and the batches of the database.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use super::{Context, explain};
use crate::db::{Place, failed};
use crate::error::Result;
use crate::stage::block_on;

const EXAMPLES: &str = "\
Examples:
  kdata completions bash > /etc/bash_completion.d/kdata
  kdata completions zsh > ~/.zfunc/_kdata           a folder of $fpath, before compinit
  kdata completions fish > ~/.config/fish/completions/kdata.fish";

/// Print a shell's completion script
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What may follow; for the scripts of `kdata completions`
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata complete -- report qu")]
pub(super) struct Words {
    /// The words behind `kdata`, up to the one under the cursor, which may be empty
    #[arg(last = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

const BASH: &str = r#"# bash completion of kdata
_kdata() {
    local word
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        COMPREPLY+=("$word")
    done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _kdata kdata
"#;

const ZSH: &str = r#"#compdef kdata
_kdata() {
    local -a offered
    local line
    for line in "${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && offered+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#offered )); then _describe kdata offered; else _files; fi
}
if [[ "$funcstack[1]" == _kdata ]]; then _kdata "$@"; else compdef _kdata kdata; fi
"#;

const FISH: &str = r"# fish completion of kdata
function __kdata_offers
    set -l words (commandline -opc) (commandline -ct)
    $words[1] complete -- $words[2..-1] 2>/dev/null
end
complete -c kdata -f -a '(__kdata_offers)'
complete -c kdata -n '__fish_seen_subcommand_from import restore man' -F
";

/// Prints a script.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let script = match args.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    };
    context.printer.line(script.trim_end())
}

/// Prints what may follow, a line each: the word, a tab, what it is.
pub(super) fn offer(words: &Words, context: &Context) -> Result<()> {
    for (word, about) in offers(&words.words, context) {
        context.printer.line(format!("{word}\t{about}"))?;
    }
    Ok(())
}

type Offers = Vec<(String, String)>;

fn offers(words: &[String], context: &Context) -> Offers {
    // bash splits --date=today at the sign.
    let mut words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "=").collect();
    let mut current = words.pop().unwrap_or_default();
    let cli = super::command();
    let (command, positionals, mut expected) = walk(&cli, &words);
    let mut before = String::new();
    if let Some((name, value)) = current.strip_prefix("--").and_then(|word| word.split_once('=')) {
        before = format!("--{name}=");
        expected = option(&cli, command, &format!("--{name}"));
        current = value;
    }
    let mut offers = match expected {
        Some(arg) => values(arg, context),
        None if current.starts_with('-') => options(&cli, command),
        None => {
            let subcommands = command.get_subcommands().filter(|c| !c.is_hide_set());
            let about = |c: &Command| c.get_about().map_or(String::new(), ToString::to_string);
            let mut offers: Offers = subcommands.map(|c| (c.get_name().to_owned(), about(c))).collect();
            let places: Vec<&Arg> = command.get_positionals().collect();
            // The last one may take all that follow.
            let place = places.get(positionals).or_else(|| places.last().filter(|arg| takes_many(arg)));
            offers.extend(place.map(|arg| values(arg, context)).unwrap_or_default());
            offers
        }
    };
    // Of a list A,B,C the last part is completed.
    if let Some((done, last)) = current.rsplit_once(',') {
        before.push_str(&format!("{done},"));
        current = last;
    }
    offers.retain(|(word, _)| word.starts_with(current));
    offers.into_iter().map(|(word, about)| (before.clone() + &word, about)).collect()
}

/// The subcommand that the words lead to, how many of its places are taken, and the option that waits for its value.
fn walk<'c>(cli: &'c Command, words: &[&str]) -> (&'c Command, usize, Option<&'c Arg>) {
    let (mut command, mut positionals, mut expected) = (cli, 0, None);
    for word in words {
        if expected.take().is_some() {
            continue;
        }
        if word.starts_with('-') && *word != "-" {
            expected = option(cli, command, word)
                .filter(|arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append));
        } else if let Some(subcommand) = command.find_subcommand(word) {
            (command, positionals) = (subcommand, 0);
        } else {
            positionals += 1;
        }
    }
    (command, positionals, expected)
}

fn option<'c>(cli: &'c Command, command: &'c Command, word: &str) -> Option<&'c Arg> {
    let is_named = |arg: &&Arg| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => arg.get_long() == Some(long),
        (None, Some(short)) => arg.get_short().is_some_and(|c| short.ends_with(c)),
        _ => false,
    };
    command.get_arguments().chain(cli.get_arguments().filter(|arg| arg.is_global_set())).find(is_named)
}

fn options(cli: &Command, command: &Command) -> Offers {
    let global = cli.get_arguments().filter(|arg| arg.is_global_set());
    let all = command.get_arguments().chain(global).filter(|arg| !arg.is_hide_set());
    let help = |arg: &Arg| arg.get_help().map_or(String::new(), ToString::to_string);
    let mut options: Offers =
        all.filter_map(|arg| Some((format!("--{}", arg.get_long()?), help(arg)))).collect();
    options.push(("--help".into(), "Print help".into()));
    options.dedup();
    options
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// What an argument may be.
fn values(arg: &Arg, context: &Context) -> Offers {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let about = |help: Option<&clap::builder::StyledStr>| help.map_or(String::new(), ToString::to_string);
        return possible.iter().map(|v| (v.get_name().to_owned(), about(v.get_help()))).collect();
    }
    let known =
        |words: &[(&str, &str)]| words.iter().map(|(w, a)| ((*w).to_owned(), (*a).to_owned())).collect();
    match arg.get_id().as_str() {
        "rule" => explain::all().iter().map(|r| (r.name.to_owned(), r.says.to_owned())).collect(),
        "date" | "from" | "to" => {
            known(&[("today", "today in Seoul"), ("yesterday", ""), ("-1s", "one session back")])
        }
        "batch" => from_database(context, BATCHES),
        "run" => from_database(context, RUNS),
        _ => Vec::new(),
    }
}

const BATCHES: &str = "SELECT batch_id::text, concat_ws(' ', dataset, from_time, to_time, source, state) \
                       FROM ops.batches ORDER BY batch_id DESC LIMIT 50";
const RUNS: &str = "SELECT run_id::text, concat_ws(' ', command, dataset, from_time, to_time, state) \
                    FROM ops.runs ORDER BY run_id DESC LIMIT 50";
/// Whoever presses a key does not wait longer.
const PATIENCE: Duration = Duration::from_millis(700);

/// Numbers out of the database, when it runs and answers at once.
fn from_database(context: &Context, query: &str) -> Offers {
    let ask = async {
        let Some(client) = Place::connect_if_running(&context.settings).await? else { return Ok(Vec::new()) };
        let rows = client.query(query, &[]).await.map_err(failed("cannot list them"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    block_on(async { Ok(tokio::time::timeout(PATIENCE, ask).await) })
        .ok()
        .and_then(std::result::Result::ok)
        .and_then(Result::ok)
        .unwrap_or_default()
}
