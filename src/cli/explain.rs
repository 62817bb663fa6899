//! `kdata explain`: what a rule means, and why.

use super::{Context, printer, suggest};
use crate::dataset::{self, Rule, rule};
use crate::error::{Error, Result};
use crate::source;

/// Say what a rule means, and why
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata explain ohlcv.within_limits\n  kdata explain --list")]
pub(super) struct Args {
    /// The rule, as it stands in marks, tables and reports
    #[arg(required_unless_present = "list")]
    rule: Option<String>,
    /// List all rules
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let rules = all();
    let Some(name) = args.rule.as_deref().filter(|_| !args.list) else {
        let rows: Vec<Vec<String>> = rules
            .iter()
            .map(|r| vec![r.name.to_owned(), r.severity.as_str().to_owned(), r.says.to_owned()])
            .collect();
        return context.printer.line(printer::table(&["rule", "severity", "broken when"], &rows, &[], None));
    };
    context.printer.line(text(find(name)?))
}

/// The rule of that name; an error that suggests others.
pub(super) fn find(name: &str) -> Result<&'static Rule> {
    let rules = all();
    let names = || rules.iter().map(|rule| rule.name);
    rules.iter().find(|rule| rule.name == name).copied().ok_or_else(|| {
        let hint =
            suggest::did_you_mean(name, names()).unwrap_or("`kdata explain --list` lists all rules".into());
        Error::usage(format!("there is no rule {name}"), hint)
    })
}

/// What a rule means, for people.
pub(super) fn text(rule: &Rule) -> String {
    format!(
        "{}\n\n  broken when  {}\n  severity     {}\n  looks at     {}\n\n{}",
        rule.name,
        rule.says,
        rule.severity.as_str(),
        rule.scope.as_str(),
        wrap(rule.why, 78)
    )
}

/// All rules there are.
pub(super) fn all() -> Vec<&'static Rule> {
    let of_datasets = dataset::ALL.iter().flat_map(|d| d.rules());
    rule::STREAM_RULES
        .iter()
        .chain(rule::LEDGER_RULES)
        .copied()
        .chain(of_datasets)
        .chain(source::rules())
        .collect()
}

fn wrap(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
